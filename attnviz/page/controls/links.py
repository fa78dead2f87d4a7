"""Links to the page: what one asked for, a note on what could not be followed, and a new one.

Controls of a part of the page that is closed are not in its address. What a link asks of them
waits there until that part is opened, and is followed or noted then.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from attnviz.export.options import EVERY, KEPT, OF_SCREEN
from attnviz.export.screen import default_of
from attnviz.page.compat import DeltaGenerator
from attnviz.text.phrases import escaped

# Whatever a link may set: controls by their keys, and the step that is scrolled to.
PARAMETERS = frozenset(option.link for option in EVERY if option.link)
WITHOUT_CONTROL = frozenset(option.link for option in EVERY if not option.has_control)
# What a control is set to so that it shows its default.
AS_OPENED: dict[str, Any] = {
    option.link: default_of(option.name) if option.opens is OF_SCREEN else option.opens
    for option in EVERY
    if option.link and option.opens is not KEPT
}
# Of many a proxy; Streamlit's server takes twelve times as much, and Chromium two megabytes.
LONGEST = 8_000  # characters

_ASKED = "_asked_by_link"  # what has not been looked at yet
_NOTES = "_notes_on_link"
_WRITTEN = "_written_without_control"


def remember() -> None:
    """Keep what the address asked for when the visitor came; widgets drop what they cannot take."""
    st.session_state[_WRITTEN] = set()
    if _ASKED in st.session_state:
        return
    asked = {name: st.query_params.get_all(name) for name in st.query_params}
    known = {name: values for name, values in asked.items() if name in PARAMETERS}
    st.session_state[_ASKED] = known
    st.session_state[_NOTES] = {}
    if unknown := [name for name in asked if name not in known]:
        _keep("", note_on_names(unknown))
        st.query_params.from_dict(known)


def set_all(state: Mapping[str, Any]) -> None:
    """Set controls, those too that were never there; for a button.

    Streamlit writes what is set into the address of controls that were there before alone.
    """
    for key, value in state.items():
        if key not in st.session_state and value != AS_OPENED.get(key):
            st.query_params[key] = str(value).lower() if isinstance(value, bool) else value
    st.session_state.update(state)


def respell(parameter: str, labels: Mapping[str, str]) -> None:
    """Take a link that names an option without its label: `query=2` for “2 flies”.

    The address is spelled as the control spells it, and the page runs again from there.
    """
    asked = st.session_state[_ASKED].get(parameter, [])
    spelled = [labels.get(value, value) for value in asked]
    if spelled != asked:
        st.session_state[_ASKED][parameter] = st.query_params[parameter] = spelled
        st.rerun()


def end_lines_alike(parameter: str, what: str) -> None:
    """Have a text end its lines as it does in a browser's field, which knows one way to do it."""
    is_there = parameter in st.session_state
    where: Any = st.session_state if is_there else st.query_params
    asked = where.get(parameter) or ""
    if "\r" not in asked:
        return
    _keep(
        parameter,
        f"The {what} of the link ends lines as Windows does. A browser ends them with one "
        "character, ↵, and so does the text here.",
    )
    where[parameter] = re.sub("\r\n?", "\n", asked)
    if not is_there:
        st.rerun()


def keep(parameter: str, spelled: Sequence[str]) -> None:
    """Have a control in the address that stands in several views, spelled like this.

    On the way from one view to another it is put into the new place before it is taken from the
    old one, and then the browser no longer writes it into the address. Set here, the server does.
    """
    if parameter in st.session_state and st.query_params.get_all(parameter) != [*spelled]:
        st.session_state[parameter] = st.session_state[parameter]


def check(parameter: str, what: str, options: Sequence[str], shown: str) -> list[str]:
    """What the link asked for, once, with a note where that is not among the options."""
    all_asked = _asked_now(parameter)
    for asked in all_asked:
        _keep(parameter, note_on(asked, what, options, shown))
    return all_asked


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


def check_absent(parameter: str, what: str, why: str, shown: str | None = None) -> None:
    """The same for a control that this model or text does not have, but for what is `shown`."""
    for asked in st.session_state[_ASKED].get(parameter, []):
        if asked not in ("", shown):
            words = f"The link asks for the {what} “{escaped(asked[:80])}”, but {escaped(why)}."
            _keep(parameter, words)


def check_closed(part: str, parameters: Collection[str]) -> None:
    """The same for what waits in a part of the page until that is opened."""
    forget_note(part)
    if any(any(st.session_state[_ASKED].get(name, [])) for name in parameters):
        _keep(part, f"The link sets something under **{part}**. Open **{part}** to see it.")


def asked_once(parameter: str) -> str:
    """What the link asked for, the first time; later nothing."""
    return "".join(_asked_now(parameter)[:1])


def write(parameter: str, value: str) -> None:
    """Have something in the address that is in no control, as long as its view is open."""
    if value:
        st.session_state[_WRITTEN].add(parameter)
        if st.query_params.get(parameter) != value:
            st.query_params[parameter] = value
    elif parameter in st.query_params:
        del st.query_params[parameter]


def drop_unwritten() -> None:
    """At the bottom of the page: what is of a view that is closed again leaves the address."""
    for parameter in WITHOUT_CONTROL - st.session_state[_WRITTEN] - st.session_state[_ASKED].keys():
        if parameter in st.query_params:
            del st.query_params[parameter]


def note(parameter: str, words: str) -> None:
    """Say why what the link asks for cannot be followed."""
    _keep(parameter, words)


def found(parameter: str) -> None:
    """What the link asked for is in a control that takes anything: there is nothing to note."""
    _asked_now(parameter)


def is_between(asked: str, lowest: float, highest: float) -> bool:
    """Whether a parameter is a number in a range, as the number input reads it."""
    try:
        return lowest <= float(asked) <= highest
    except ValueError:
        return False


def _asked_now(parameter: str) -> list[str]:
    """What the link asked for, when it is read for the first time; an empty value is nothing."""
    if parameter not in st.session_state[_ASKED]:
        return []
    forget_note(parameter)  # that its control was not there
    return [asked for asked in st.session_state[_ASKED].pop(parameter) if asked]


def _keep(parameter: str, note: str | None) -> None:
    if note is not None:
        st.session_state[_NOTES][parameter] = note


def forget_note(parameter: str) -> None:
    """The visitor has chosen for themselves."""
    st.session_state[_NOTES].pop(parameter, None)


def forget() -> None:
    """Nothing the link asked for counts any more, not even what waits in the address."""
    for name in {*st.session_state[_ASKED], "step"} & {*st.query_params}:
        del st.query_params[name]
    st.session_state[_ASKED].clear()
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


def note_on_names(unknown: Sequence[str]) -> str:
    """A sentence on parameters that no version of this page had, or not this one, as Markdown."""
    named = ", ".join(f"“{escaped(name[:80])}”" for name in unknown[:8])
    others = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    return (
        f"The link sets {named}{others}, which this page does not know: misspelled, or from "
        "another version of attnviz. The page follows the rest of the link."
    )


def _note(asked: str, what: str, shown: str, offered: str) -> str:
    return (
        f"The link asks for the {what} “{escaped(asked[:80])}”, which does not exist here. Shown "
        f"instead: {escaped(shown)}. Options: {escaped(offered)}."
    )


# A new link


def link_of_now(
    theme: str | None = None, *, is_slide: bool = False, named: Mapping[str, Any] | None = None
) -> str:
    """The whole address of what is on the screen, percent-encoded.

    As the visitor's own browser has it: behind a proxy, with the proxy's name and path. What is
    `named` is in it too, where the address leaves a default out that another version may change.
    Without a `theme`, "light" or "dark", it is shown in its reader's own; a slide is the picture
    alone.
    """
    asked = [(name, value) for name in st.query_params for value in st.query_params.get_all(name)]
    asked += [(name, value) for name, value in (named or {}).items() if name not in st.query_params]
    if is_slide:
        asked.append(("embed", "true"))
    if theme is not None:
        # Streamlit's own parameter, which it reads in pages that are not embedded too.
        asked.append(("embed_options", f"{theme}_theme"))
    folder = f"{st.context.url.rstrip('/')}/" if st.context.url else ""
    return f"{folder}?{urlencode(asked)}"


def note_on_length(link: str) -> str | None:
    """A sentence on a link that is too long for some of its way; None for all others."""
    if len(link) <= LONGEST:
        return None
    return (
        f"This link has {len(link):,} characters, because it contains the text. Browsers and "
        f"attnviz accept it, but some mail programs and servers accept at most {LONGEST:,}: if it "
        "does not arrive, send the text separately."
    )
