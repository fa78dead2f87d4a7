"""One head's four steps in plain PyTorch, as a script that anybody can run."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from attnviz.attention import maths
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.attention.what_if import Change, what_if
from attnviz.export.code import head_of, loaded, traced
from attnviz.export.python import LINE, call, differing, listed, literal
from attnviz.export.screen import Screen
from attnviz.text.phrases import ranges


def four_steps(screen: Screen, trace: Trace, model: Any = None) -> str:
    """A script of the screen's head in four steps of plain PyTorch, which prints its weights.

    From the weights of a `model` of the BERT family, which has to be the one that was traced;
    otherwise, and without one, from the query, key and value that attnviz reads. The screen's
    change is made, filters are left out. Raises InputError for a layer or head that the trace does
    not have, and for a change that cannot be made to it.
    """
    head = trace.head(screen.layer, screen.head, screen.kind)
    change = screen.change
    changed = change(head)
    is_bert = model is not None and _is_of_bert(model, head)
    lines = ["import attnviz", "import torch", ""]
    lines += _projected(screen, model, head) if is_bert else _captured(screen, head)
    if change.zeroed_dimensions:
        lines += ["", "# What if? Without these dimensions:"]
        lines += _set("q", change.zeroed_dimensions, "0")
    lines += [
        "",
        f"# 2 score: every query with every key, {_shape(head.scores)}",
        "scores = q @ k.T",
        "",
        *_weighed(head, changed, change),
        "",
        f"# 4 update: the mean of the values, weighted, {_shape(head.updated)}",
        "updated = weights @ v",
    ]
    if not head.is_exact:
        lines += ["", f"# The model's own numbers are up to {head.max_error:.2g} away from these."]
    return "\n".join([*lines, "print(weights)"]) + "\n"


def _is_of_bert(model: Any, head: HeadTrace) -> bool:
    """Whether the head's q, k and v are x · W + b of weights that stand where BERT has them.

    x has to be what the layer is given: its parts are those of BERT, with no norm before the
    attention but one behind it. What the head does with q and k is a scaling and a softmax.
    """
    is_more = head.softcap or head.bias is not None or head.sink_logits is not None
    if head.kind != "self" or head.x_query is None or is_more or _mask_of(head) is not None:
        return False
    try:
        layer = model.encoder.layer[head.layer]
        own, after = layer.attention.self, _parts_of(layer.attention.output)
        makers = {"q": own.query, "k": own.key, "v": own.value}
        parts = _parts_of(layer), _parts_of(layer.attention)
        takes = inspect.signature(model.forward).parameters
    except (AttributeError, IndexError, TypeError):
        return False
    is_layer = parts == ({"attention", "intermediate", "output"}, {"self", "output"})
    if not is_layer or "LayerNorm" not in after or "token_type_ids" not in takes:
        return False
    return all(_makes(part, head.x_query, name, head) for name, part in makers.items())


def _parts_of(module: Any) -> set[str]:
    return {name for name, _ in module.named_children()}


def _makes(part: Any, x: np.ndarray, name: str, head: HeadTrace) -> bool:
    """Whether a projection makes this head's query, key or value."""
    made: np.ndarray = getattr(head, name)
    if part.weight.is_meta or part.bias is None:  # on the disk, while the model does not run
        return False
    rows = slice(head.head * made.shape[1], (head.head + 1) * made.shape[1])
    weight, bias = (each[rows].detach().float().cpu().numpy() for each in (part.weight, part.bias))
    if weight.shape != (made.shape[1], x.shape[1]):
        return False
    return bool(np.abs(x @ weight.T + bias - made).max() <= head.tolerance * np.abs(made).max())


def _projected(screen: Screen, model: Any, head: HeadTrace) -> list[str]:
    """From the text to q, k and v, by the model's own weights."""
    texts = [literal(text) for text in (screen.text, screen.pair) if text is not None]
    inputs = "inputs" if screen.device == Screen.device else f"inputs.to({literal(screen.device)})"
    is_precise = head.dtype in ("float32", "float64")
    as_float = "" if is_precise else ".float()"  # so that no step is rounded anew
    of_layer = f"hidden_states[{head.layer}][0]{as_float}"
    d_head = head.q.shape[1]
    assert head.x_query is not None
    given = "the embeddings" if head.layer == 0 else f"what layer {head.layer} is given"
    return [
        loaded(screen),
        "model.requires_grad_(False)  # it is read, not trained",
        call("inputs = tokenizer", *texts, 'return_tensors="pt"'),
        f"x = model(**{inputs}, output_hidden_states=True).{of_layer}",
        f"attention = model.encoder.layer[{head.layer}].attention.self{as_float}",
        f"rows = slice({head.head * d_head}, {(head.head + 1) * d_head})  # of head {head.head}",
        "",
        f"# 1 project: x, {given}, {_shape(head.x_query)}, to q, k and v, {_shape(head.q)} each",
        *(
            f"{name} = x @ attention.{part}.weight[rows].T + attention.{part}.bias[rows]"
            for name, part in (("q", "query"), ("k", "key"), ("v", "value"))
        ),
    ]


def _captured(screen: Screen, head: HeadTrace) -> list[str]:
    """From the text to q, k and v, as the model made them."""
    shapes = ", ".join(f"{name} {_shape(getattr(head, name))}" for name in "qkv")
    more = []
    if head.q_before_rotary is not None:
        more.append("# q and k are already rotated by their positions.")
    if len(head.readers) > 1:
        more.append(f"# k and v are shared by heads {ranges(head.readers)}.")
    return [
        *traced(screen),
        head_of(screen),
        "",
        f"# 1 project: what the model made of x, {shapes}",
        *more,
        "q, k, v = torch.tensor(head.q), torch.tensor(head.k), torch.tensor(head.v)",
    ]


def _weighed(head: HeadTrace, changed: HeadTrace, change: Change) -> list[str]:
    """From the scores to the weights, by what this head has and what is changed."""
    done, lines, last = [], [], "scores"
    d_head = head.q.shape[1]
    if changed.scaling != 1:
        is_usual = math.isclose(changed.scaling, d_head**-0.5, rel_tol=1e-6)
        factor = f"* {d_head}**-0.5" if is_usual else f"* {literal(changed.scaling)}"
        lines.append(f"scaled = scores {factor}")
        done, last = ["scale"], "scaled"
    if head.softcap is not None:
        cap = literal(head.softcap)
        lines.append(f"capped = {cap} * torch.tanh({last} / {cap})")
        done, last = [*done, "soft-cap"], "capped"
    if head.bias is not None:
        lines.append(f"biased = {last} + torch.tensor(head.bias)")
        done, last = [*done, "bias"], "biased"
    mask = _mask_of(changed)
    if mask is not None:
        lines += _masked(head, mask, change, last)
        done, last = [*done, "mask"], "masked"
    heat = "" if changed.temperature == 1 else f" / {literal(changed.temperature)}"
    if head.sink_logits is None:
        lines.append(f"weights = torch.softmax({last}{heat}, dim=-1)")
    else:
        lines += [
            "sink = torch.tensor(head.sink_logits)[:, None]  # one more key, which is not a token",
            f"weights = torch.softmax(torch.cat([{last}, sink], dim=-1){heat}, dim=-1)[:, :-1]",
        ]
    done.append("softmax" if mask is not None else "softmax (no key is masked)")
    whole = "each row sums to 1" if head.sink_logits is None else "each row and its sink sum to 1"
    asked = [f"# What if? {words}"] if (words := _said(change)) else []
    return [f"# 3 {', '.join(done)}: {whole}, {_shape(head.weights)}", *asked, *lines]


def _masked(head: HeadTrace, mask: np.ndarray, change: Change, last: str) -> list[str]:
    """The mask, which may be changed: by which keys it hides, where it does nothing else."""
    own = _mask_of(head)
    if own is not None and not _is_causal(own):
        if not change.hidden_keys and change.is_causal is None:
            return [f"masked = {last} + torch.tensor(head.mask)"]
        of_mask = {"hidden_keys": change.hidden_keys, "is_causal": change.is_causal}
        return [
            call("changed = attnviz.what_if", "head", *differing(what_if, **of_mask)),
            f"masked = {last} + torch.tensor(changed.mask)",
        ]
    is_causal = own is not None if change.is_causal is None else change.is_causal
    if is_causal and not change.hidden_keys:
        return [
            f"is_later = torch.ones{_shape(mask)}.triu(1).bool()",
            f"masked = {last}.masked_fill(is_later, -torch.inf)",
        ]
    filled = f"ones{_shape(mask)}.triu(1)" if is_causal else f"zeros{_shape(mask)}"
    return [
        f"is_hidden = torch.{filled}.bool()",
        *_set("is_hidden", change.hidden_keys, "True"),
        f"masked = {last}.masked_fill(is_hidden, -torch.inf)",
    ]


def _said(change: Change) -> str:
    """What is changed between the scores and the weights, for a comment."""
    said = [
        "another scaling" if change.scaling is not None else "",
        "another temperature" if change.temperature is not None else "",
        "another mask" if change.hidden_keys or change.is_causal is not None else "",
    ]
    return ", ".join(filter(None, said)).capitalize()


def _set(array: str, columns: Sequence[int], value: str) -> list[str]:
    """The lines that set columns of an array."""
    line = f"{array}[:, {[*map(int, columns)]}] = {value}"
    if len(line) <= LINE:
        return [line]
    return [*listed("columns", [*map(int, columns)]), f"{array}[:, columns] = {value}"]


def _mask_of(head: HeadTrace) -> np.ndarray | None:
    """The head's mask; None where it changes nothing."""
    return head.mask if head.has_mask else None


def _is_causal(mask: np.ndarray) -> bool:
    """Whether the mask hides every later key and does nothing else."""
    is_later = np.triu(np.ones(mask.shape, dtype=bool), k=1)
    hides = np.array_equal(maths.hidden(mask, mask.shape), is_later)
    return bool(hides and not mask[~is_later].any())


def _shape(array: np.ndarray) -> str:
    return f"({', '.join(map(str, array.shape))})"
