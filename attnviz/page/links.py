"""What a link asked for, and a note for each thing in it that the page could not follow."""

from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from attnviz.wording import escaped

_ASKED = "_asked_by_link"
_NOTES = "_notes_on_link"


def remember() -> None:
    """Keep what the address asked for when the visitor came; widgets drop what they cannot take."""
    if _ASKED not in st.session_state:
        st.session_state[_ASKED] = dict(st.query_params)
        st.session_state[_NOTES] = {}


def respell(parameter: str, labels: Mapping[str, str]) -> None:
    """Take a link that names an option without its label: `query=2` for “2 flies”.

    The address is spelled as the control spells it, and the page runs again from there.
    """
    label = labels.get(st.session_state[_ASKED].get(parameter))
    if label is not None and label != st.session_state[_ASKED][parameter]:
        st.session_state[_ASKED][parameter] = st.query_params[parameter] = label
        st.rerun()


def check(parameter: str, what: str, options: Sequence[str], shown: str) -> None:
    """Note, once, where the link asked for something that is not among the options."""
    note = note_on(st.session_state[_ASKED].pop(parameter, None), what, options, shown)
    if note is not None:
        st.session_state[_NOTES][parameter] = note


def forget_note(parameter: str) -> None:
    """The visitor has chosen for themselves."""
    st.session_state[_NOTES].pop(parameter, None)


def forget_all_notes() -> None:
    st.session_state[_NOTES].clear()


def show_notes(place: DeltaGenerator) -> None:
    for note in st.session_state[_NOTES].values():
        place.warning(note, icon=":material/link_off:")


def note_on(asked: str | None, what: str, options: Sequence[str], shown: str) -> str | None:
    """A sentence on a parameter that was not followed, as Markdown; None if it was."""
    if asked is None or asked in options:
        return None
    offered = ", ".join(options) if len(options) <= 8 else f"{options[0]} to {options[-1]}"
    return (
        f"The link asks for the {what} “{escaped(asked[:80])}”, which is not there. Shown instead: "
        f"{escaped(shown)}. To choose from: {escaped(offered)}."
    )
