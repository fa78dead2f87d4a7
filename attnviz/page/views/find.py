"""The Find view: which head links two tokens, and which head does what."""

import streamlit as st

from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.page.controls import links
from attnviz.page.views import find_measures, find_pair

BY = {"pair": "a token pair", "measures": "what heads do"}


def show(trace: Trace, head: HeadTrace) -> None:
    links.respell("find_by", BY)
    by = st.segmented_control(
        "Find a head by",
        list(BY),
        default="pair",
        format_func=BY.__getitem__,
        key="find_by",
        bind="query-params",
        required=True,
    )
    links.check("find_by", "way to find a head", list(BY.values()), BY[by])
    {"pair": find_pair, "measures": find_measures}[by].show(trace, head)
