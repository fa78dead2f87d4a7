"""The numbers behind a picture, as a table, made when it is asked for."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

COLUMN_WIDTH, MOST_WIDTH = 90, 640  # px


def show(name: str, table: Callable[[], pd.DataFrame]) -> None:
    """A button that opens the table; it can be sorted, searched and downloaded there."""
    popover = st.popover(
        "Table", icon=":material/table:", key=f"table_{name}", on_change="rerun", width="content"
    )
    if popover.open:
        shown = table()
        decimals = st.column_config.NumberColumn(format="%.4f")
        config = {str(name): decimals for name in shown if shown[name].dtype.kind == "f"}
        width = min(MOST_WIDTH, COLUMN_WIDTH * len(shown.columns))
        popover.dataframe(shown, hide_index=True, column_config=config, width=width)
