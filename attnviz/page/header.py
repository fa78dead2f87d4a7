"""Above the views: what is shown, and how closely the replay agrees with the model."""

import re

import streamlit as st

from attnviz.attention.agreement import NOT_EXACT, check_line, not_shown
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.attention.what_if import can_be_causal, is_causal
from attnviz.heads.finding import linking
from attnviz.models.gguf import quantization
from attnviz.page.controls.sidebar import open_head
from attnviz.page.service import loading
from attnviz.text.phrases import counted, escaped, percent, token_at


def show(trace: Trace, head: HeadTrace) -> None:
    """One line: which head, and whether its numbers are the model's; behind it what is shown."""
    with st.container(key="header", horizontal=True, vertical_alignment="center", gap="small"):
        st.subheader(
            f"Layer {head.layer}, head {head.head}{_of_kind(trace, head)}",
            anchor=False,
            width="content",
        )
        with st.popover(_check(head), type="tertiary", key="about", width="content"):
            is_of_model = trace.layer(head.layer, head.kind).captured != "given"
            across = " Head numbers are not comparable across models." if is_of_model else ""
            st.caption(f"{_description(trace, head)}.{across}")
            st.caption(check_line(head))
    if head.is_compared and not head.is_exact:
        st.error(f"{check_line(head)} {NOT_EXACT}", icon=":material/error:")
    if lacking := not_shown(trace):
        st.caption(f":material/visibility_off: {lacking}")


def show_in_one_line(
    trace: Trace, head: HeadTrace, followed: tuple[int, int] | None = None
) -> None:
    """The same in a slide: what a followed pair shows or of which text, and of what model and head.

    Where the numbers do not match the model, that too.
    """
    model = trace.model_name.rstrip("/").rsplit("/", 1)[-1]
    is_of_model = loading.model_of(trace) is not None
    if followed is not None:
        said = given(head, *followed)
    else:
        text = loading.text_of(trace).replace("\n", " ") if is_of_model else ""
        said = escaped(
            f"“{text if len(text) <= LONGEST else f'{text[:LONGEST]}…'}”" if text else ""
        )
    is_wrong = head.is_compared and not head.is_exact
    parts = [said, escaped(f"{model}, layer {head.layer}, head {head.head}")]
    with st.container(key="embed_line"):
        words = " · ".join(filter(None, parts))
        st.caption(f"{words} · {check_line(head)}" if is_wrong else words)


def given(head: HeadTrace, query: int, key: int) -> str:
    """What the head gives from a query to a key, as Markdown, without a full stop."""
    names = token_at(head.query_tokens, query), token_at(head.key_tokens, key)
    weight = percent(float(head.own_weights[query, key]))
    return f"{names[0]} gives {names[1]} **{weight}** of its attention"


LONGEST = 80  # letters of a text in one line


def _check(head: HeadTrace) -> str:
    if not head.is_compared:
        return ":material/info: not compared"
    if head.is_exact:
        return ":green[:material/check_circle:] matches the model"
    return ":red[:material/error:] differs from the model"


def name_page(view: str, head: HeadTrace) -> None:
    """What the browser calls it, in its tab and its history."""
    title = f"{view} · layer {head.layer}, head {head.head} · attnviz"
    st.set_page_config(page_title=title)


def show_strongest(trace: Trace, head: HeadTrace, query: int, key: int) -> None:
    """What this head gives from query to key, and one click to the head that gives most."""
    heads = linking(trace, query, key, head.kind)
    best = heads.iloc[0]
    best_layer, best_head = int(best["layer"]), int(best["head"])
    query_name, key_name = token_at(head.query_tokens, query), token_at(head.key_tokens, key)
    if best["weight"] == 0:
        why = ": it is hidden" if head.is_masked[query, key] else ""
        st.markdown(f"No head gives any weight from {query_name} to {key_name}{why}.")
        return
    said = f"In this head {given(head, query, key)}"
    if is_trivial(head, query, key):
        st.markdown(f"{said}. {TRIVIAL}")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if (best_layer, best_head) == (head.layer, head.head):
            st.markdown(f"{said}{'; no other head gives it more' if len(heads) > 1 else ''}.")
            return
        st.markdown(f"{said}.")
        st.button(
            f"Strongest head for this pair: layer {best_layer}, head {best_head}, "
            f"{percent(best['weight'])}",
            icon=":material/open_in_new:",
            key="open_strongest",
            type="tertiary",
            on_click=open_head,
            args=(best_layer, best_head),
            help=f"The largest weight from this query token to this key token among all "
            f"{len(heads)} heads.",
        )


# Why the strongest head of such a pair is not offered.
TRIVIAL = "Many heads use the first token as an attention sink: no stronger head is offered."


def is_trivial(head: HeadTrace, query: int, key: int) -> bool:
    """Whether the key is the first token of a causal model, which all its queries can see."""
    is_first = key == 0 and not head.is_masked[:, 0].any()
    return is_first and can_be_causal(head) and is_causal(head)


def _of_kind(trace: Trace, head: HeadTrace) -> str:
    return f", {head.kind} attention" if len(trace.kinds) > 1 else ""


def _description(trace: Trace, head: HeadTrace) -> str:
    layers = trace.layers(head.kind)
    call = trace.layer(head.layer, head.kind)
    heads = counted(call.n_heads, "head")
    if call.n_key_value_heads < call.n_heads:
        heads += f" sharing {call.n_key_value_heads} key/value heads"
    tokens = f"{len(trace.tokens)} tokens"
    if trace.target_tokens is not None:
        by_whom = ", generated by the model" if trace.target_is_decoded else ""
        tokens += f" · target: {len(trace.target_tokens)} tokens{by_whom}"
    parts = [
        f"**{escaped(trace.model_name)}**",
        _stored(trace),
        f"revision {escaped(trace.revision[:14])}" if trace.revision else "",
        f"{counted(len(layers), 'layer')} × {heads}",
        f"d_model {head.x_query.shape[1]}" if head.x_query is not None else "",
        f"d_head {head.q.shape[1]}",
        f"d_value {head.v.shape[1]}" if head.v.shape[1] != head.q.shape[1] else "",
        head.dtype if head.dtype != "float32" else "",
        tokens,
    ]
    return " · ".join(part for part in parts if part)


def _stored(trace: Trace) -> str:
    """How a GGUF file holds the weights that were read from it."""
    model = loading.model_of(trace)
    stored = None if model is None else quantization(model.config)
    if stored is None:
        return ""
    bits = re.search(r"\d+", stored)
    if bits is None or stored.startswith(("F", "BF")):
        return f"{stored} weights"
    return f"{bits[0]}-bit weights, dequantised"
