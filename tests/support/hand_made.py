"""Heads whose every number is known."""

import numpy as np

from attnviz.attention.call import LayerTrace
from attnviz.attention.head import HeadTrace
from attnviz.text.tokens import plain


def head(q, k, v, *, scaling=1.0, mask=None, queries=None, keys=None, sink_logit=None, **changes):
    """A head that agrees exactly with its own replay, unless `changes` says otherwise."""
    q, k, v = (np.array(a, dtype=np.float32) for a in (q, k, v))
    mask = None if mask is None else np.array(mask, dtype=np.float32)
    x = np.arange(len(q) * 3, dtype=np.float32).reshape(-1, 3)
    call = LayerTrace(
        query_tokens=plain(queries or [f"q{i}" for i in range(len(q))]),
        key_tokens=plain(keys or [f"k{i}" for i in range(len(k))]),
        x_query=x,
        x_key=x if len(q) == len(k) else np.ones((len(k), 3), np.float32),
        q=q[None],
        k=k[None],
        v=v[None],
        scaling=scaling,
        softcap=None,
        bias=None,
        mask=None if mask is None else mask[None],
        sink_logits=None if sink_logit is None else np.full((1, len(q)), sink_logit, np.float32),
        weights_from=np.zeros((1, len(q), len(k)), np.float32),
        own_updated=np.zeros((len(q), 1, v.shape[1]), np.float32),
        projection="a head that was made by hand is alone",
    )
    placed = {"kind": "self", "layer": 0, "head": 0, "dtype": "float32"}
    placed = {name: changes.pop(name, value) for name, value in placed.items()}
    made = HeadTrace(call, 0, **placed, given={**changes, "is_changed": True})
    own = {"own_weights": made.weights, "own_updated": made.updated, "is_changed": False}
    return made.replaced(**(own | changes))


def random_head(n_queries=5, n_keys=5, d_head=4, d_value=4, *, causal=False, seed=0, **changes):
    rng = np.random.default_rng(seed)
    mask = None
    if causal:
        mask = np.where(np.tri(n_queries, n_keys, dtype=bool), 0, np.finfo(np.float32).min)
    shapes = (n_queries, d_head), (n_keys, d_head), (n_keys, d_value)
    return head(*(rng.normal(size=shape) for shape in shapes), mask=mask, scaling=0.5, **changes)
