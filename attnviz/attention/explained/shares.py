"""What each value adds to an update: weight, norm, and how near the update comes to it."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from attnviz.attention.call import LayerTrace
from attnviz.attention.head import HeadTrace


def value_shares(head: HeadTrace, query: int) -> pd.DataFrame:
    """Every key's part in the update x′ of one query, the largest w·v first.

    One row a key: `key` (its position), `token`, `weight` (w, 0 to 1), `value_norm` (‖v‖),
    `share_norm` (‖w·v‖), `share` (‖w·v‖ over the sum of all of them), `cosine` (of x′ and v, −1
    to 1, NaN where one of them is 0) and `distance` (‖x′ − v‖). A large weight on a value with
    a small norm adds little: Kobayashi et al., "Attention is Not Only a Weight", 2020.
    """
    updated, weights = head.updated[query], head.weights[query]
    value_norms = np.linalg.norm(head.v, axis=1)
    share_norms = weights * value_norms
    lengths = value_norms * np.linalg.norm(updated)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = head.v @ updated / lengths
    table = pd.DataFrame(
        {
            "key": np.arange(len(weights)),
            "token": head.key_tokens,
            "weight": weights,
            "value_norm": value_norms,
            "share_norm": share_norms,
            "share": share_norms / (share_norms.sum() or 1),
            "cosine": cosines,
            "distance": np.linalg.norm(head.v - updated, axis=1),
        }
    )
    return table.sort_values("share_norm", ascending=False, kind="stable", ignore_index=True)


def head_norms(layer: LayerTrace, query: int) -> Float[np.ndarray, " head"] | None:
    """‖output‖ of every head of a layer for one query; None where heads have no output."""
    outputs = layer.outputs_of(slice(query, query + 1))
    if outputs is None:
        return None
    norms: np.ndarray = np.linalg.norm(outputs[:, 0], axis=-1)
    return norms
