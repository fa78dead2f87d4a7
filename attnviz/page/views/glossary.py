"""The terms of the page, each explained in plain language, and where they come from."""

from collections.abc import Mapping

import streamlit as st

# One word for each thing, here and everywhere else; tests/house/test_glossary.py holds that.
TERMS: Mapping[str, str] = {
    "token": "a word or a piece of one, as the model reads it",
    "piece": "a part of a word; **##** marks a continuation of the word before",
    "special token": "[CLS], [SEP] and others, which some tokenizers put around a text",
    "padding": "tokens that only fill up a text's length; nothing attends to them",
    "embedding, x": "the row of numbers that stands for a token when it enters the attention "
    "module; in later layers it already holds information from other tokens",
    "layer": "one of the attention modules that a text passes through, one after the other",
    "head": "one set of queries, keys and values; a layer has several, side by side",
    "key/value head": "keys and values that several heads share",
    "kind of attention": "self: queries and keys are tokens of one text; cross: queries are of the "
    "target, keys of the source",
    "generative model": "a model that predicts the next token: no query sees a later key",
    "projection": "multiplication by a learned matrix, here W_Q, W_K, W_V or W_O",
    "query, q": "what a token looks for",
    "key, k": "what a token offers to be matched against",
    "value, v": "what a token passes on",
    "dimension": "one of the numbers of a row, by its place, from 0",
    "d_model, d_head, d_value": "the number of dimensions of x; of q and k; of v",
    "rotary embedding, R": "rotates each query and key by its position; q̃ and k̃ are before it",
    "score": "how well a query matches a key: their dot product, q · k",
    "dot product": "the sum of the products of two rows, dimension by dimension",
    "scaling": "the factor that keeps scores in range, mostly 1/√d_head",
    "soft-cap": "limits a score with tanh",
    "bias": "a learned number that is added",
    "mask": "hides keys from a query: later tokens in generative models, or padding",
    "softmax": "turns any numbers into shares: exp of each, divided by their sum",
    "softmax input": "the number from which the softmax makes a weight: the score after scaling, "
    "soft-cap, bias and mask",
    "temperature": "divides the softmax input: above 1 weights are more equal, below 1 sharper",
    "saturation": "nearly all weight is on one key, and gradients are near 0",
    "derivative, gradient": "how much a number changes per change of another; training follows it",
    "weight, w": "the share of a query's attention that a key gets",
    "renormalise": "divide each row by its remaining sum, so that it sums to 1 again",
    "update, x′": "the weighted sum of all values: what this head has gathered for a token",
    "output projection, W_O": "maps the updates of all heads back to the size of x and adds them",
    "share of the output": "what one head's update adds to the output, after W_O",
    "residual": "x itself, which the model adds to the module's output",
    "attention sink": "a key that takes much weight and adds little, or a learned number instead",
    "norm, ‖v‖": "how long a row of numbers is: the root of the sum of their squares",
    "magnitude": "a number without its sign; the most extreme value is the largest in magnitude",
    "prediction": "what the model says: the next token, a masked token, a token of the target or a "
    "class",
    "logit": "the number that the model gives each token of its vocabulary; their softmax is its "
    "probabilities",
    "log probability, log p": "the natural logarithm of a probability, at most 0",
    "Δ log p": "log p after a change, less log p before it: −0.69 halves the probability",
    "KL divergence": "how far all probabilities change together, in nats: the mean of log p with "
    "the head less log p without it, weighted by the probabilities with it; 0 for no change",
    "ablation": "switch a head off, here by setting its update to 0, and run the model again",
    "patching": "put what a head computes in another text in place of its update",
    "total effect": "what changes when a head is switched off and all later layers go on from "
    "there",
    "direct effect": "what a head adds to a logit by itself, with all later layers left as they "
    "were",
    "back-up head": "a head that does another head's work once that one is switched off",
    "cosine": "whether two rows have one direction: 1 the same, 0 orthogonal, −1 the opposite",
    "entropy": "how evenly weights are spread, in bits: 0 for one key, log₂ n when n keys share "
    "equally",
    "variance, standard deviation": "how widely numbers spread around their mean; the second is "
    "the root of the first",
    "recomputed": "computed again by attnviz from the model's q, k and v, and compared with the "
    "model's own",
}

WORDS = "\n".join(
    ("| term | meaning |", "| --- | --- |", *(f"| {term} | {it} |" for term, it in TERMS.items()))
)

SOURCES = """
**Attention is not explanation.** A large weight says that this head took up a value, not that
the token caused the model's answer: other weights can give the same answer (Jain and Wallace,
[Attention is not Explanation](https://arxiv.org/abs/1902.10186), 2019), though weights are not
without meaning either (Wiegreffe and Pinter,
[Attention is not not Explanation](https://arxiv.org/abs/1908.04626), 2019). The effect of a weight
also depends on the norm of the value (Kobayashi et al.,
[Attention is Not Only a Weight](https://arxiv.org/abs/2004.10102), 2020).

**What ablation can say, and what not.** Heads can be switched off one at a time to see which of
them a model needs (Michel, Levy and Neubig, [Are Sixteen Heads Really Better than
One?](https://arxiv.org/abs/1905.10650), 2019). A small effect does not say that a head does
nothing: others can take over (back-up heads: Wang et al., [Interpretability in the
Wild](https://arxiv.org/abs/2211.00593), 2022; McGrath et al., [The Hydra
Effect](https://arxiv.org/abs/2307.15771), 2023). An update of zeros is one that later layers never
meet; the update in another text is one that they know, and answers another question (Heimersheim
and Nanda, [How to use and interpret activation patching](https://arxiv.org/abs/2404.15255), 2024).

**Where the steps come from.** The four steps, and their numbering, follow Tunstall, von Werra and
Wolf, *Natural Language Processing with Transformers* (O'Reilly, 2022), chapter 3; there wⱼᵢ is
written key first, so that columns sum to 1. Projection, scaled dot product and weighted sum:
Vaswani et al., [Attention Is All You Need](https://arxiv.org/abs/1706.03762) (2017), section 3.2;
why to scale: footnote 4 there. Weighted sums of states by a softmax of scores: Bahdanau, Cho and
Bengio, [Neural Machine Translation by Jointly Learning to Align and
Translate](https://arxiv.org/abs/1409.0473) (2015). The share of one head after W_O: Elhage et al.,
[A Mathematical Framework for Transformer
Circuits](https://transformer-circuits.pub/2021/framework/index.html) (2021). Attention sinks: Xiao
et al., [Efficient Streaming Language Models with Attention
Sinks](https://arxiv.org/abs/2309.17453) (2023).
"""


def show() -> None:
    with st.expander("Glossary and sources", icon=":material/menu_book:"):
        st.markdown(WORDS)
        st.markdown(SOURCES)
