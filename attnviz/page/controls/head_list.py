"""A list of heads, of which a row opens its head in every view."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from attnviz.page.controls.sidebar import open_head


def show_heads(
    heads: pd.DataFrame, name: str, of: object, columns: Mapping[str, Any] | None = None
) -> None:
    """The rows, each of a `layer` and a `head`, and of a `kind` where it is there.

    `of` tells one list of this name from another.
    """
    key = f"{name}_{abs(hash(of))}"
    st.dataframe(
        heads,
        hide_index=True,
        column_config=columns,
        key=key,
        on_select=lambda: _open_chosen(key, heads),
        selection_mode=["single-row", "single-cell"],
    )


def _open_chosen(key: str, heads: pd.DataFrame) -> None:
    chosen = st.session_state[key].selection
    for place in {*chosen.rows, *(row for row, _ in chosen.cells)}:
        row = heads.iloc[place]
        open_head(int(row["layer"]), int(row["head"]), row.get("kind"))
