"""What a model says without some heads: the total effect of what they computed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from attnviz.attention.trace import Trace
from attnviz.capture.changed_pass import Change, run_again
from attnviz.capture.forward_pass import Observed, trace
from attnviz.effect.answers import Question, asked, log_probabilities
from attnviz.effect.average_updates import Means
from attnviz.effect.predicting import first_choices
from attnviz.effect.tokens import id_of, labels
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError

Head = tuple[int, int] | tuple[str, int, int]  # layer and head, or kind, layer and head
How = str | Means
ZERO = "zero"
TOP = 10


@dataclass(frozen=True, eq=False)
class Without:
    """What a model says with and without something: at one position, of one token or class.

    `change` is log p of the token without it, less log p with it. `kl` is the Kullback-Leibler
    divergence of what the model says without from what it says with it, in nats. Logits are
    float32, (vocabulary,), as the model returns them; `before` and `after` are as `prediction`
    gives them. `both` has the tokens of `before`, and the followed one where it is not among them,
    with both probabilities: token, id, before, after. Its `attrs` have all numbers of this answer.
    """

    token: str
    token_id: int
    what: str  # "next token", "masked token", "target token", "class of text" or "class of token"
    position: int | None
    logits_before: np.ndarray = field(repr=False)
    logits_after: np.ndarray = field(repr=False)
    change: float
    kl: float
    probability_before: float
    probability_after: float
    before: pd.DataFrame = field(repr=False)
    after: pd.DataFrame = field(repr=False)
    both: pd.DataFrame = field(repr=False)


def without(
    model: Any,
    tokenizer: Any,
    text: str,
    heads: Sequence[Head],
    how: How = ZERO,
    token: str | int | None = None,
    position: int | None = None,
    *,
    pair: str | None = None,
    target: str | None = None,
) -> Without:
    """What the model says where these heads are switched off, in one more pass.

    `heads` are (layer, head), or (kind, layer, head). `how` says what stands in place of their
    updates: "zero", what `effect.means` gave, or another text of as many tokens, whose updates
    are put there (patching). `token` is the token or class to follow, as text or id; by default
    the model's own first choice. `position` is as in `effect.prediction`.

    The model is not changed, and another thread that uses it meanwhile gets its own numbers.
    Other heads read what is left of the text: the effect is the total one. Raises InputError for
    heads that the model has not, and for a text to patch with that has other lengths.
    """
    seen, question = asked(model, tokenizer, text, position, pair, target)
    chosen = checked_heads(seen.trace, heads)
    put = replacements(seen, tokenizer, how, pair, target)
    changes = {
        at: putting([[head for *of, head in chosen if tuple(of) == at]], put(at))
        for at in dict.fromkeys((kind, layer) for kind, layer, _ in chosen)
    }
    return _compared(seen, question, tokenizer, token, changes)


def without_weight(
    model: Any,
    tokenizer: Any,
    text: str,
    layer: int,
    head: int,
    query: int,
    key: int,
    renormalise: bool = False,
    token: str | int | None = None,
    position: int | None = None,
    *,
    kind: str | None = None,
    pair: str | None = None,
    target: str | None = None,
) -> Without:
    """What the model says where one weight, from a query to a key, is 0.

    With `renormalise` the other weights of that query are made larger by one factor, so that
    they sum to what the row did. Else as `without`. Raises InputError for a position that is not
    there, and for a weight of 1, beside which there is nothing to make larger.
    """
    seen, question = asked(model, tokenizer, text, position, pair, target)
    one = seen.trace.head(layer, head, kind)
    for place, tokens, what in (
        (query, one.query_tokens, "query"),
        (key, one.key_tokens, "key"),
    ):
        if place not in range(len(tokens)):
            raise InputError(
                f"The {what} positions run from 0 to {len(tokens) - 1}; received {place!r}."
                "\n\nHint: count tokens, not words; trace.tokens lists them."
            )
    weight = float(one.weights[query, key])
    total = float(one.weights[query].sum())
    if renormalise and weight >= total:
        raise InputError(
            f"The whole weight of query {query} is on key {key}: no other could be made larger."
            "\n\nHint: leave renormalise out."
        )
    call = seen.trace.layer(layer, kind)
    update, value = torch.tensor(call.own_updated[query, head]), torch.tensor(one.v[key])
    left = update - weight * value
    if renormalise:
        left *= total / (total - weight)

    def change(updated: Tensor, values: slice) -> None:
        updated[:, query, head] = left[values].to(updated)

    return _compared(seen, question, tokenizer, token, {(one.kind, layer): change})


def checked_heads(trace: Trace, heads: Sequence[Head]) -> list[tuple[str, int, int]]:
    """Each head with its kind. Raises InputError for what the model has not."""
    named = []
    for head in heads:
        if not isinstance(head, tuple | list) or len(head) not in (2, 3):
            raise InputError(
                f"A head is (layer, head) or (kind, layer, head); received {head!r}."
                "\n\nHint: heads=[(5, 11)]"
            )
        kind, layer, number = head if len(head) == 3 else (None, *head)
        one = trace.head(layer, number, kind)
        named.append((one.kind, one.layer, one.head))
    return named


def replacements(
    seen: Observed, tokenizer: Any, how: How, pair: str | None, target: str | None
) -> Any:
    """What gives the updates to put in place of a layer's, (query_pos or 1, head, d_value)."""
    if isinstance(how, Means):
        return lambda at: _mean(how, seen.trace, at)
    if not isinstance(how, str):
        raise InputError(
            f"how is 'zero', what effect.means gave, or a text; received {type(how).__name__}."
            "\n\nHint: how='zero'"
        )
    if how == ZERO:
        return lambda at: np.zeros_like(seen.trace.calls[at].own_updated[:1])
    other = trace(seen.model, tokenizer, how, pair=pair, target=target)

    def of_other(at: tuple[str, int]) -> np.ndarray:
        own, others = seen.trace.calls[at].own_updated, other.calls[at].own_updated
        if own.shape != others.shape:
            raise InputError(
                f"A text is patched with one of as many tokens: this one has {len(own)}, and "
                f"{quoted(how)} has {len(others)}."
                "\n\nHint: how='zero' needs no other text."
            )
        return others

    return of_other


def _mean(means: Means, trace: Trace, at: tuple[str, int]) -> np.ndarray:
    own = trace.calls[at].own_updated
    mean = means.of.get(at)
    if mean is None or mean.shape != own.shape[1:]:
        raise InputError(
            f"These means are of {means.model_name}, whose heads are others than those of "
            f"{trace.model_name}.\n\nHint: effect.means(model, tokenizer, texts) with this model."
        )
    return mean[None]


def putting(heads: Sequence[Sequence[int]], put: np.ndarray) -> Change:
    """A change that puts these updates where the heads of each text's row computed theirs."""
    instead = torch.tensor(put)

    def change(updated: Tensor, values: slice) -> None:
        for row, numbers in enumerate(heads):
            if len(numbers):
                updated[row, :, list(numbers)] = instead[:, list(numbers), values].to(updated)

    return change


def _compared(
    seen: Observed, question: Question, tokenizer: Any, token: str | int | None, changes: Any
) -> Without:
    model = seen.model
    before = question.logits(seen, seen.outputs)[0]
    after = question.logits(seen, run_again(seen, changes))[0]
    token_id = id_of(token, question, model, tokenizer, _array(before))
    log_p, log_q = (log_probabilities(question, model, one) for one in (before, after))
    first = first_choices(question, model, tokenizer, before, TOP)
    ids = [*dict.fromkeys([*first["id"], token_id])]
    followed = labels(question, model, tokenizer, [token_id])[0]
    probabilities = {
        name: [float(one[at].exp()) for at in ids]
        for name, one in (("before", log_p), ("after", log_q))
    }
    numbers: dict[str, Any] = {
        "token": followed,
        "token_id": token_id,
        "what": question.what,
        "position": question.position,
        "change": float(log_q[token_id] - log_p[token_id]),
        "kl": float(divergence(log_p, log_q)),
        "probability_before": float(log_p[token_id].exp()),
        "probability_after": float(log_q[token_id].exp()),
    }
    called = [*first["token"], followed][: len(ids)]
    both = pd.DataFrame({"token": called, "id": ids, **probabilities})
    both.attrs.update(numbers)
    return Without(
        **numbers,
        logits_before=_array(before),
        logits_after=_array(after),
        before=first,
        after=first_choices(question, model, tokenizer, after, TOP),
        both=both,
    )


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) over the last axis, in nats."""
    is_there = log_p > -torch.inf
    terms = log_p.exp() * (log_p - log_q)
    return terms.where(is_there, 0).sum(dim=-1)


def _array(logits: Tensor) -> np.ndarray:
    array: np.ndarray = logits.float().cpu().numpy()
    return array
