"""The maths of one attention head: one pure NumPy function a step.

These are the lines of an eager attention function, as in `eager_attention_forward` of
transformers' `modeling_bert.py`, cut into steps and written for a single head. Projection is
not among them: query, key and value are read from the model.
"""

import numpy as np
from jaxtyping import Bool, Float

# A mask holds 0 where a key may be seen and a very negative number where it may not: the
# smallest finite one, -inf, or -10,000 in older models (-9,984 in bfloat16). Relative biases
# that some models carry in their mask stay far above this bound.
HIDDEN_BELOW = -9_900.0


def score(
    q: Float[np.ndarray, "query_pos d_head"], k: Float[np.ndarray, "key_pos d_head"]
) -> Float[np.ndarray, "query_pos key_pos"]:
    """The dot product of every query with every key, q · kᵀ."""
    array: Float[np.ndarray, "query_pos key_pos"] = q @ k.T
    return array


def scale(
    scores: Float[np.ndarray, "query_pos key_pos"], scaling: float
) -> Float[np.ndarray, "query_pos key_pos"]:
    """Scores × scaling; 1/√d_head in most models, which keeps their variance near 1."""
    return scores * np.float32(scaling)


def is_one_over_root(scaling: float, d_head: int) -> bool:
    """Whether a factor is 1/√d_head, as in nearly every model."""
    return bool(np.isclose(scaling, d_head**-0.5))


def cap(
    scaled: Float[np.ndarray, "query_pos key_pos"], softcap: float
) -> Float[np.ndarray, "query_pos key_pos"]:
    """Scores pressed softly into ±softcap: softcap · tanh(scaled / softcap), as in Gemma 2."""
    limit = np.float32(softcap)
    return np.tanh(scaled / limit) * limit


def add_bias(
    scaled: Float[np.ndarray, "query_pos key_pos"], bias: Float[np.ndarray, "query_pos key_pos"]
) -> Float[np.ndarray, "query_pos key_pos"]:
    """Scores + bias: what the model adds for two tokens' places, as T5 does, or for more."""
    array: Float[np.ndarray, "query_pos key_pos"] = scaled + bias
    return array


def mask(
    scaled: Float[np.ndarray, "query_pos key_pos"],
    additive_mask: Float[np.ndarray, "query_pos key_pos"] | None,
) -> Float[np.ndarray, "query_pos key_pos"]:
    """Scores + mask, so that a hidden key is left no weight; unchanged without a mask."""
    if additive_mask is None:
        return scaled
    with np.errstate(over="ignore"):  # finfo.min + a negative score may reach -inf
        array: Float[np.ndarray, "query_pos key_pos"] = scaled + additive_mask
        return array


def hidden(
    additive_mask: Float[np.ndarray, "*head query_pos key_pos"] | None, shape: tuple[int, ...]
) -> Bool[np.ndarray, "*head query_pos key_pos"]:
    """Which keys each query may not see."""
    if additive_mask is None:
        return np.zeros(shape, dtype=bool)
    return additive_mask < HIDDEN_BELOW


def softmax(
    masked: Float[np.ndarray, "query_pos key_pos"],
    sink_logits: Float[np.ndarray, " query_pos"] | None = None,
    temperature: float = 1.0,
) -> tuple[Float[np.ndarray, "query_pos key_pos"], Float[np.ndarray, " query_pos"]]:
    """Weights, and the share of each row that went to the sink (0 without one).

    weights[i, j] = exp(masked[i, j]) / (Σⱼ exp(masked[i, j]) + exp(sink_logits[i])); a row and its
    sink sum to 1. The row's largest value is subtracted first, which changes no weight and
    keeps exp from overflowing. A sink is a learned logit a head that attends to no token, as
    in gpt-oss. A temperature divides all of them first; every model's own is 1. A row that is
    -inf throughout (padding) has no softmax; its weights are 0.
    """
    largest = np.maximum(masked.max(axis=-1, keepdims=True), np.finfo(np.float32).min)
    if sink_logits is not None:
        largest = np.maximum(largest, sink_logits[:, None])
    t = np.float32(temperature)
    sink_exp = np.zeros_like(largest)
    with np.errstate(over="ignore"):  # finfo.min divided by less than 1 reaches -inf
        exps = np.exp((masked - largest) / t)
        if sink_logits is not None:
            sink_exp = np.exp((sink_logits[:, None] - largest) / t)
    total = exps.sum(axis=-1, keepdims=True) + sink_exp
    total[total == 0] = 1
    return exps / total, (sink_exp / total)[:, 0]


def update(
    weights: Float[np.ndarray, "query_pos key_pos"], v: Float[np.ndarray, "key_pos d_value"]
) -> Float[np.ndarray, "query_pos d_value"]:
    """The mean of the values, weighted by attention: weights · v, before the output projection."""
    array: Float[np.ndarray, "query_pos d_value"] = weights @ v
    return array


def project(
    updated: Float[np.ndarray, "query_pos d_value"],
    output_weight: Float[np.ndarray, "d_value d_model"],
    gate: Float[np.ndarray, "query_pos d_value"] | None = None,
) -> Float[np.ndarray, "query_pos d_model"]:
    """One head's share of the module's output: (updated · gate) · its part of W_O."""
    array: Float[np.ndarray, "query_pos d_model"] = (
        updated if gate is None else updated * gate
    ) @ output_weight
    return array


def sink_of(
    weights: Float[np.ndarray, "*heads query_pos key_pos"],
    left_out: Float[np.ndarray, "*heads query_pos"] | None = None,
) -> Float[np.ndarray, "*heads query_pos"]:
    """What is left of each row: a query's share that went to no token, nor to one left out."""
    left = 1 - weights.sum(axis=-1) - (0 if left_out is None else left_out)
    sink: np.ndarray = np.maximum(0, left)
    return sink
