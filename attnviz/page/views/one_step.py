"""One step of the timeline: formula, words made from the numbers, and the matrix."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from attnviz.attention.agreement import check_of_output
from attnviz.attention.explained.arithmetic import arithmetic, products
from attnviz.attention.explained.projection import (
    Letter,
    dimension_of_pair,
    no_rotation,
    no_weights,
    weights_step,
    worked_projection,
    worked_rotation,
)
from attnviz.attention.explained.sentences import (
    LOOK_FOR_IN_SHARES,
    about_row,
    explanation,
    look_for,
    nearest_values,
    sentence,
)
from attnviz.attention.steps import Step
from attnviz.charts.matrix import drawn_cells, matrix_chart
from attnviz.charts.parts.axes import is_of_pairs, matrix_title
from attnviz.charts.parts.blocks import MAX_DIMENSIONS
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.window import window_around
from attnviz.charts.projection import projection_chart
from attnviz.charts.row import row_chart
from attnviz.charts.shares import shares_chart
from attnviz.page.compat import DeltaGenerator
from attnviz.page.controls import pair
from attnviz.page.controls.pair import Followed
from attnviz.page.figures import Width, show_figure

# The page's names for the colours that q, k, v and the update have in the charts' headings.
IDENTITY = {
    **dict.fromkeys(("q", "q_before_rotary"), "violet"),
    **dict.fromkeys(("k", "k_before_rotary"), "green"),
    "v": "red",
    "updated": "yellow",
}


NARROW_IN_TALK, WIDE_IN_TALK = 384, 870  # px, of three columns, and beside words


def show_steps(followed: Followed, steps: list[Step], *, is_alone: bool = True) -> None:
    """The steps that share a number, from explanation to picture.

    Where one number `is_alone` on the screen, one of several arrays of it is chosen there.
    """
    first, convention = steps[0], followed.convention
    with st.container(key=None if followed.is_large else f"words_of_{first.number}"):
        words = explanation(followed.head, first.number, convention, is_short=followed.is_large)
        st.markdown(words)
    if followed.is_large and first.name == "bias":
        steps = steps[:1]  # one screen; the scores with their bias are what the mask is added to
    if len(steps) > 1 and not is_of_pairs(first):
        if not followed.is_large:
            if is_alone:
                _show_beside_words(followed, *steps)
                return
            for step in steps:
                _show_beside_words(followed, step)
            return
        for column, step in zip(st.columns(len(steps)), steps, strict=True):
            with column:
                _show_in_a_column(followed, step)
        for step in steps:
            worked_out = arithmetic(followed.head, step, followed.query, followed.key)
            if worked_out is not None:
                st.markdown(worked_out)
        return
    for step in steps:
        _show_beside_words(followed, step)
    if first.name == "updated" and followed.is_large:
        st.markdown(nearest_values(followed.head, followed.query))


def _one_of(steps: Sequence[Step]) -> Step:
    """Of several arrays that one step makes, the one that is chosen; the first, of another step."""
    key = f"array_{steps[0].number}"
    by_title = {step.title: step for step in steps}
    if st.session_state.get(key, steps[0].title) not in by_title:
        del st.session_state[key]
    chosen = st.segmented_control(
        "Array",
        list(by_title),
        default=steps[0].title,
        required=True,
        key=key,
        label_visibility="collapsed",
    )
    return by_title[chosen or steps[0].title]


def _show_beside_words(followed: Followed, *steps: Step) -> None:
    """One step beside its picture; of several the one that is chosen above the picture."""
    is_projected = steps[0].number == "1" and not followed.is_large
    # What is worked out of a projection has more words than any other step.
    shares = [5, 14] if followed.is_large else [6, 8] if is_projected else [5, 9]
    words, picture = st.columns(shares, gap="medium")
    with picture:
        picture = st.container(gap="xsmall")
        heading = picture.container(horizontal=True, vertical_alignment="center")
    with heading:
        step = _one_of(steps) if len(steps) > 1 else steps[0]
    is_update = step.name == "updated"
    with words, st.container(gap="xsmall", key=None if followed.is_large else f"words_{step.name}"):
        _show_words(followed, step)
        if not followed.is_large:
            _show_look_for(LOOK_FOR_IN_SHARES if is_update else _hint(followed, step))
        elif not is_update:
            _show_look_for(_hint(followed, step))
        if not followed.is_large:
            _show_more(followed, step)
    with picture:
        if is_update:
            _show_shares(followed)
        elif is_projected:
            _show_projection(followed, step, heading)
        else:
            _show_chart(followed, step)
        if step.name == "weights" and followed.large == "window":
            shown = window_around(followed.query, followed.key, *step.array.shape)
            pair.show_outside(followed.head, followed.query, shown)


def _show_projection(followed: Followed, step: Step, heading: DeltaGenerator) -> None:
    """W beside what it makes of x, with the column of the number that is worked out."""
    letter: Any = step.name[0]
    head, dimension = followed.head, _dimension(followed, letter)
    weights, made = st.columns(2)
    with weights:
        name = f"W_{letter.upper()}"
        step_of_w = weights_step(head, letter)
        figure = projection_chart(head, letter, dimension, is_narrow=True)
        if step_of_w is None or figure is None:
            st.caption(no_weights(head, letter) or "")
        else:
            heading.markdown(f"${step_of_w.formula}$", width="content")
            show_figure(figure, f"matrix_w_{letter}", f"{name}: dimension of x by dimension")
    with made:
        _show_chart(followed, step, is_narrow=True, dimension=dimension)


def _dimension(followed: Followed, letter: Letter) -> int:
    """The one that is worked out: with the largest product in the score, or the largest of v."""
    if letter == "v":
        return int(np.argmax(np.abs(followed.head.v[followed.key])))
    return dimension_of_pair(followed.head, followed.query, followed.key)


def _row(followed: Followed, letter: str) -> int:
    return followed.query if letter == "q" else followed.key


def _show_more(followed: Followed, step: Step) -> None:
    """What one may ask next; computed when it is opened."""
    if step.name == "scores":
        _show_products(followed)
    if step.name == "updated":
        popover = _more("The matrix of all updates", step)
        if popover.open:
            with popover:
                _show_chart(followed, step)
                _show_look_for(_hint(followed, step))
                st.markdown(nearest_values(followed.head, followed.query))
    elif _has_wide_rows(step):
        popover = _more(f"All {step.array.shape[1]} values of the row", step)
        if popover.open:
            with popover:
                _show_row(followed, step)


def _more(label: str, step: Step) -> Any:
    return st.popover(
        label,
        icon=":material/grid_on:",
        key=f"more_{step.name}",
        on_change="rerun",
        width="content",
    )


def _show_in_a_column(followed: Followed, step: Step) -> None:
    """A matrix with a row for each token, in a narrow place of a talk or a slide."""
    colour = IDENTITY.get(step.name)
    title = f":{colour}[**{step.title}**]" if colour else f"**{step.title}**"
    st.markdown(f"{title} ${step.formula}$")
    _show_chart(followed, step, is_narrow=True)
    words = sentence(followed.head, step, followed.query, followed.key)
    st.markdown(f"{words.partition(';')[0]}.")


def _show_words(followed: Followed, step: Step) -> None:
    head, query, key = followed.head, followed.query, followed.key
    title = f":{IDENTITY[step.name]}[**{step.title}**] " if step.name in IDENTITY else ""
    st.markdown(f"{title}${step.formula}$")
    st.markdown(sentence(head, step, query, key))
    for worked_out in _worked_out(followed, step):
        if worked_out is not None:
            st.markdown(worked_out)
    if step.name == "output":
        st.markdown(check_of_output(followed.trace, head, query))


def _worked_out(followed: Followed, step: Step) -> Iterator[str | None]:
    head, query, key = followed.head, followed.query, followed.key
    yield arithmetic(head, step, query, key)
    letter: Any = step.name[0]
    if followed.is_large:
        return
    if step.number == "1":
        yield worked_projection(head, letter, _row(followed, letter), _dimension(followed, letter))
    if step.number == "1b":
        row = _row(followed, letter)
        yield worked_rotation(head, letter, row) or no_rotation(head, letter, row)


def _hint(followed: Followed, step: Step) -> str:
    return look_for(followed.head, step, followed.convention)


def _show_look_for(words: str) -> None:
    st.caption(f":material/visibility: **Look for** {words}")


def _show_shares(followed: Followed) -> None:
    head, query = followed.head, followed.query
    show_figure(
        shares_chart(
            head,
            query,
            followed.key,
            is_large=followed.is_large,
            is_compact=not followed.is_large,
        ),
        "shares",
        "What each value adds to the update of the query token",
        width="content",
    )


def _show_products(followed: Followed) -> None:
    """All products of the score, computed when they are asked for."""
    n_products = followed.head.q.shape[1]
    label = f"All {n_products} products"
    popover = st.popover(label, icon=":material/functions:", key="products", on_change="rerun")
    if not popover.open:
        return
    table = products(followed.head, followed.query, followed.key)
    table = table.rename(columns={"product": "q × k", "sum": "sum so far"})
    number_format = st.column_config.NumberColumn(format="%.4f")
    columns = dict.fromkeys(("q", "k", "q × k", "sum so far"), number_format)
    popover.dataframe(table, hide_index=True, column_config=columns)


def _show_chart(
    followed: Followed, step: Step, *, is_narrow: bool = False, dimension: int | None = None
) -> None:
    chart_key = f"matrix_{step.name}"
    alternative = matrix_title(step)
    followed_pair = Pair(followed.query, followed.key)
    figure = matrix_chart(
        followed.head,
        step,
        followed_pair,
        dimension=dimension,
        large=followed.large,
        reports_clicks=not followed.is_large,
        is_narrow=is_narrow,
        is_large=followed.is_large,
    )
    if followed.is_large:
        # In a talk the browser enlarges what is drawn for these widths.
        in_talk = NARROW_IN_TALK if is_narrow else WIDE_IN_TALK
        width: Width = in_talk if followed.place == "talk" else "stretch"
        show_figure(figure, f"{chart_key}_still", alternative, width=width)
        return
    cells = drawn_cells(step, followed_pair, followed.large)
    follow = partial(pair.follow_click, chart_key, step.axes, cells)
    show_figure(figure, chart_key, alternative, on_select=follow)


def _has_wide_rows(step: Step) -> bool:
    """Whether a row has more dimensions than a screen can show."""
    return not is_of_pairs(step) and step.array.shape[1] > MAX_DIMENSIONS


def _show_row(followed: Followed, step: Step) -> None:
    """One row of a matrix that is drawn in blocks, every value exact."""
    head = followed.head
    is_of_key = step.axes[0] == "key_pos"
    row = followed.key if is_of_key else followed.query
    st.caption(about_row(head, step, row))
    alternative = f"{step.title} of the {'key' if is_of_key else 'query'} token"
    show_figure(row_chart(head, step, row), f"row_{step.name}", alternative)
