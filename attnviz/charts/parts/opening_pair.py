"""Where attnviz opens a text: a head, and the pair of tokens that is followed in it."""

from dataclasses import dataclass

import numpy as np

from attnviz.attention.trace import Trace
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.window import MAX_TOKENS
from attnviz.text.tokens import Tokens

# The model whose picture attnviz starts from, and the head in that picture.
_PICTURED, _PICTURED_HEAD = "bert-base-uncased", (0, 8)


@dataclass(frozen=True)
class Opening:
    """A head, and a pair of tokens by their positions."""

    layer: int
    head: int
    query: int
    key: int

    @property
    def pair(self) -> Pair:
        return Pair(self.query, self.key)


def opening(trace: Trace, kind: str | None = None) -> Opening:
    """Of all heads the one that gives most from the text's second word to another word.

    Where later tokens are hidden, the query is the last token, and the first token is no key: most
    such heads rest on it. No key is the query itself, beside it, special or punctuation, as long as
    others are left. In the model whose picture attnviz starts from, the head is the picture's.
    Raises InputError for a kind that the trace does not have.
    """
    layers = trace.layers(kind)
    queries, keys = trace.tokens_of(layers[0], kind)
    is_of_one_text = queries == keys
    is_causal = is_of_one_text and _hides_later(trace, layers[0], kind)
    query = _own(queries)[-1] if is_causal else _second_word(queries)
    offered = _offered(keys, query if is_of_one_text else None, is_causal=is_causal)
    heads = [(layer, head) for layer in layers for head in range(trace.n_heads(layer, kind))]
    weights = np.concatenate([_given(trace, layer, query, offered, kind) for layer in layers])
    if _is_pictured(trace) and _PICTURED_HEAD in heads:
        best = heads.index(_PICTURED_HEAD)
    else:
        best = int(weights.max(axis=1).argmax())
    return Opening(*heads[best], query, offered[int(weights[best].argmax())])


def _is_pictured(trace: Trace) -> bool:
    return trace.model_name.rstrip("/").rpartition("/")[2] == _PICTURED


def _given(trace: Trace, layer: int, query: int, keys: list[int], kind: str | None) -> np.ndarray:
    """What each head of a layer gives from a query to some keys; shape (head, key)."""
    weights = trace.layer(layer, kind).own_weights_of(slice(query, query + 1))[:, 0]
    given: np.ndarray = np.nan_to_num(weights[:, keys])
    return given


def _hides_later(trace: Trace, layer: int, kind: str | None) -> bool:
    own = _own(trace.tokens_of(layer, kind)[0])
    return len(own) > 1 and bool(trace.head(layer, 0, kind).is_masked[own[0], own[1]])


def _own(tokens: Tokens) -> list[int]:
    """The positions of the text's own tokens; all where it has none."""
    own = [place for place, token in enumerate(tokens) if not token.is_special]
    return own or [*range(len(tokens))]


def _second_word(tokens: Tokens) -> int:
    """Where the text's second word begins; its second token, or its only one, where it has none."""
    own = _own(tokens)
    words = [at for at in own if tokens[at].starts_word and not tokens[at].is_punctuation]
    of = words if len(words) > 1 else own
    return of[min(1, len(of) - 1)]


def _offered(tokens: Tokens, query: int | None, *, is_causal: bool) -> list[int]:
    """The keys that may be followed; without a query, those of another text.

    Of a long text those that every view shows beside its beginning, where the query is too.
    """
    seen = range(query + 1) if is_causal and query is not None else range(len(tokens))
    near = [at for at in _own(tokens) if at in seen and (is_causal or at < MAX_TOKENS)]
    apart = [at for at in near if query is None or at != query]
    told = [
        at
        for at in apart
        if not (is_causal and at == 0)
        and not (query is not None and abs(at - query) == 1)
        and not tokens[at].is_punctuation
    ]
    return told or apart or near or [0]
