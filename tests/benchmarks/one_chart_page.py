"""A Streamlit page with a sidebar and one chart that never changes: what any such page needs."""

import streamlit as st

st.set_page_config(page_title="One chart", layout="wide")
with st.sidebar:
    st.title("One chart", anchor=False)
    st.text_area("Text", "time flies like an arrow")
    st.selectbox("Layer", range(6))
    st.selectbox("Head", range(12))
st.vega_lite_chart(
    spec={
        "data": {"values": [{"x": place % 7, "y": place // 7, "w": place} for place in range(49)]},
        "mark": "rect",
        "encoding": {
            "x": {"field": "x", "type": "ordinal"},
            "y": {"field": "y", "type": "ordinal"},
            "color": {"field": "w", "type": "quantitative"},
        },
    },
    key="chart",
)
