"""The page, top to bottom: controls → trace → the open view."""

import streamlit as st

from attnviz.page import header, history, stylesheet
from attnviz.page.controls import examples, links, own_arrays, pair, sidebar
from attnviz.page.icon import ICON
from attnviz.page.refusals import show_refusal
from attnviz.page.run import one_run, stop
from attnviz.page.service import loading
from attnviz.page.views import (
    compare,
    download,
    effect,
    find,
    heads,
    model,
    neurons,
    present,
    steps,
)
from attnviz.text.phrases import escaped


def show() -> None:
    """Run the page once, for one visitor."""
    st.set_page_config(
        page_title="attnviz",
        page_icon=ICON,
        layout="wide",
        initial_sidebar_state="collapsed" if present.is_on() else "auto",
    )
    stylesheet.apply()

    with one_run():
        with st.sidebar:
            st.title("attnviz", anchor=False)
            st.caption("How one attention head works, step by step, with the model's own numbers.")
            menu = st.container()
            which_model = st.container()
            which_device = st.container()
            which_text = st.container()
            second_text = st.container()
            which_head = st.container()
            which_pair = st.container()
            file = own_arrays.choose()
            with which_text:
                text = sidebar.choose_text()
            st.button(
                "Reset", icon=":material/restart_alt:", on_click=sidebar.reset, type="tertiary"
            )
            history.one_entry_an_action()

        try:
            with which_model:
                model_name = sidebar.choose_model()
            with menu:
                examples.show_menu()
            if file is None and loading.must_be_downloaded(model_name):
                download.show(model_name)
                stop()
            short_name = model_name.rstrip("/").rsplit("/", 1)[-1]  # of a folder, not where it is
            with st.spinner(
                f"Loading {escaped(short_name)} and reading the text …", show_time=True
            ):
                if file is not None:
                    trace = loading.arrays(file.name, file.getvalue())
                else:
                    with which_device:
                        device, dtype = sidebar.choose_device()
                    loaded = loading.model(model_name, device, dtype)
                    with second_text:
                        second, target = sidebar.choose_second_text(loaded)
                    trace = loading.trace(loaded, text, second, target)
        except Exception as error:
            show_refusal(error)
            stop()

        with which_head:
            kind, layer, head_number = sidebar.choose_head(trace)
        head = trace.head(layer, head_number, kind)

        if present.is_on():
            with which_pair:
                followed = pair.choose(trace, head, "talk")
            present.show(followed)
            stop()

        example = st.container()  # above the header, which shares its line with the views
        if st.context.is_embedded:
            stylesheet.apply_to_embed()
        else:
            header.show(trace, head)
        views = (steps, neurons, heads, model, find, compare, effect)
        tabs = st.tabs(sidebar.VIEWS, key="view", bind="query-params")
        links.check("view", "view", sidebar.VIEWS, st.session_state["view"])
        for tab, view in zip(tabs, views, strict=True):
            if tab.open:
                with tab:
                    try:
                        view.show(trace, head)
                    except Exception as error:
                        show_refusal(error)
        if not st.context.is_embedded:
            with example:
                examples.show_note()
        elif not tabs[0].open:  # Steps has a line of its pair
            header.show_in_one_line(trace, head)
        header.name_page(st.session_state["view"], head)
