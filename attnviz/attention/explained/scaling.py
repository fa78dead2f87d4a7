"""Why scores are scaled: how wide they spread, how evenly weights are, how steep the softmax is.

If the entries of q and k were independent, with mean 0 and variance 1, a score, the sum of
d_head products, would have mean 0 and variance d_head (Vaswani et al., "Attention Is All You
Need", 2017, footnote 4); dividing by √d_head brings its variance back to 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from attnviz.attention.head import HeadTrace
from attnviz.attention.what_if import what_if

# Times the model's own factor: the curve's points.
FACTORS = np.logspace(-2, 2, 81)


@dataclass(frozen=True)
class Spread:
    """How wide the scores spread that a query may see."""

    variance: float
    standard_deviation: float
    smallest: float
    largest: float


def spread(head: HeadTrace, name: str) -> Spread:
    """The spread of `scores` or `scaled`, over all cells that are not hidden."""
    seen = getattr(head, name)[~head.is_masked].astype(np.float64)
    if not seen.size:
        return Spread(*(float("nan"),) * 4)
    return Spread(seen.var(), seen.std(), seen.min(), seen.max())


def entropy(weights: Float[np.ndarray, "query_pos key_pos"]) -> Float[np.ndarray, " query_pos"]:
    """How evenly each row is spread, in bits: −Σ w·log₂ w.

    0 where all weight is on one key, log₂ n where n keys share it equally. A row that does not
    sum to 1 (a sink took the rest) is taken as it is.
    """
    logarithms = np.log2(weights, where=weights > 0, out=np.zeros_like(weights))
    array: Float[np.ndarray, " query_pos"] = -(weights * logarithms).sum(axis=-1) + 0.0
    return array


def softmax_derivative(head: HeadTrace, query: int) -> Float[np.ndarray, " key_pos"]:
    """The derivative of each weight of one query by its own input of the softmax: w(1 − w).

    The input is the masked score, so a temperature divides it. Near 0 wherever a weight is near 0
    or 1: a saturated softmax passes hardly any gradient on.
    """
    weights = head.weights[query].astype(np.float64)
    array: Float[np.ndarray, " key_pos"] = weights * (1 - weights) / head.temperature
    return array


def derivative_by_score(head: HeadTrace, query: int) -> Float[np.ndarray, " key_pos"]:
    """The derivative of each weight of one query by its own score q·kᵀ: `scaling` times the other.

    Where the head has a soft-cap c, by the chain rule also times 1 − tanh²(scaled / c).
    """
    factor: Float[np.ndarray, " key_pos"] = np.full(len(head.key_tokens), float(head.scaling))
    if head.softcap is not None:
        factor *= 1 - (head.capped[query].astype(np.float64) / head.softcap) ** 2
    array: Float[np.ndarray, " key_pos"] = softmax_derivative(head, query) * factor
    return array


def entropy_curve(
    head: HeadTrace, query: int, factors: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The entropy of one query's weights, and the mean over all queries, for each factor."""
    entropies = [entropy(what_if(head, scaling=float(factor)).weights) for factor in factors]
    seeing = ~head.is_masked.all(axis=1)  # a row that sees no key has no entropy
    of_query = np.array([row[query] for row in entropies])
    return of_query, np.array([row[seeing].mean() for row in entropies])
