"""The sidebar: model, text, and which head. Every choice is in the address of the page."""

from collections.abc import Sequence

import streamlit as st

from attnviz.page import links, settings
from attnviz.page.loading import LoadedModel
from attnviz.results import Trace

DEFAULT_TEXT = "time flies like an arrow"
DEFAULT_HEAD = 8  # the head of the picture that attnviz starts from, where a model has as many

KIND_NAMES = {
    "self": "self-attention",
    "encoder": "encoder",
    "decoder": "decoder",
    "cross": "cross (decoder to encoder)",
}


def choose_model() -> str:
    offers = {offer.name: offer for offer in settings.offers()}
    name = st.selectbox(
        "Model",
        list(offers),
        format_func=lambda name: offers[name].label,
        key="model",
        bind="query-params",
        on_change=links.forget_note,
        args=("model",),
        help="Sizes are what a model downloads once. The first one is installed with attnviz.",
    )
    links.check("model", "the model", list(offers), name)
    return name


def choose_text() -> str:
    return st.text_input(
        "Text", DEFAULT_TEXT, key="text", bind="query-params", help="Press Enter to apply."
    )


def choose_second_text(loaded: LoadedModel) -> tuple[str | None, str | None]:
    """The pair or the target, whichever the model takes; None where it is left empty."""
    if loaded.takes_pair:
        pair = st.text_input(
            "Second text (optional)",
            key="pair",
            bind="query-params",
            help="Makes a sentence pair, joined by the model's separator.",
        )
        return pair or None, None
    if loaded.takes_target:
        target = st.text_input(
            "Target text (optional)",
            key="target",
            bind="query-params",
            placeholder="left empty, the model writes it",
            help="What the decoder is given. Left empty, the model writes it: greedily, at most "
            "32 tokens.",
        )
        return None, target or None
    return None, None


def choose_head(trace: Trace) -> tuple[str, int, int]:
    """Attention kind, layer and head."""
    kind = trace.kinds[0]
    if len(trace.kinds) > 1:
        kind = _select("Attention", "kind", trace.kinds, 0, format_func=KIND_NAMES.get)
    layers = trace.layers(kind)
    layer = _stepper("Layer", "layer", layers, 0)
    heads = range(trace.n_heads(layer, kind))
    head = _stepper("Head", "head", heads, DEFAULT_HEAD if DEFAULT_HEAD in heads else 0)
    return kind, layer, head


def open_head(layer: int, head: int) -> None:
    """Show another head; for buttons."""
    st.session_state["layer"], st.session_state["head"] = layer, head


def reset() -> None:
    """Back to how the page opens; for a button."""
    for key in ("model", "text", "pair", "target", "kind", "layer", "head", "query", "key", "view"):
        if key in st.session_state:
            del st.session_state[key]


def choose_token(label: str, key: str, tokens: Sequence[str], default: int) -> int:
    """A position among tokens, named by its number and its token."""
    return _select(
        label,
        key,
        range(len(tokens)),
        default,
        format_func=lambda position: f"{position}  {tokens[position]}",
    )


def _select(label: str, key: str, options: Sequence, default: int, format_func=str):
    """A list bound to the address; what no longer is among the options gives way to the nearest."""
    options = list(options)
    if st.session_state.get(key, options[0]) not in options:
        st.session_state[key] = _nearest(options, st.session_state[key], options[default])
    chosen = st.selectbox(
        label,
        options,
        index=default,
        format_func=format_func,
        key=key,
        bind="query-params",
        on_change=links.forget_note,
        args=(key,),
    )
    links.check(key, f"{label.lower()}", options, chosen)
    return chosen


def _stepper(label: str, key: str, options: Sequence[int], default: int) -> int:
    """A list of numbers with a button to either side of the chosen one."""
    with st.container(horizontal=True, vertical_alignment="bottom", wrap=False, gap="xsmall"):
        chosen = _select(label, key, options, default)
        place = list(options).index(chosen)
        for icon, step, name in (("chevron_left", -1, "Previous"), ("chevron_right", 1, "Next")):
            is_last = place + step not in range(len(options))
            st.button(
                "",
                icon=f":material/{icon}:",
                key=f"{key}_{name.lower()}",
                help=f"{name} {label.lower()}",
                disabled=is_last,
                on_click=_set,
                args=(key, None if is_last else options[place + step]),
            )
    return chosen


def _set(key: str, value: object) -> None:
    links.forget_note(key)
    st.session_state[key] = value


def _nearest(options: list, value: object, otherwise: object) -> object:
    if isinstance(value, int) and all(isinstance(option, int) for option in options):
        return min(options, key=lambda option: abs(option - value))
    return otherwise
