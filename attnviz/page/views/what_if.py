"""What if: the same head with something changed, before, after and difference."""

import streamlit as st

from attnviz.attention.explained.sentences import changes, effect
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import scaling_factor
from attnviz.attention.what_if import NO_CHANGE, Change, can_be_causal, is_causal
from attnviz.charts.what_if import TITLES, compared
from attnviz.page import opened_below
from attnviz.page.controls import links
from attnviz.page.controls.pair import Followed
from attnviz.page.figures import show_figure
from attnviz.text.phrases import plain, token_at


def show(followed: Followed) -> Change:
    """A closed expander; nothing is computed until it is opened. What is changed, if it is."""
    opened = opened_below.expander("What if?", KEY, ICON)
    change = NO_CHANGE
    if opened is not None:
        with opened:
            change = _show(followed)
    links.check_closed("What if?", CONTROLS if opened is None else ())
    return change


def show_mark(head: HeadTrace, change: Change) -> None:
    """Where one begins to read: that something is changed below, what it is, and the way back."""
    if change:
        st.button(
            "What if? is on: reset",
            icon=ICON,
            key="reset_what_if",
            type="tertiary",
            on_click=_reset,
            help=f"{changes(head, change)} The result is below; the steps stay unchanged.",
        )


def show_way(label: str) -> None:
    """From a step to what may be changed in it."""
    key = f"to_what_if_{label.split()[-1]}"
    st.button(
        label, icon=ICON, key=key, type="tertiary", on_click=opened_below.open_it, args=(KEY,)
    )


def _reset() -> None:
    st.session_state.update({control: links.AS_OPENED[control] for control in CONTROLS})


KEY, ICON = "what_if", ":material/experiment:"
CONTROLS = "if_unscaled", "if_factor", "if_temperature", "if_causal", "if_hidden", "if_zeroed"
FACTORS = 0.0001, 1000.0
TEMPERATURES = 0.01, 100.0
MASKS = {"on": True, "off": False}


def _show(followed: Followed) -> Change:
    head = followed.head
    st.markdown(
        "Change something inside this head and see how its weights and its update change. "
        "The steps above stay unchanged."
    )
    change = _chosen(head)
    if not change:
        st.markdown("Nothing is changed yet: change something above.")
        return change
    changed = change(head)
    query = followed.query
    st.markdown(effect(head, changed, query))
    if note := already_mixed(head, change):
        st.caption(note)
    pictures = compared(head, changed, query, followed.key, followed.convention)
    for column, title, matrix in zip(st.columns(3), TITLES, pictures.matrices, strict=True):
        with column:
            st.markdown(f"**Weights {title}**")
            show_figure(matrix, f"what_if_{title}", f"weights {title}")
    name = token_at(head.query_tokens, query)
    st.markdown(f"**The weights of {name}**")
    show_figure(pictures.weights, "what_if_weights", f"Weights of {plain(name)} before and after")
    st.markdown("**Its update x′**")
    show_figure(pictures.update, "what_if_update", f"Update of {plain(name)} before and after")
    return change


def already_mixed(head: HeadTrace, change: Change) -> str:
    """What a mask in one head cannot take back, as Markdown; empty where there is no such thing."""
    hides_later = bool(change.is_causal) and not is_causal(head)
    if head.layer == 0 or not (hides_later or change.hidden_keys):
        return ""
    which = "later tokens, too" if hides_later else "the tokens that are masked now"
    return (
        f"The mask changes this head alone. In layer {head.layer} each x already holds information "
        f"that earlier layers mixed in from other tokens, and may hold some from {which}."
    )


# What is changed


def _chosen(head: HeadTrace) -> Change:
    """What the controls change; nothing where they say what the head has anyway."""
    keys = [f"{place} {label}" for place, label in enumerate(head.key_tokens)]
    columns = st.columns(3)
    with columns[0]:
        is_unscaled = st.toggle("Scaling off", key="if_unscaled", bind="query-params")
        factor = st.number_input(
            "Scaling factor",
            value=None,
            min_value=FACTORS[0],
            max_value=FACTORS[1],
            placeholder=f"{scaling_factor(head)}, the model's own",
            format="%.4g",
            key="if_factor",
            bind="query-params",
            disabled=is_unscaled,
        )
    with columns[1]:
        temperature = st.number_input(
            "Temperature",
            value=1.0,
            min_value=TEMPERATURES[0],
            max_value=TEMPERATURES[1],
            step=0.5,
            key="if_temperature",
            bind="query-params",
            help="Divides the input of the softmax. Above 1: more equal weights; below: sharper.",
        )
        causal = None
        if can_be_causal(head):
            own = f"model default ({'on' if is_causal(head) else 'off'})"
            chosen = st.selectbox(
                "Causal mask",
                (None, *MASKS),
                format_func=lambda mask: mask or own,
                placeholder=own,
                key="if_causal",
                bind="query-params",
                help="On: no query sees a later key, as in generative models.",
            )
            links.check("if_causal", "causal mask", [own, *MASKS], chosen or own)
            causal = None if chosen is None else MASKS[chosen]
        else:
            why = "its queries and keys are not the same tokens"
            links.check_absent("if_causal", "causal mask", why, "off")
    with columns[2]:
        hidden = st.multiselect(
            "Mask keys",
            keys,
            key="if_hidden",
            bind="query-params",
            help="Hidden from every query.",
        )
        zeroed = st.multiselect(
            "Zero dimensions of q and k",
            range(head.q.shape[1]),
            key="if_zeroed",
            bind="query-params",
            help="Left out of every score.",
        )
    dimensions = [str(dimension) for dimension in range(head.q.shape[1])]
    links.check_switch("if_unscaled", "Scaling off", is_unscaled)
    links.check_number("if_factor", "scaling factor", *FACTORS, f"{factor or head.scaling:.4g}")
    links.check_number("if_temperature", "temperature", *TEMPERATURES, f"{temperature:g}")
    links.check("if_hidden", "masked key", keys, ", ".join(hidden) or "none")
    links.check("if_zeroed", "zeroed dimension", dimensions, ", ".join(map(str, zeroed)) or "none")
    scaling = 1.0 if is_unscaled else factor or None
    is_nothing = not (hidden or zeroed) and (
        scaling in (None, head.scaling) and temperature == 1 and causal in (None, is_causal(head))
    )
    if is_nothing:
        return NO_CHANGE
    return Change(
        scaling=scaling,
        temperature=None if temperature == 1 else temperature,
        hidden_keys=tuple(keys.index(key) for key in hidden),
        is_causal=causal,
        zeroed_dimensions=tuple(zeroed),
    )
