"""Somebody's own query, key and value, from a file, instead of a model and a text."""

import streamlit as st
from streamlit.typing import UploadedFile

from attnviz.page.service import uploads

_NUMBER = "_number_of_own_arrays"  # of the control: a new one holds no file


def choose() -> UploadedFile | None:
    """The file that is open, if there is one."""
    uploads.bound()
    with st.expander("Load your own arrays", icon=":material/upload_file:", expanded=is_open()):
        file = st.file_uploader(
            "NPZ file with q, k and v",
            type="npz",
            key=_key(),
            help="Written by `numpy.savez_compressed(file, q=q, k=k, v=v)`: q (query_pos, d_head), "
            "k (key_pos, d_head), v (key_pos, d_value), or with a heads axis first. Optional: mask "
            "(True where a query may see a key, or numbers to add to the scores), scaling (default "
            "1/√d_head), tokens, key_tokens, and weights to compare with. NPZ files of the Export "
            "menu open here, too.",
        )
        if file is not None:
            st.caption(
                "Close the file to return to the model and the text. Links do not contain arrays."
            )
    return file


def is_open() -> bool:
    return st.session_state.get(_key()) is not None


def close() -> None:
    """Back to the model and the text; for buttons."""
    st.session_state[_NUMBER] = st.session_state.get(_NUMBER, 0) + 1


def _key() -> str:
    return f"own_arrays_{st.session_state.get(_NUMBER, 0)}"
