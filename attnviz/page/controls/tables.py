"""The numbers behind a picture, as a table, made when it is asked for."""

from collections.abc import Callable, Mapping

import pandas as pd
import streamlit as st

COLUMN_WIDTH, MOST_WIDTH = 90, 640  # px


def show(name: str, table: Callable[[], pd.DataFrame]) -> None:
    """A button that opens the table; it can be sorted, searched and downloaded there."""
    show_choice(name, {"": table})


def show_choice(name: str, tables: Mapping[str, Callable[[], pd.DataFrame]]) -> None:
    """The same for several tables, of which one is chosen by its name."""
    popover = st.popover(
        "Table", icon=":material/table:", key=f"table_{name}", on_change="rerun", width="content"
    )
    if not popover.open:
        return
    with popover:
        chosen = next(iter(tables))
        if len(tables) > 1:
            chosen = st.selectbox("Table of", list(tables), key=f"table_of_{name}")
        table = tables[chosen]()
        decimals = st.column_config.NumberColumn(format="%.4f")
        config = {str(column): decimals for column in table if table[column].dtype.kind == "f"}
        width = min(MOST_WIDTH, COLUMN_WIDTH * len(table.columns))
        st.dataframe(table, hide_index=True, column_config=config, width=width)
