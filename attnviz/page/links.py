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
        asked = {name: st.query_params.get_all(name) for name in st.query_params}
        st.session_state[_ASKED] = asked
        st.session_state[_NOTES] = {}


def respell(parameter: str, labels: Mapping[str, str]) -> None:
    """Take a link that names an option without its label: `query=2` for “2 flies”.

    The address is spelled as the control spells it, and the page runs again from there.
    """
    asked = st.session_state[_ASKED].get(parameter, [])
    spelled = [labels.get(value, value) for value in asked]
    if spelled != asked:
        st.session_state[_ASKED][parameter] = st.query_params[parameter] = spelled
        st.rerun()


def check(parameter: str, what: str, options: Sequence[str], shown: str) -> None:
    """Note, once, where the link asked for something that is not among the options."""
    for asked in _asked_now(parameter):
        _keep(parameter, note_on(asked, what, options, shown))


def check_switch(parameter: str, what: str, is_on: bool) -> None:
    """The same for a switch, by what it is called; a link may write True for true."""
    for asked in _asked_now(parameter):
        if asked.lower() not in ("true", "false"):
            what = f"switch “{what}” to be"
            _keep(parameter, _note(asked, what, str(is_on).lower(), "true, false"))


def check_number(parameter: str, what: str, lowest: float, highest: float, shown: str) -> None:
    """The same for a number between two others."""
    for asked in _asked_now(parameter):
        if not is_between(asked, lowest, highest):
            _keep(parameter, _note(asked, what, shown, f"{lowest:g} to {highest:g}"))


def is_between(asked: str, lowest: float, highest: float) -> bool:
    """Whether a parameter is a number in a range, as the number input reads it."""
    try:
        return lowest <= float(asked) <= highest
    except ValueError:
        return False


def _asked_now(parameter: str) -> list[str]:
    """What the link asked for, when it is read for the first time; an empty value is nothing."""
    return [asked for asked in st.session_state[_ASKED].pop(parameter, []) if asked]


def _keep(parameter: str, note: str | None) -> None:
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
    return _note(asked, what, shown, offered)


def _note(asked: str, what: str, shown: str, offered: str) -> str:
    return (
        f"The link asks for the {what} “{escaped(asked[:80])}”, which is not there. Shown instead: "
        f"{escaped(shown)}. To choose from: {escaped(offered)}."
    )
