"""The steps of one head, in order: what each is called, how it is computed, what came out.

The page, the tables and the exports iterate `head.steps`; a step that a head does not have (a
soft-cap, a bias) is not in its list.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from attnviz.attention import maths
from attnviz.attention.lasting import Lasting
from attnviz.attention.replay import Replay
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError

# How scores and weights are written. "rows": weights[i, j], a query's row sums to 1, as in code
# and in BertViz. "columns": wⱼᵢ, the key's index first, a query's column sums to 1, as in
# "Natural Language Processing with Transformers", chapter 3.
Convention = Literal["rows", "columns"]


@dataclass(frozen=True, eq=False)
class Step(Lasting):
    """One step of one head."""

    name: str  # the attribute of HeadTrace that holds the array
    number: (
        str  # its place: "in", the four steps "1", "1b", "2", "3a", "cap", "bias" … "4", "beyond"
    )
    title: str
    formula: str  # LaTeX, with this head's own sizes
    formula_text: str  # the same where no LaTeX is drawn
    array: Float[np.ndarray, "rows columns"]
    axes: tuple[str, str]  # what a row is and what a column is
    hidden_because: UInt8[np.ndarray, "rows columns"] | None = None  # a code of masks
    sink: Float[np.ndarray, " query_pos"] | None = None  # a key more, which is no token
    is_of_all_tokens: bool = False  # a row's token is a query and a key alike

    @property
    def is_hidden(self) -> Bool[np.ndarray, "rows columns"] | None:
        """Cells that the mask hides, or that have no meaning; None where the step has none."""
        return None if self.hidden_because is None else self.hidden_because > 0


def steps_of(head: Replay, convention: Convention = "rows") -> tuple[Step, ...]:
    """The steps that this head has, in order."""
    steps = [
        *_inputs(head),
        *_projections(head),
        *_scores(head, convention),
        _update(head, convention),
    ]
    if head.output is not None:
        x = r"(x'_i \odot \text{gate}_i)" if head.output_gate is not None else "x'_i"
        formula = (
            rf"\text{{output}}_i = {x}\,W_O,\quad "
            rf"W_O : {head.v.shape[1]} \times {head.output.shape[1]}"
        )
        text = "output = (x′ ⊙ gate) · W_O" if head.output_gate is not None else "output = x′ · W_O"
        axes = ("query_pos", "d_model")
        codes = _meaningless(head, head.output)
        steps.append(Step("output", "beyond", "output", formula, text, head.output, axes, codes))
    return tuple(steps)


def step_called(name: str, steps: Sequence[Step]) -> Step:
    """The step of this name, "weights", or this title, "softmax".

    Raises InputError for one that is not among them.
    """
    for step in steps:
        if name in (step.name, step.title):
            return step
    titles = ", ".join(dict.fromkeys(step.title for step in steps))
    raise InputError(f"The head has no step {quoted(name)}.\n\nHint: its steps are {titles}.")


def softmax_input(head: Replay) -> str:
    """The name of the step that the softmax is given: the last one that this head has."""
    if head.has_mask:
        return "masked"
    if head.bias is not None:
        return "biased"
    return "scaled" if head.softcap is None else "capped"


def scaling_factor(head: Replay) -> str:
    """What scores are multiplied by: "1/√32" where it is 1/√d_head, else the number."""
    d_head = head.q.shape[1]
    if head.scaling != 1 and maths.is_one_over_root(head.scaling, d_head):
        return f"1/√{d_head}"
    return f"{head.scaling:.4g}"


def _inputs(head: Replay) -> list[Step]:
    if head.x_query is None:
        return []
    if head.x_key is head.x_query:
        x = _input("x_query", "token embeddings", "x", "x", head.x_query, "query_pos")
        return [replace(x, is_of_all_tokens=True)]
    latex, title = r"x_{\text{query}}", "queries' embeddings"
    steps = [_input("x_query", title, latex, "x_query", head.x_query, "query_pos")]
    if head.x_key is not None:  # None where a cache has keys of what is no more there
        latex, title = r"x_{\text{key}}", "keys' embeddings"
        steps.append(_input("x_key", title, latex, "x_key", head.x_key, "key_pos"))
    return steps


def _input(name: str, title: str, latex: str, text: str, x: np.ndarray, axis: str) -> Step:
    rows, columns = x.shape
    formula = rf"{latex} : {rows} \times {columns}"
    return Step(name, "in", title, formula, f"{text}: {rows} × {columns}", x, (axis, "d_model"))


def _projections(head: Replay) -> list[Step]:
    """Query, key and value; where there is a rotary embedding, query and key before and after."""
    value = _projection(head, "v", "v", "value", "key_pos")
    if head.q_before_rotary is None or head.k_before_rotary is None:
        return [
            _projection(head, "q", "q", "query", "query_pos"),
            _projection(head, "k", "k", "key", "key_pos"),
            value,
        ]
    return [
        _projection(head, "q", "q_before_rotary", "query", "query_pos"),
        _projection(head, "k", "k_before_rotary", "key", "key_pos"),
        value,
        _rotary(head.q, "q", "rotated query", "query_pos", "i"),
        _rotary(head.k, "k", "rotated key", "key_pos", "j"),
    ]


def _projection(head: Replay, letter: str, name: str, title: str, axis: str) -> Step:
    """One of q, k and v as what it is known to be of x."""
    array: np.ndarray = getattr(head, name)
    rows, columns = array.shape
    upper, of = letter.upper(), axis.removesuffix("_pos")
    is_shared = head.x_query is head.x_key  # not so in cross attention
    x, x_text = ("x", "x") if is_shared else (rf"x_{{\text{{{of}}}}}", f"x_{of}")
    origin = head.origins.get(letter)
    if origin is None:
        latex, text = rf"f_{upper}({x})", f"f_{upper}({x_text})"
    else:
        bias = f" + b_{upper}" if origin.has_bias else ""
        latex, text = rf"{x}\,W_{upper}{bias}", f"{x_text} · W_{upper}{bias}"
        if origin.is_normed:
            latex, text = rf"\text{{norm}}({latex})", f"norm({text})"
    symbol = letter if name == letter else rf"\tilde {letter}"
    made_of = head.x_query if axis == "query_pos" else head.x_key
    is_given = origin is None and made_of is None  # what it was computed from is not known
    made, made_text = ("", "") if is_given else (f"= {latex} ", f" = {text}")
    dimension = "d_value" if letter == "v" else "d_head"
    return Step(
        *(name, "1", title),
        formula=rf"{symbol} {made}: {rows} \times {columns}",
        formula_text=f"{name}{made_text}: {rows} × {columns}",
        array=array,
        axes=(axis, dimension),
    )


def _rotary(array: np.ndarray, letter: str, title: str, axis: str, index: str) -> Step:
    rows, columns = array.shape
    formula = rf"{letter}_{index} = R_{index}\,\tilde {letter}_{index} : {rows} \times {columns}"
    text = f"{letter} = R · {letter}_before_rotary: {rows} × {columns}"
    return Step(letter, "1b", title, formula, text, array, (axis, "d_head"))


def _scores(head: Replay, convention: Convention) -> list[Step]:
    """Every matrix of queries and keys, from the scores to the weights."""
    is_rows = convention == "rows"
    ij = "ij" if is_rows else "ji"
    d_head = head.q.shape[1]

    def named(name: str, index: str = ij) -> str:
        return rf"\text{{{name}}}_{{{index}}}"

    def step(name: str, number: str, title: str, latex: str, text: str) -> Step:
        array: np.ndarray = getattr(head, name)
        # What a model adds to a score that it hides as well is not known, and decides nothing.
        codes = None if name in ("scores", "scaled", "capped") else head.hiding.codes
        axes = ("query_pos", "key_pos")
        if not is_rows:
            array, axes = array.T, ("key_pos", "query_pos")
            codes = None if codes is None else codes.T
        sink = None
        if head.sink_logits is not None and name in ("masked", "weights"):
            sink = head.sink if name == "weights" else head.sink_logits
        return Step(name, number, title, latex, f"{name} = {text}", array, axes, codes, sink)

    product = rf"q_i \cdot k_j = \sum_{{d=1}}^{{{d_head}}} q_{{id}}\,k_{{jd}}"
    steps = [step("scores", "2", "score", f"{named('scores')} = {product}", "q · k")]

    by = scaling_factor(head)
    by_latex = rf"\tfrac{{1}}{{\sqrt{{{d_head}}}}}" if "√" in by else by
    latex = rf"{named('scaled')} = {named('scores')} \times {by_latex}"
    steps.append(step("scaled", "3a", "scale", latex, f"scores × {by}"))
    if head.softcap is not None:
        cap = f"{head.softcap:g}"
        latex = rf"{named('capped')} = {cap} \cdot \tanh({named('scaled')} / {cap})"
        steps.append(step("capped", "cap", "soft-cap", latex, f"{cap} · tanh(scaled / {cap})"))
    if head.bias is not None:
        before = steps[-1].name
        rows, columns = head.bias.shape if is_rows else head.bias.T.shape
        latex = rf"{named('bias')} : {rows} \times {columns}"
        steps.append(
            step("bias", "bias", "bias", latex, f"what the model adds: {rows} × {columns}")
        )
        latex = f"{named('biased')} = {named(before)} + {named('bias')}"
        steps.append(step("biased", "bias", "scores with their bias", latex, f"{before} + bias"))

    before = steps[-1].name
    latex = f"{named('masked')} = {named(before)}"
    if head.mask is None:
        steps.append(step("masked", "3b", "mask", latex, before))
    else:
        steps.append(step("masked", "3b", "mask", f"{latex} + {named('mask')}", f"{before} + mask"))

    t = "" if head.temperature == 1 else f" / {head.temperature:g}"
    sink = rf" + \exp(\text{{sink}}{t})" if head.sink_logits is not None else ""
    given = softmax_input(head)
    every = named(given, ij.replace("j", "j'"))
    share = rf"\frac{{\exp({named(given)}{t})}}{{\sum_{{j'}} \exp({every}{t}){sink}}}"
    text = f"softmax of {given}{t} over the keys{' and the sink' if sink else ''}"
    steps.append(step("weights", "3c", "softmax", f"w_{{{ij}}} = {share}", text))
    return steps


def _update(head: Replay, convention: Convention) -> Step:
    is_rows = convention == "rows"
    weight, weight_text = ("w_{ij}", "wᵢⱼ") if is_rows else ("w_{ji}", "wⱼᵢ")
    formula = rf"x'_i = \sum_{{j=1}}^{{{len(head.v)}}} {weight}\,v_j"
    text = f"x′ᵢ = Σⱼ {weight_text} · vⱼ"
    axes, codes = ("query_pos", "d_value"), _meaningless(head, head.updated)
    return Step("updated", "4", "update", formula, text, head.updated, axes, codes)


def _meaningless(head: Replay, array: np.ndarray) -> UInt8[np.ndarray, "rows columns"] | None:
    """Why a query's row has no meaning, for each of its cells; None where all have one."""
    if not head.is_meaningless.any():
        return None
    because = np.where(head.is_meaningless, head.hiding.codes[:, 0], 0).astype(np.uint8)
    return np.repeat(because[:, None], array.shape[1], axis=1)
