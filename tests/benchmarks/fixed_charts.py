"""The page with charts that never change: what Streamlit itself needs to redraw it.

    python -m tests.benchmarks.fixed_charts run streamlit_app.py …

The arguments are Streamlit's. Each chart stays as it was when it was first shown to a visitor;
everything else on the page is as ever.
"""

import sys
from typing import Any

import streamlit as st
from streamlit.web import cli


def fix_charts() -> None:
    draw = st.vega_lite_chart

    def draw_first(data: Any = None, spec: Any = None, *, key: str, **options: Any) -> Any:
        first = st.session_state.setdefault("_first_charts", {})
        data, spec, alt = first.setdefault(key, (data, spec, options.pop("alt", None)))
        return draw(data, spec, key=key, **{**options, "alt": alt})

    st.vega_lite_chart = draw_first


if __name__ == "__main__":
    fix_charts()
    sys.exit(cli.main(prog_name="streamlit"))
