"""Somebody's own query, key and value as a trace, without a model."""

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from attnviz.attention import head_file, maths, npz
from attnviz.attention.call import Again, LayerTrace
from attnviz.attention.free_memory import free_memory
from attnviz.attention.head import HeadTrace
from attnviz.attention.one_head import trace_of, trace_of_call
from attnviz.attention.trace import Trace
from attnviz.text.characters import MAX_QUOTED, quoted, shown
from attnviz.text.errors import InputError, gist
from attnviz.text.phrases import number, size
from attnviz.text.tokenizing import of_names
from attnviz.text.tokens import Tokens, check_letters, numbered

MOST_HEADS = 1_000  # of a file
LARGEST = 1e12  # of a value, and of a score: their squares are still numbers in float32
_NAMES = ("q", "k", "v", "mask", "scaling", "tokens", "key_tokens", "weights")
_ALWAYS_FREE = 100_000_000  # bytes
_NO_PROJECTION = "these arrays came without a model"
_SHAPES = (
    "\n\nHint: q is (query_pos, d_head), k (key_pos, d_head) and v (key_pos, d_value); heads, or a "
    "batch of one and heads, may stand in front of all three."
)


def from_arrays(
    q: Any,
    k: Any,
    v: Any,
    *,
    mask: Any = None,
    scaling: float | None = None,
    tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    weights: Any = None,
    name: str = "own arrays",
) -> Trace:
    """A trace of one layer, made of a query, a key and a value that came from anywhere.

    `q` (query_pos, d_head), `k` (key_pos, d_head) and `v` (key_pos, d_value) are lists, NumPy
    arrays or torch tensors, also with heads in front, of which several may share a key and a value,
    and with a batch of one before those. `mask` (query_pos, key_pos), with heads in front or not,
    is boolean, True where a key may be seen, as for torch's scaled_dot_product_attention, or what
    is added to the scores (−inf hides). `scaling` is 1/√d_head without another. `tokens` are the
    queries' names and `key_tokens` the keys', their positions' numbers without; queries and keys
    are the same tokens where they are as many and have no names of their own.

    `weights` (query_pos, key_pos), with heads in front or not, are what a model computed itself:
    the replay is compared with them. Without them there is nothing to compare it with.

    Raises InputError for what does not fit together, is no number, or is larger than `LARGEST`.
    """
    given = {"q": q, "k": k, "v": v, "mask": mask, "scaling": scaling}
    return _traced(given | {"tokens": tokens, "key_tokens": key_tokens, "weights": weights}, name)


def read(
    file: npz.File, name: str, max_bytes: int = npz.MAX_BYTES, max_tokens: int | None = None
) -> Trace:
    """A trace of the arrays in an NPZ file that is called `name`.

    They have the names of `from_arrays`: q, k and v, and perhaps mask, scaling, tokens, key_tokens
    and weights. Of a file that `HeadTrace.to_npz` wrote it is that head alone, compared with
    what its model computed; it is head 0 of layer 0, and `model_name` says which it was.

    Raises InputError for a file that cannot be read, holds other arrays, or takes more than
    `max_bytes`, as it is or for the weights or updates of all heads, for more than `max_tokens`,
    more than `MOST_HEADS`, and for names that are too long. One file at a time is read.
    """
    with _reading:
        return _read(file, name, max_bytes, max_tokens)


# What files of many visitors take in memory at once is what one takes.
_reading = threading.Lock()


def _read(file: npz.File, name: str, max_bytes: int, max_tokens: int | None) -> Trace:
    arrays = npz.read(file, {*_NAMES, *head_file.NAMES}, max_bytes)
    if "metadata" in arrays:

        def check(n_queries: int, n_keys: int) -> None:
            _check_room((1, n_queries, n_keys), 1, max_bytes, max_tokens)

        head, about = head_file.head_of(HeadTrace, arrays, check)
        return trace_of(head, about, name)
    missing = [each for each in "qkv" if each not in arrays]
    if missing:
        raise InputError(
            f"{quoted(name)} lacks {' and '.join(missing)}."
            "\n\nHint: numpy.savez_compressed(file, q=q, k=k, v=v)"
        )
    return _traced({each: arrays.get(each) for each in _NAMES}, name, max_bytes, max_tokens)


def _traced(
    given: dict[str, Any], name: str, max_bytes: int | None = None, max_tokens: int | None = None
) -> Trace:
    mask, scaling, tokens, key_tokens, weights = (given[each] for each in _NAMES[3:])
    q, k, v = _fitting(*(_heads(given[each], each) for each in "qkv"))
    shape = len(q), q.shape[1], k.shape[1]
    _check_room(shape, v.shape[2], max_bytes, max_tokens)
    is_self = shape[1] == shape[2] and key_tokens is None
    queries = _tokens(tokens, shape[1], "tokens")
    keys = queries if is_self else _tokens(key_tokens, shape[2], "key_tokens")
    mask = None if mask is None else _mask(mask, shape)
    scaling = q.shape[2] ** -0.5 if scaling is None else _factor(scaling)
    compute = partial(_weights, q, k, mask, scaling)
    own = None if weights is None else _own_weights(weights, shape)
    updated = np.empty((shape[1], shape[0], v.shape[2]), np.float32)
    for head in range(len(q)):
        place = head * len(k) // len(q)
        replayed = _weights_of(q[head], k[place], _of_head_or_all(mask, head), scaling)
        updated[:, head] = maths.update(replayed if own is None else own[head], v[place])
    call = LayerTrace(
        query_tokens=queries,
        key_tokens=keys,
        x_query=None,
        x_key=None,
        q=q,
        k=k,
        v=v,
        scaling=scaling,
        softcap=None,
        bias=None,
        mask=mask,
        sink_logits=None,
        weights_from=Again(compute) if own is None else own,
        own_updated=_frozen(updated),
        projection=_NO_PROJECTION,
        captured="given",
        compared_with="nothing" if own is None else "weights",
    )
    dtype = _dtype(*(given[each] for each in ("q", "k", "v", "weights")))
    return trace_of_call(call, "self" if is_self else "cross", shown(name), dtype)


# The replay


def _weights(
    q: np.ndarray,
    k: np.ndarray,
    mask: np.ndarray | None,
    scaling: float,
    queries: slice,
    places: slice,
) -> Float[np.ndarray, "head query key_pos"]:
    """Those of some queries, in the heads that read the keys in some places."""
    n_readers = len(q) // len(k)
    heads = [
        (n_readers * place + reader, place)
        for place in range(len(k))[places]
        for reader in range(n_readers)
    ]
    masks = [_of_head_or_all(mask, head) for head, _ in heads]
    return np.stack(
        [
            _weights_of(q[head][queries], k[place], None if one is None else one[queries], scaling)
            for (head, place), one in zip(heads, masks, strict=True)
        ]
    )


def _weights_of(
    q: Float[np.ndarray, "query d_head"],
    k: Float[np.ndarray, "key_pos d_head"],
    mask: Float[np.ndarray, "query key_pos"] | None,
    scaling: float,
) -> Float[np.ndarray, "query key_pos"]:
    scores = maths.score(q, k)
    scaled = maths.scale(scores, scaling)
    if not (abs(scores).max() <= LARGEST and abs(scaled).max() <= LARGEST):
        raise InputError(
            f"Scores go up to {abs(scores).max():.1e}, and {abs(scaled).max():.1e} once they are "
            f"scaled; {LARGEST:.0e} is the most that is shown.\n\nHint: smaller q, k or scaling."
        )
    return maths.softmax(maths.mask(scaled, mask))[0]


def _of_head_or_all(mask: np.ndarray | None, head: int) -> np.ndarray | None:
    return None if mask is None else mask[head if len(mask) > 1 else 0]


# What is given


def _dtype(*given: Any) -> str:
    """The least precise dtype of these, by which a replay is judged."""
    names = {str(getattr(each, "dtype", "")).removeprefix("torch.") for each in given}
    return next((name for name in ("bfloat16", "float16") if name in names), "float32")


def _fitting(*qkv: np.ndarray) -> tuple[np.ndarray, ...]:
    """Query, key and value. Raises InputError where they do not fit together."""
    q, k, v = qkv
    fits = k.shape[:2] == v.shape[:2] and q.shape[2] == k.shape[2] and len(q) % len(k) == 0
    if not fits:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in zip("qkv", qkv, strict=True))
        raise InputError(f"These do not fit together (heads first): {shapes}.{_SHAPES}")
    return qkv


def _heads(value: Any, what: str) -> Float[np.ndarray, "head position dimension"]:
    array = _numbers(_array(value, what), what)
    shape = array.shape
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in shape:
        raise InputError(f"{what} has the shape {shape}.{_SHAPES}")
    return array


def _own_weights(
    weights: Any, shape: tuple[int, int, int]
) -> Float[np.ndarray, "head query_pos key_pos"]:
    own = _heads(weights, "weights")
    if own.shape != shape:
        raise InputError(
            f"weights has the shape {own.shape} (heads first), and q and k make {shape}."
            "\n\nHint: one weight for each query and key, in every head."
        )
    if not (own.min() >= 0 and own.max() <= 1.001):  # as rounded in bfloat16
        raise InputError(
            f"weights go from {number(own.min())} to {number(own.max())}."
            "\n\nHint: what the softmax gives, from 0 to 1."
        )
    return own


def _mask(
    mask: Any, shape: tuple[int, int, int]
) -> Float[np.ndarray, "mask_head query_pos key_pos"]:
    """What is added to the scores, for each head or for all of them."""
    array = _array(mask, "mask")
    received = array.shape
    if array.dtype.kind == "b":
        array = np.where(array, np.float32(0), np.float32(-np.inf))
    if array.dtype.kind in "iu":
        raise InputError(
            f"The mask is of whole numbers ({array.dtype}), which may mean what is seen or what is "
            "added.\n\nHint: mask.astype(bool) where 1 is seen; mask.astype('float32') where it is "
            "added to the scores."
        )
    array = _numbers(array, "mask", may_hide=True)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    fits = array.ndim == 3 and all(
        n in (1, full) for n, full in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"The mask has the shape {received}, and q and k make {shape} (heads first)."
            "\n\nHint: (query_pos, key_pos), perhaps with heads in front; 1 stands for all."
        )
    return np.broadcast_to(array, (len(array), *shape[1:]))


def _numbers(array: np.ndarray, what: str, *, may_hide: bool = False) -> np.ndarray:
    """The array in float32, a copy that nobody can change; hidden cells may be −inf."""
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"{what} is of {quoted(str(array.dtype))}, not of real numbers."
            f"\n\nHint: {what} = numpy.asarray({what}, dtype='float32')"
        )
    with np.errstate(over="ignore"):  # refused below
        array = array.astype(np.float32)
    is_bad = ~(array <= LARGEST) if may_hide else ~(abs(array) <= LARGEST)
    if is_bad.any():
        hides = "; −inf hides a key" if may_hide else ""
        place = tuple(int(at[0]) for at in np.nonzero(is_bad))
        raise InputError(
            f"{what} is {float(array[place])!r} at {place}."
            f"\n\nHint: numbers that are finite, and no larger than {LARGEST:.0e}{hides}."
        )
    return _frozen(array)


def _array(value: Any, what: str) -> np.ndarray:
    try:
        if hasattr(value, "detach"):  # of torch; NumPy has no bfloat16, nor what is on a GPU
            value = value.detach().cpu()
            value = value.float() if value.is_floating_point() else value
        return np.asarray(value)
    except Exception as error:  # of whatever library it is of
        raise InputError(
            f"{what} is not an array of numbers ({gist(error)})."
            "\n\nHint: a NumPy array, a torch tensor, or lists of lists that are equally long."
        ) from error


def _factor(scaling: Any) -> float:
    try:
        factor = float(scaling)
    except (TypeError, ValueError, OverflowError):
        factor = float("nan")
    if not 1 / LARGEST <= factor <= LARGEST:
        raise InputError(
            f"The scaling must be a positive number; received {quoted(repr(scaling))}."
            "\n\nHint: leave it out for 1/√d_head; 1 leaves the scores as they are."
        )
    return factor


def _tokens(names: Any, n: int, argument: str) -> Tokens:
    if names is None:
        return numbered(n)
    names = names.tolist() if isinstance(names, np.ndarray) else names
    is_list = isinstance(names, Sequence) and not isinstance(names, str)
    if not (is_list and all(isinstance(name, str) for name in names)):
        raise InputError(
            f"{argument} must be a list of strings; received {quoted(repr(names)[:MAX_QUOTED])}."
            "\n\nHint: one name for each position, or none at all."
        )
    if len(names) != n:
        raise InputError(
            f"{argument} has {len(names)} names for {n} positions."
            "\n\nHint: give one name for each position, or none at all."
        )
    check_letters(names, argument)
    return of_names(names)


def _check_room(
    shape: tuple[int, int, int], d_value: int, max_bytes: int | None, max_tokens: int | None
) -> None:
    n_heads, n_queries, n_keys = shape
    if max_bytes is not None and n_heads > MOST_HEADS:
        raise InputError(
            f"There are {n_heads:,} heads, and at most {MOST_HEADS:,} of a file are shown."
            "\n\nHint: take the first ones: q[:100], and of k and v those that they read."
        )
    if max_tokens is not None and max(n_queries, n_keys) > max_tokens:
        raise InputError(
            f"There are {n_queries:,} queries and {n_keys:,} keys, and at most {max_tokens:,} of "
            "each are shown here.\n\nHint: take the first ones: q[..., :100, :]."
        )
    what, width = ("weights", n_keys) if n_keys >= d_value else ("updates", d_value)
    n_bytes = 4 * n_heads * n_queries * width
    most = max(_ALWAYS_FREE, free_memory()) if max_bytes is None else max_bytes
    if n_bytes > most:
        raise InputError(
            f"The {what} of {n_heads:,} heads from {n_queries:,} queries to {n_keys:,} keys take "
            f"{size(n_bytes)}, and at most {size(most)} are free for them."
            "\n\nHint: take fewer heads or tokens: q[..., :100, :]."
        )


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
