"""What a visitor reads where something cannot be shown."""

import logging

import streamlit as st

from attnviz.text.errors import AttnvizError
from attnviz.text.phrases import escaped


def show_error(error: AttnvizError) -> None:
    """The error as a sentence, and what to do next below it."""
    statement, _, hint = str(error).partition("\n\nHint: ")
    # A command is copied, and must hold nothing that is not seen.
    said = f"`{hint}`" if hint.startswith("pip install ") else escaped(hint)
    hint = f"\n\n**What to do:** {said}" if hint else ""
    st.error(escaped(statement) + hint, icon=":material/error:")


def show_refusal(error: Exception) -> None:
    """Any error as a sentence; one that nobody foresaw goes to the server's log as well."""
    if not isinstance(error, AttnvizError):
        logging.getLogger(__name__).exception("unforeseen")
        error = AttnvizError(
            f"attnviz failed at this in a way that was not foreseen ({type(error).__name__})."
            "\n\nHint: choose another head, text or model; the page's log says more to whoever "
            "runs it."
        )
    show_error(error)
