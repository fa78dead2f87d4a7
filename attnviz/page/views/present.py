"""Talk mode: one step a screen, in large type, moved by buttons, arrow keys and clickers."""

import streamlit as st

from attnviz.attention.explained.sentences import headline
from attnviz.page import stylesheet
from attnviz.page.beats import beats_of, number_of
from attnviz.page.controls import links
from attnviz.page.controls.pair import Followed
from attnviz.page.views import one_step, strip
from attnviz.text.phrases import escaped, token_at

_LEAVING = "_talk_is_left"


def is_on() -> bool:
    """Whether the page is to be shown beat by beat."""
    if "talk" in st.session_state:
        return st.session_state["talk"] is not None or _LEAVING in st.session_state
    return "talk" in st.query_params


def enter_button() -> None:
    st.button(
        "Present",
        icon=":material/slideshow:",
        key="present",
        on_click=_enter,
        help="One step per screen, in large type, for arrow keys and presenter clickers.",
    )


def show(followed: Followed) -> None:
    """The beat that the address asks for, and the way to the others."""
    stylesheet.apply_to_talk()
    groups = beats_of(followed.head, followed.convention)
    names = list(groups)
    with st.container(horizontal=True, vertical_alignment="center", key="talk_bar"):
        # No default: the address leaves out a default, and it is what keeps the talk going.
        chosen = st.segmented_control(
            "Beat",
            names,
            required=True,
            key="talk",
            bind="query-params",
            label_visibility="collapsed",
        )
        if st.session_state.pop(_LEAVING, False):
            st.rerun()
        beat = chosen or names[0]
        links.check("talk", "beat", names, beat)
        place = names.index(beat)
        _move("Previous", "Left", names, place - 1)
        _move("Next", "Right", names, place + 1)
        st.button("Leave", shortcut="Esc", key="talk_leave", on_click=_leave, type="tertiary")
        st.markdown(f"{place + 1} of {len(names)}", width="content")
        with st.container(key="talk_clicker"):  # what presenter clickers send; nothing to see
            _move("Previous", "PageUp", names, place - 1)
            _move("Next", "PageDown", names, place + 1)
    with st.container(key="talk_step", gap="small"):
        strip.show_sentence(followed, 1216)
        st.subheader(headline(number_of(beat)), anchor=False)
        one_step.show_steps(followed, groups[beat])
    head = followed.head
    query = token_at(head.query_tokens, followed.query)
    key = token_at(head.key_tokens, followed.key)
    with st.container(key="talk_line"):
        st.caption(
            f"{escaped(followed.trace.model_name)} · layer {head.layer}, head {head.head} · from "
            f"{query} to {key}"
        )


def _move(label: str, shortcut: str, names: list[str], place: int) -> None:
    is_there = place in range(len(names))
    st.button(
        label,
        shortcut=shortcut,
        key=f"talk_{shortcut}",
        disabled=not is_there,
        on_click=_open,
        args=(names[place] if is_there else None,),
    )


def _open(beat: str) -> None:
    st.session_state["talk"] = beat


def _enter() -> None:
    """Begin at the open step, and put the talk into the address, where its control is not yet."""
    st.session_state["talk"] = st.query_params["talk"] = st.session_state["step"]


def _leave() -> None:
    """End the talk at the step of its beat; the control first takes itself out of the address."""
    st.session_state["step"] = st.session_state["talk"]
    st.session_state.update({"talk": None, _LEAVING: True})
