"""The words of the page in plain language, and where they come from."""

import streamlit as st

WORDS = """
| word | what it means |
| --- | --- |
| token | a word or a piece of one, as the model reads it; **##** marks a piece that goes on |
| [CLS], [SEP] | special tokens that some models put around a text |
| embedding, x | the row of numbers that stands for a token when it enters the attention module |
| query, q | what a token looks for |
| key, k | what a token can be found by |
| value, v | what a token passes on |
| rotary embedding, R | turns each query and key by its position; q̃ and k̃ are before it |
| score | how well a query fits a key: their dot product |
| scaling | the factor that keeps scores from spreading wide, mostly 1/√d_head |
| mask | what hides keys from a query: later tokens in models that write text, or padding |
| softmax | turns any numbers into shares: exp of each, divided by their sum |
| weight, w | the share of a query's attention that a key gets |
| update, x′ | the mean of all values, weighted: what this head has gathered for a token |
| head | one such set of queries, keys and values; a layer has several, side by side |
| W_O, output | what turns the heads' updates back to the size of x and adds them up |
| attention sink | a key that takes much weight and adds little, or a learned number in its place |
| d_model, d_head, d_value | how many numbers x has; q and k; v |
| norm, ‖v‖ | how long a row of numbers is: the root of the sum of their squares |
| cosine | how alike two rows point: 1 the same way, 0 across, −1 the opposite way |
| entropy | how evenly weights are spread, in bits: 0 for one key, log₂ n for n alike |
"""

SOURCES = """
**Attention is not explanation.** A large weight says that a value was taken up here, not that
the token caused the model's answer: other weights can give the same answer (Jain and Wallace,
[Attention is not Explanation](https://arxiv.org/abs/1902.10186), 2019), though weights are not
without meaning either (Wiegreffe and Pinter,
[Attention is not not Explanation](https://arxiv.org/abs/1908.04626), 2019). What a weight moves
also depends on the size of the value (Kobayashi et al.,
[Attention is Not Only a Weight](https://arxiv.org/abs/2004.10102), 2020).

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
    with st.expander("Words and sources", icon=":material/menu_book:"):
        st.markdown(WORDS)
        st.markdown(SOURCES)
