"""How a run of the page ends, and what it leaves to the next one."""

import pytest
from streamlit.testing.v1 import AppTest


def _page(how: str) -> None:
    import streamlit as st

    from attnviz.page.controls import links
    from attnviz.page.run import one_run, stop

    with one_run():
        links.write("area", "1,2")
        links.note("", "a note")
        st.session_state["_written_without_control"].clear()  # its view is closed
        try:
            if how == "stops":
                stop()
            if how == "runs again" and "again" not in st.session_state:
                st.session_state["again"] = True
                st.rerun()
        except Exception:
            st.error("neither is an error")
        if how == "fails":
            raise ValueError
        st.title("the last line")


@pytest.mark.parametrize(
    ("how", "n_notes", "n_titles", "is_ended", "keeps_area"),
    [
        ("ends", 1, 1, True, False),
        ("stops", 1, 0, True, True),
        ("fails", 0, 0, False, True),
        ("runs again", 1, 1, True, False),
    ],
)
def test_a_run_shows_its_notes_at_its_end_and_leaves_off_what_is_of_a_closed_view(
    how, n_notes, n_titles, is_ended, keeps_area
):
    page = AppTest.from_function(_page, args=(how,), default_timeout=60).run()
    assert len(page.warning) == n_notes
    assert len(page.title) == n_titles
    assert page.session_state["_run_ended"] == is_ended
    assert ("area" in page.query_params) == keeps_area
    assert bool(page.exception) == (how == "fails")
    assert not page.error
