"""Every head switched off in turn: which of them a prediction depends on."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

from attnviz.attention.tolerance import TOLERANCE
from attnviz.capture.changed_pass import run_again
from attnviz.capture.forward_pass import Observed
from attnviz.effect.ablation import ZERO, How, divergence, putting, replacements
from attnviz.effect.answers import Question, asked, log_probabilities
from attnviz.effect.attributing import attribution
from attnviz.effect.tokens import id_of, labels
from attnviz.text.errors import InputError

BATCH_TOKENS = 512  # of all copies of the text in one pass

Heads = list[tuple[str, int, int]]


def sweep(
    model: Any,
    tokenizer: Any,
    text: str,
    how: How = ZERO,
    token: str | int | None = None,
    position: int | None = None,
    *,
    pair: str | None = None,
    target: str | None = None,
    on_progress: Callable[[int, int], bool | None] | None = None,
) -> pd.DataFrame:
    """What each head's absence changes: kind, layer, head, change, kl, direct, in model's order.

    Arguments, `change` and `kl` are those of `effect.without`. `direct` is what the head itself
    adds to the token's logit, as `effect.attribution` has it; NaN where the logit is no sum, and
    then `attrs["no_direct_because"]` says why. The two differ: other heads read what a head wrote.
    Copies of the text run together, with another head switched off in each, where a batch gives
    the numbers that one alone does.
    `on_progress` is called with the number of heads so far and in all; where it returns False the
    sweep ends, and the table has the heads that are done.
    """
    table = pd.DataFrame()
    for table in growing(model, tokenizer, text, how, token, position, pair=pair, target=target):
        done, in_all = len(table), table.attrs["n_heads"]
        if on_progress is not None and on_progress(done, in_all) is False:
            break
    return table


def growing(
    model: Any,
    tokenizer: Any,
    text: str,
    how: How = ZERO,
    token: str | int | None = None,
    position: int | None = None,
    *,
    pair: str | None = None,
    target: str | None = None,
) -> Iterator[pd.DataFrame]:
    """The table of `sweep` again and again, each time with more heads, until it has all."""
    seen, question = asked(model, tokenizer, text, position, pair, target)
    put = replacements(seen, tokenizer, how, pair, target)
    heads: Heads = [
        (kind, layer, head)
        for (kind, layer), call in seen.trace.calls.items()
        for head in range(call.n_heads)
    ]
    own = question.logits(seen, seen.outputs)[0]
    token_id = id_of(token, question, seen.model, tokenizer, own.float().cpu().numpy())
    log_p = log_probabilities(question, seen.model, own)
    direct, reason = _direct(model, tokenizer, text, token_id, question, pair, target)
    about: dict[Any, Any] = {
        "no_direct_because": reason,
        "token": labels(question, seen.model, tokenizer, [token_id])[0],
        "id": token_id,
        "position": question.position,
        "what": question.what,
        "probability": float(log_p[token_id].exp()),
        "n_heads": len(heads),
    }
    rows: list[tuple[Any, ...]] = []
    for few, logits in _swept(seen, question, put, heads, own):
        log_q = log_probabilities(question, seen.model, logits)
        changes = (log_q[:, token_id] - log_p[token_id]).tolist()
        kls = divergence(log_p, log_q).tolist()
        rows += [(*head, *numbers) for head, *numbers in zip(few, changes, kls, strict=True)]
        table = pd.DataFrame(rows, columns=["kind", "layer", "head", "change", "kl"])
        table["direct"] = [direct.get(head, np.nan) for head in heads[: len(rows)]]
        table.attrs = about | {"is_whole": len(rows) == len(heads)}
        yield table


def _direct(
    model: Any,
    tokenizer: Any,
    text: str,
    token_id: int,
    question: Question,
    pair: str | None,
    target: str | None,
) -> tuple[dict[tuple[str, int, int], float], str | None]:
    """What each head adds to the logit, or why it is no sum."""
    try:
        shares = attribution(
            model, tokenizer, text, token_id, None, question.position, pair=pair, target=target
        )
    except InputError as error:
        return {}, str(error).partition("\n")[0]
    of_heads = shares[shares["component"] == "head"]
    places = zip(of_heads["kind"], of_heads["layer"], of_heads["head"], strict=True)
    return dict(zip(places, of_heads["share"], strict=True)), None


def _swept(
    seen: Observed, question: Question, put: Any, heads: Heads, own: torch.Tensor
) -> Iterator[tuple[Heads, torch.Tensor]]:
    """Some heads and the logits without each of them, until there are no more."""
    n_tokens = max(len(call.query_tokens) for call in seen.trace.calls.values())
    size = max(1, BATCH_TOKENS // n_tokens)
    if size > 1 and not _gives_the_same(seen, question, own):
        size = 1
    sizes = [max(1, size // 4)]  # the first few are soon there
    while sum(sizes) < len(heads):
        sizes.append(size)
    for place, n in enumerate(sizes):
        start = sum(sizes[:place])
        few = heads[start : start + n]
        changes = {
            at: putting(
                [[head] if (kind, layer) == at else [] for kind, layer, head in few], put(at)
            )
            for at in dict.fromkeys((kind, layer) for kind, layer, _ in few)
        }
        yield few, question.logits(seen, run_again(seen, changes, len(few)))


def _gives_the_same(seen: Observed, question: Question, own: torch.Tensor) -> bool:
    """Whether two copies of the text that run together give the numbers of one alone."""
    try:
        two = question.logits(seen, run_again(seen, {}, 2))
    except Exception:  # of code that was not made for batches
        return False
    tolerance = 10 * TOLERANCE[seen.trace.dtype]
    largest = float(own.float().abs().max()) or 1.0
    return two.shape[0] == 2 and bool(
        np.abs((two - own).float().cpu().numpy()).max() <= tolerance * largest
    )
