"""The Neurons view: one query token against all keys, dimension by dimension."""

import streamlit as st

from attnviz.charts.neurons import CLICKED, is_windowed, neurons_chart, window_start
from attnviz.page import header, pair, saving
from attnviz.results import HeadTrace, Trace


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = pair.choose_query(trace, head)
        key = pair.choose_key(trace, head, query)
        first_query = window_start(query, len(head.query_tokens))
        chart = neurons_chart(
            head,
            query,
            first_query=first_query,
            first_key=window_start(key, len(head.key_tokens)),
        )
        saving.save_button("neurons", head, lambda: chart)
    header.show_strongest(trace, head, query, key)
    st.caption(
        "Point at a query token to see it meet every key; click to keep it. Blue is positive, "
        "orange negative; a line is as strong as its weight."
        + (" A long text is shown around the two tokens chosen above." if is_windowed(head) else "")
    )
    # A new key for each pinned token, so that a token can be clicked again after another way
    # of choosing has replaced it.
    chart_key = f"neurons_{query}"
    st.altair_chart(
        chart,
        key=chart_key,
        width="content",
        selection_mode=CLICKED,
        on_select=lambda: _follow_click(chart_key, first_query),
        alt=f"Neuron view of layer {head.layer}, head {head.head}",
    )


def _follow_click(chart_key: str, first_query: int) -> None:
    for point in st.session_state[chart_key].selection.get(CLICKED) or []:
        st.session_state["query"] = first_query + point["query"]
