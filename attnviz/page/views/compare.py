"""The Compare view: the head beside another one, of another text, layer or model."""

from dataclasses import replace

import pandas as pd
import streamlit as st

from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.alignment import alignment_figure
from attnviz.charts.compare import PICKED_PAIR, compare_figure
from attnviz.charts.parts.window import window_around
from attnviz.export.screen import NOTHING_MORE, Beside, Compared, More, Screen, heads_compared
from attnviz.heads.aligning import Alignment
from attnviz.heads.comparing import where_largest
from attnviz.page.controls import export_menu, filter_menu, links, pair, tables
from attnviz.page.controls.chart_clicks import clicked, pinned
from attnviz.page.controls.sidebar import (
    APPLY,
    OTHER_TEXT,
    select,
    short_name,
    stepper,
    text_area,
)
from attnviz.page.figures import show_figure
from attnviz.page.refusals import show_refusal
from attnviz.page.service import loading, settings
from attnviz.text.errors import AttnvizError
from attnviz.text.phrases import escaped, fixed, token_at
from attnviz.text.tokens import Tokens

VIEW = "compare"
SIDES = {"aligned_queries": "queries", "aligned_keys": "keys"}
NO_PARTNER = "—"
MOST_NAMED = 8  # tokens
MUCH_LONGER = 1.5  # times as many keys


def show(trace: Trace, head: HeadTrace) -> None:
    try:
        beside, other = _choose_other(trace, head)
    except AttnvizError as error:  # of the other text or model; the controls stay
        show_refusal(error)
        return
    more = NOTHING_MORE if other is None else More([other])
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query, key = pair.choose_tokens(trace, head)
        less, filters = filter_menu.choose(trace, head, has_lines=False)
        align = st.container(width="content")
        buttons = st.container(horizontal=True, width="content")
    queries, keys = less.tokens_of(head.layer, head.kind)
    screen = export_menu.screen_of(
        trace,
        head,
        view=VIEW,
        query=queries[filter_menu.place_of(queries, query, "query")].positions[0],
        key=keys[filter_menu.place_of(keys, key, "key")].positions[0],
        filters=filters,
        beside=beside,
    )
    of = heads_compared(screen, trace, more)
    with align:
        mended = _mend(of)
    if mended:
        beside = replace(beside, queries=mended.get("queries"), keys=mended.get("keys"))
        screen = replace(screen, beside=beside)
        of = heads_compared(screen, trace, more)
    with buttons:
        tables.show(VIEW, lambda: _table(of))
        export_menu.menu(screen, trace)
    filter_menu.show_notes(less, head)
    st.markdown(f"{what_differs(screen, trace)} {where_largest(of.difference)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(about_pair(of), width="content")
        _offer_largest(of)
    if alone := without_partner(of):
        st.caption(f"{alone} **Alignment** shows which tokens are compared; change it there.")
    if longer := with_more_keys(of):
        st.caption(longer)
    _show_picture(screen, of)


def what_differs(screen: Screen, trace: Trace) -> str:
    """Which heads A and B are, as Markdown."""
    beside = screen.beside

    def named(layer: int, head: int, model: str, text: str) -> str:
        parts = [f"layer {layer}, head {head}"]
        if beside.model is not None:
            parts.append(escaped(model.rstrip("/").rsplit("/", 1)[-1]))
        if beside.text is not None:
            parts.append(f"“{escaped(text[:80])}{'…' if len(text) > 80 else ''}”")
        return " · ".join(parts)

    first = named(screen.layer, screen.head, screen.model, screen.text)
    second = named(
        screen.layer if beside.layer is None else beside.layer,
        screen.head if beside.head is None else beside.head,
        screen.model if beside.model is None else beside.model,
        screen.text if beside.text is None else beside.text,
    )
    return f"**A** is {first}; **B** is {second}."


def about_pair(of: Compared) -> str:
    """What both give from the chosen query to the chosen key, or why that is not known."""
    differs = of.difference
    if of.row is None or of.column is None:
        which = "query" if of.row is None else "key"
        return (
            f"The selected {which} token has no partner in B. Select another, or give it one "
            "under **Alignment**."
        )
    names = differs.query_called(of.row), differs.key_called(of.column)
    a, b = (weights[of.row, of.column] for weights in (differs.weights_a, differs.weights_b))
    return f"From {names[0]} to {names[1]} A gives **{fixed(a, 3)}** and B **{fixed(b, 3)}**."


def without_partner(of: Compared) -> str:
    """Which tokens of A and B are not compared, as Markdown; empty where all are."""
    pairs, (_, keys_a), (_, keys_b) = of.difference.keys, of.first, of.second
    parts = []
    for side, tokens, places in (("A", keys_a, pairs.of_a), ("B", keys_b, pairs.of_b)):
        alone = [at for at in range(len(tokens)) if at not in places]
        if alone:
            named = ", ".join(token_at(tokens.labels, at) for at in alone[:MOST_NAMED])
            more = f" and {len(alone) - MOST_NAMED} more" if len(alone) > MOST_NAMED else ""
            parts.append(f"of {side} {named}{more}")
    return f"Keys without a partner: {'; '.join(parts)}." if parts else ""


def with_more_keys(of: Compared) -> str:
    """That one text is much the longer, which makes its weights smaller; empty where none is."""
    n_a, n_b = len(of.first[1]), len(of.second[1])
    if max(n_a, n_b) < MUCH_LONGER * min(n_a, n_b):
        return ""
    return (
        f"A has {n_a} keys and B {n_b}: the weights of a query sum to 1, so each of more keys gets "
        "less, whatever the head does."
    )


def _table(of: Compared) -> pd.DataFrame:
    """Both weights and their difference, with the tokens that they are of."""
    table = of.difference.table().rename(columns=_COLUMNS)
    return table[list(_COLUMNS.values())]


_COLUMNS = {
    "query_a_token": "query in A",
    "query_b_token": "query in B",
    "key_a_token": "key in A",
    "key_b_token": "key in B",
    "weight_a": "A",
    "weight_b": "B",
    "difference": "B − A",
}


# What to compare with


def _choose_other(trace: Trace, head: HeadTrace) -> tuple[Beside, Trace | None]:
    """What is beside the head, and its trace where that is another one."""
    text = name = None
    models = [] if loading.model_of(trace) is None else _models(trace)
    st.caption(
        "**A** is the selected head: choose its text, layer and head on the left. **B** is the "
        "head to compare it with."
    )
    with st.container(horizontal=True, vertical_alignment="top"):
        if models:
            text, name = _choose_text(trace), _choose_model(models)
        of_head = st.container(horizontal=True, vertical_alignment="top")
    if len(models) > 1:  # four controls are too many for a line
        of_head = st.container(horizontal=True, vertical_alignment="top")
    other = None if text is name is None else loading.beside(trace, name, text)
    whole = trace if other is None else other
    if other is not None:
        for what in loading.beside_text_of(trace).keys() - loading.beside_text_of(other).keys():
            st.caption(f"Only A has the {what}: B has one text.")
    of_layer, of_number = of_head.container(), of_head.container()  # each with its notes below
    with of_layer:
        layer = stepper("Layer of B", "other_layer", whole.layers(head.kind), head.layer, "layer")
    with of_number:
        heads = range(whole.n_heads(layer, head.kind))
        number = stepper("Head of B", "other_head", heads, head.head, "head")
    beside = Beside(
        model=name,
        text=text,
        layer=None if layer == head.layer else layer,
        head=None if number == head.head else number,
    )
    return beside, other


def _choose_text(trace: Trace) -> str | None:
    text = text_area(
        "Text of B",
        "other_text",
        OTHER_TEXT,
        placeholder="empty: the same text",
        help="The text of B. If empty, the text of A: to compare another head on it. " + APPLY,
    )
    own = loading.text_of(trace)
    return None if not text.strip() or text == own else text


def _models(trace: Trace) -> list[str]:
    """The names of A's model and of all others on this machine."""
    own = loading.name_of(trace)
    return [own, *(o.name for o in settings.offers() if o.name != own and loading.is_here(o.name))]


def _choose_model(names: list[str]) -> str | None:
    own = names[0]
    if len(names) == 1:
        links.check_absent("other_model", "model of B", "no other model is on this machine", own)
        return None
    chosen = select(
        "Model of B", "other_model", names, format_func=lambda name: short_name(name, names)
    )
    return None if chosen == own else chosen


# Which tokens are compared


def _mend(of: Compared) -> dict[str, Alignment]:
    """The alignments that the visitor made; those that attnviz made stay as they are."""
    sides = {
        parameter: (one, another, getattr(of.difference, side))
        for (parameter, side), one, another in zip(SIDES.items(), of.first, of.second, strict=True)
        if one.labels != another.labels
    }
    if of.first[0] is of.first[1] and of.second[0] is of.second[1]:
        sides.pop("aligned_queries", None)  # queries and keys are the same tokens
    mended = {}
    for parameter, (one, another, _) in sides.items():
        if chosen := _mended(parameter, one, another):
            mended[SIDES[parameter]] = chosen
    if "keys" in mended and "aligned_queries" not in sides:
        mended["queries"] = mended["keys"]
    for parameter in SIDES:
        if parameter not in sides:
            links.check_absent(parameter, "alignment", "these texts have the same tokens")
    if not sides:
        return mended
    popover = st.popover(
        "Alignment", icon=":material/sync_alt:", key="alignment", on_change="rerun", width="content"
    )
    if popover.open:
        with popover:
            for parameter, (one, another, made) in sides.items():
                _show_alignment(parameter, one, another, mended.get(SIDES[parameter], made))
    return mended


def _mended(parameter: str, one: Tokens, another: Tokens) -> Alignment | None:
    """What is written in the address, of these tokens; a new text begins anew."""
    of = one.labels, another.labels
    if st.session_state.get(f"_{parameter}_of", of) != of:
        st.session_state[parameter] = ""
    st.session_state[f"_{parameter}_of"] = of
    written = st.session_state.get(parameter, links.asked_once(parameter))
    st.session_state[parameter] = written
    links.write(parameter, written)
    if not written:
        return None
    try:
        alignment = Alignment.read(written)
        alignment.check(len(one), len(another))
    except AttnvizError as error:
        links.note(parameter, str(error))
        return None
    return alignment


def _show_alignment(parameter: str, one: Tokens, another: Tokens, now: Alignment) -> None:
    st.markdown(
        "The tokens of A, each with its partner in B. attnviz pairs equal tokens, and tokens "
        "between the same equal ones. Change a pair where you know better."
    )
    figure = alignment_figure(one.labels, another.labels, now)
    show_figure(figure, f"{parameter}_figure", figure.description, width="content")
    names = [NO_PARTNER, *(f"{place} {label}" for place, label in enumerate(another.labels))]
    partners = dict(now.pairs)
    table = pd.DataFrame(
        {
            "A": [f"{place} {label}" for place, label in enumerate(one.labels)],
            "B": [names[partners[p] + 1 if p in partners else 0] for p in range(len(one))],
        }
    )
    key = f"{parameter}_editor_{abs(hash((one.labels, another.labels, now)))}"
    st.data_editor(
        table,
        hide_index=True,
        disabled=["A"],
        column_config={"B": st.column_config.SelectboxColumn(options=names, required=True)},
        key=key,
        on_change=lambda: _take(parameter, key, partners, names),
    )
    st.button(
        "Reset to attnviz's pairs",
        key=f"{parameter}_reset",
        on_click=lambda: st.session_state.update({parameter: ""}),
        disabled=not st.session_state[parameter],
    )


def _take(parameter: str, key: str, partners: dict[int, int], names: list[str]) -> None:
    """Take an edited row over: what another token had as partner it loses."""
    partners = dict(partners)
    for row, changes in st.session_state[key]["edited_rows"].items():
        partner = names.index(changes["B"]) - 1
        partners = {a: b for a, b in partners.items() if b != partner and a != int(row)}
        if partner >= 0:
            partners[int(row)] = partner
    st.session_state[parameter] = str(Alignment(tuple(sorted(partners.items()))))


# The picture


def _show_picture(screen: Screen, of: Compared) -> None:
    selection = pinned(
        VIEW, (of.difference.query_labels, of.difference.key_labels), (of.row, of.column)
    )
    chart_key = f"{VIEW}_{selection.number}"
    figure = compare_figure(of.difference, *selection.drawn)
    show_figure(
        figure,
        chart_key,
        "Compare view: the weights of A, those of B, and B less A",
        words=figure.description,
        width="content",
        selection_mode=[PICKED_PAIR],
        on_select=lambda: _follow_click(chart_key, of),
    )


def _follow_click(chart_key: str, of: Compared) -> None:
    for point in st.session_state[chart_key].selection.get(PICKED_PAIR) or []:
        _choose(of, point["row"], point["column"])
        clicked(VIEW, (point["row"], point["column"]))


def _offer_largest(of: Compared) -> None:
    """A way to the pair where A and B differ most, which may be outside of the part shown."""
    for row, column, _ in of.difference.largest(1):
        part = window_around(of.row or 0, of.column or 0, *of.difference.weights.shape)
        where = "" if row in part.queries and column in part.keys else ", outside the part shown"
        st.button(
            f"Select the largest difference{where}",
            icon=":material/my_location:",
            type="tertiary",
            key="largest_difference",
            disabled=(row, column) == (of.row, of.column),
            on_click=_choose,
            args=(of, row, column),
        )


def _choose(of: Compared, row: int, column: int) -> None:
    """Make these tokens of A the query and the key that are chosen."""
    queries, keys = of.first
    query = of.difference.queries.pairs[row][0]
    key = of.difference.keys.pairs[column][0]
    st.session_state["query"] = queries[query].positions[0]
    st.session_state["key"] = keys[key].positions[0]
