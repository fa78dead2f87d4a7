"""The Steps view: the head at a glance, and below it one step whole, or all of them."""

from dataclasses import replace
from functools import partial

import streamlit as st

from attnviz.attention.explained.sentences import headline, no_mask, no_output
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step, steps_of
from attnviz.attention.trace import Trace
from attnviz.charts.parts.tables import step_table
from attnviz.page import header, opened_below
from attnviz.page.beats import BEATS, beats_of, number_of
from attnviz.page.compat import DeltaGenerator
from attnviz.page.controls import export_menu, links, pair, tables
from attnviz.page.controls.pair import Followed
from attnviz.page.views import effect, glossary, one_step, present, strip, what_if, why_scale

OPENING = "softmax"  # the step in which attention is seen


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(gap="xsmall"):
        _show_all(trace, head)


def _show_all(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        followed = pair.choose(trace, head)
        tables.show_choice(
            "steps",
            {step.title: partial(step_table, head, step) for step in steps_of(head)},
        )
        present.enter_button()
        menu = st.container(width="content")
    beats = beats_of(head, followed.convention)
    if st.context.is_embedded:
        _embed(followed, beats)
        return
    with st.container(key="strip", gap="xsmall"):
        at_a_glance = st.container()
        with st.container(horizontal=True, vertical_alignment="center"):
            header.show_strongest(trace, head, followed.query, followed.key)
            mark = st.container(width="content")
        are_all, beat = _choose(list(beats))
    with at_a_glance:
        strip.show(followed, None if are_all else beat)
    if are_all:
        for name in beats:
            with _expander(name):
                _show(followed, name, beats[name], is_alone=False)
    else:
        with st.container(key=f"step_{beat}", gap="xsmall"):
            _show(followed, beat, beats[beat])
    change = what_if.show(followed)
    with mark:
        what_if.show_mark(head, change)
    glossary.show()
    opened_below.scroll()
    with menu:
        screen = export_menu.screen_of(
            trace,
            head,
            view="steps",
            query=followed.query,
            key=followed.key,
            convention=followed.convention,
            large=followed.large,
            change=change,
        )
        export_menu.menu(screen, trace)


def _embed(followed: Followed, beats: dict[str, list[Step]]) -> None:
    """The sentence and the step that the link asks for, in the letters of a talk."""
    _, beat = _choose(list(beats))
    strip.show_sentence(followed)
    one_step.show_steps(replace(followed, place="slide"), beats[beat])
    header.show_in_one_line(followed.trace, followed.head, (followed.query, followed.key))


def _choose(beats: list[str]) -> tuple[bool, str]:
    """Whether all steps are shown, and the one that is open."""
    if st.session_state.get("step", OPENING) not in beats:
        st.session_state["step"] = OPENING  # of a head that has other steps
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        previous, bar, following = (st.container(width="content") for _ in range(3))
        are_all = st.toggle("All steps", key="all_steps", bind="query-params")
        links.check_switch("all_steps", "All steps", are_all)
    chosen = bar.segmented_control(
        "Step",
        beats,
        default=OPENING,
        required=True,
        key="step",
        bind="query-params",
        label_visibility="collapsed",
        disabled=are_all,
    )
    beat: str = chosen or OPENING
    links.check("step", "step", beats, beat)
    # After the control: before it, nothing knows the step that a link asks for.
    place = beats.index(beat)
    with previous:
        _move("Previous", "Left", beats, place - 1)
    with following:
        _move("Next", "Right", beats, place + 1)
    return are_all, beat


def _move(label: str, shortcut: str, beats: list[str], place: int) -> None:
    is_there = place in range(len(beats))
    st.button(
        label,
        key=f"step_{shortcut.lower()}",
        shortcut=shortcut,
        disabled=not is_there,
        on_click=_open,
        args=(beats[place] if is_there else None,),
    )


def _open(beat: str) -> None:
    st.session_state["step"] = beat


def _show(followed: Followed, beat: str, steps: list[Step], *, is_alone: bool = True) -> None:
    head = followed.head
    if not steps:
        st.markdown(no_output(head))
        return
    one_step.show_steps(followed, steps, is_alone=is_alone)
    if beat == BEATS["beyond"]:
        effect.show_way(followed.trace)
    if beat == BEATS["3a"]:
        why_scale.show(head, followed.query, followed.key)
        what_if.show_way("Change the scaling")
    if beat == BEATS["3b"]:
        what_if.show_way("Change the mask")
    if beat == BEATS["3c"] and (said := no_mask(head)):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(said, width="content")
            what_if.show_way("Add a mask")


def _expander(beat: str) -> DeltaGenerator:
    return st.expander(
        f"**{headline(number_of(beat))}**", expanded=True, type="step", key=f"step_{beat}"
    )
