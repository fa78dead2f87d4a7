"""The Neurons view: one query token against all keys, dimension by dimension."""

import streamlit as st

from attnviz.charts.neuron_columns import CLICKED_KEY, CLICKED_QUERY
from attnviz.charts.neurons import MAX_TOKENS, is_windowed, neurons_chart, window_start
from attnviz.page import header, pair, saving
from attnviz.results import HeadTrace, Trace
from attnviz.wording import number


def show(trace: Trace, head: HeadTrace) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = pair.choose_query(trace, head)
        key = pair.choose_key(trace, head)
        first_query = window_start(query, len(head.query_tokens))
        first_key = window_start(key, len(head.key_tokens))
        chart = neurons_chart(head, query, key, first_query=first_query, first_key=first_key)
        saving.save_button("neurons", head, lambda: chart)
    header.show_strongest(trace, head, query, key)
    shown = head.weights[first_query:, first_key:][:MAX_TOKENS, :MAX_TOKENS]
    st.caption(
        "Point at a query token to see it meet every key; click a query, or a key's band, to keep "
        "it. Blue is positive, orange negative. The strongest line and the longest bar shown are "
        f"weights of {number(shown.max())}."
        + (" A long text is shown around the two tokens chosen above." if is_windowed(head) else "")
    )
    # A new key for each pinned pair, so that a token can be clicked again after another way of
    # choosing has replaced it.
    chart_key = f"neurons_{query}_{key}"
    st.altair_chart(
        chart,
        key=chart_key,
        width="content",
        selection_mode=[CLICKED_QUERY, CLICKED_KEY],
        on_select=lambda: _follow_click(chart_key, first_query, first_key),
        alt=f"Neuron view of layer {head.layer}, head {head.head}",
    )


def _follow_click(chart_key: str, first_query: int, first_key: int) -> None:
    selection = st.session_state[chart_key].selection
    for point in selection.get(CLICKED_QUERY) or []:
        st.session_state["query"] = first_query + point["query"]
    for point in selection.get(CLICKED_KEY) or []:
        st.session_state["key"] = first_key + point["key"]
