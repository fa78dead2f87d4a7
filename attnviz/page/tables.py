"""The numbers behind a picture, as a table, made when it is asked for."""

from collections.abc import Callable

import pandas as pd
import streamlit as st


def show(name: str, table: Callable[[], pd.DataFrame]) -> None:
    """A button that opens the table; it can be sorted, searched and downloaded there."""
    popover = st.popover(
        "Table", icon=":material/table:", key=f"table_{name}", on_change="rerun", width="content"
    )
    if popover.open:
        popover.dataframe(table(), hide_index=True)
