"""Somebody's own query, key and value, from a file, instead of a model and a text."""

import streamlit as st
from streamlit.typing import UploadedFile

from attnviz.page.service import uploads

_NUMBER = "_number_of_own_arrays"  # of the control: a new one holds no file


def choose() -> UploadedFile | None:
    """The file that is open, if there is one."""
    uploads.bound()
    with st.expander("Own arrays", icon=":material/upload_file:", expanded=is_open()):
        file = st.file_uploader(
            "NPZ file with q, k and v",
            type="npz",
            key=_key(),
            help="Written by `numpy.savez_compressed(file, q=q, k=k, v=v)`: q (query_pos, d_head), "
            "k (key_pos, d_head), v (key_pos, d_value), or with heads in front. Optional: mask "
            "(True where a key may be seen, or what is added to the scores), scaling (1/√d_head "
            "without), tokens, key_tokens, and weights to compare with. A file of the Export menu "
            "opens here, too.",
        )
        if file is not None:
            st.caption("Model and text wait until the file is closed. Arrays are in no link.")
    return file


def is_open() -> bool:
    return st.session_state.get(_key()) is not None


def close() -> None:
    """Back to the model and the text; for buttons."""
    st.session_state[_NUMBER] = st.session_state.get(_NUMBER, 0) + 1


def _key() -> str:
    return f"own_arrays_{st.session_state.get(_NUMBER, 0)}"
