"""What a visitor reads where something cannot be shown."""

import streamlit as st

from attnviz.errors import AttnvizError
from attnviz.wording import escaped


def show_error(error: AttnvizError) -> None:
    """The error as a sentence, and what to do next below it."""
    statement, _, hint = str(error).partition("\n\nHint: ")
    hint = f"\n\n**What to do:** {escaped(hint)}" if hint else ""
    st.error(escaped(statement) + hint, icon=":material/error:")
