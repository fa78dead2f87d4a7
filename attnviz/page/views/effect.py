"""The Effect view: what the model says, with this head and without it, and without each head."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from attnviz.attention.explained import said
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.effect import OPENED, effect_figure, pushing, sweep_figure
from attnviz.charts.overview import overview_chart
from attnviz.export.effect_words import answering_tokens, found, pushed
from attnviz.export.screen import Asking, More, Screen
from attnviz.page.controls import export_menu, links, tables
from attnviz.page.controls.chart_clicks import pinned
from attnviz.page.controls.head_list import show_heads
from attnviz.page.controls.sidebar import (
    APPLY,
    choose_token,
    is_default,
    open_clicked,
    opening_of,
    select,
    text_area,
)
from attnviz.page.figures import show_figure
from attnviz.page.refusals import show_error, show_refusal
from attnviz.page.service import effects, loading, settings
from attnviz.page.service.effects import Sweep
from attnviz.page.views import glossary
from attnviz.text.errors import AttnvizError
from attnviz.text.phrases import escaped, size

VIEW, TITLE = "effect", "Effect"
N_PUSHING = 5  # heads that are listed for each way
EVERY = 0.5  # seconds between two looks at a sweep
ALL_HEADS, OF = "all_heads", "_all_heads_of"  # a link's parameter, and the sweep that it is of


def show(trace: Trace, head: HeadTrace) -> None:
    question = effects.question(trace)
    if question is None:
        _show_silence(trace)
        return
    with st.container(horizontal=True, vertical_alignment="top"):
        position = _choose_position(trace, head, question)
        of_token = st.container()
        patch = _choose_patch()
        buttons = st.container(horizontal=True, width="content")
    own = Asking(position=position, patch=patch)
    screen = export_menu.screen_of(trace, head, view=VIEW, effect=own)
    try:
        both = effects.both(screen, trace)
        with of_token:
            token = _choose_token(both)
        screen = replace(screen, effect=replace(own, token=token))
        both = effects.both(screen, trace)
    except AttnvizError as error:  # of the token or the other text; the controls stay
        show_refusal(error)
        return
    if question.what == "masked token" and question.position is None:
        st.caption(_without_mask(trace))
    _show_sentence(trace, head, both)
    words, picture = st.columns([5, 9], gap="medium")
    with words, st.container(gap="xsmall", key="words_effect"):
        sentence, total = found(screen, trace, More(effect=both))
        st.markdown(sentence)
        st.caption(f"{total} **Glossary and sources**, below, says more.")
    with picture:
        figure = effect_figure(both)
        what = "Effect view: what the model says with the head and without it"
        if not _is_slide_of_all_heads():
            show_figure(figure, f"{VIEW}_bars", what, words=figure.description)
    sweep = _show_all_heads(trace, head, screen)
    if sweep is not None and sweep.table is not None and not sweep.is_under_way:
        screen = replace(screen, effect=replace(screen.effect, all_heads=True))
    with buttons:
        swept = {"All heads": sweep.table} if screen.effect.all_heads and sweep else {}
        of_both = {"First tokens": both}
        tables.show_choice(VIEW, {name: _made(t) for name, t in (of_both | swept).items()})
        export_menu.menu(screen, trace)
    glossary.show()


def show_way(trace: Trace) -> None:
    """From the last of the steps to what the head changes in what the model says."""
    if loading.model_of(trace) is not None:
        st.button(
            "What does this head change in what the model says?",
            icon=":material/arrow_forward:",
            key="to_effect",
            type="tertiary",
            on_click=_open,
        )


def _open() -> None:
    st.session_state["view"] = TITLE


def _made(table: Any) -> Any:
    return lambda: table


# A model that says nothing


def _show_silence(trace: Trace) -> None:
    """That there is nothing to say of this model, and the way to one that speaks."""
    if loading.model_of(trace) is None:
        st.markdown(
            "These arrays came from a file: there is no model to ask what it says. Choose another "
            "view, or close the file."
        )
        return
    st.markdown(
        f"**{escaped(trace.model_name)}** makes embeddings and says nothing of tokens or classes. "
        "To see what a head changes in what a model says, choose one that predicts: the next "
        "token, a masked token or a class."
    )
    here = effects.speaking()
    offers = {offer.name: offer for offer in settings.offers()}
    to_come = [name for name in LIKELY if name in offers and name not in here]
    with st.container(horizontal=True):
        for name in [*here, *(to_come if not here else [])][:3]:
            n_bytes = None if name in here else offers[name].n_bytes
            away = f" ({size(n_bytes)} to download)" if n_bytes else ""
            st.button(
                f"Open {escaped(name.rstrip('/').rsplit('/', 1)[-1])}{away}",
                icon=":material/open_in_new:",
                key=f"open_{name}",
                on_click=_choose_model,
                args=(name,),
            )
    if not here and not to_come:
        st.markdown("Under **Model** choose such a model, for example one of GPT-2's kind.")


LIKELY = ("HuggingFaceTB/SmolLM2-135M-Instruct", "gpt2", "distilgpt2", "bert-base-uncased")


def _choose_model(name: str) -> None:
    links.forget_note("model")
    st.session_state["model"] = name


# What is asked


def _choose_position(trace: Trace, head: HeadTrace, question: Any) -> int | None:
    """Where the model answers; None where that is as usual."""
    if question.what == "class of text":
        links.check_absent("position", "position", "this model says one thing of the whole text")
        return None
    usual = question.position
    tokens = answering_tokens(trace)
    first = min(opening_of(trace, head.kind).query, len(tokens) - 1) if usual is None else usual
    chosen = choose_token("Position that answers", "position", tokens, first)
    return None if chosen == usual else chosen


def _choose_token(own: pd.DataFrame) -> str | None:
    """The token that is followed; None for the model's first choice."""
    names = list(dict.fromkeys(own["token"]))
    if st.session_state.get("_offered_token") and is_default("token"):
        st.session_state["token"] = None  # another text has a first choice of its own
    chosen = select(
        "Token to follow",
        "token",
        names,
        accepts_others=True,
        help="One of the model's ten first choices, or any other token: type it.",
    )
    return None if chosen == names[0] else chosen


def _choose_patch() -> str | None:
    text = text_area(
        "Text to patch with",
        "patch",
        placeholder="empty: zeros",
        help="What stands in place of the head's update. If empty, zeros: the head is switched "
        "off. Otherwise the update that this head has in another text of as many tokens. " + APPLY,
    )
    return text if text.strip() else None


def _without_mask(trace: Trace) -> str:
    loaded = loading.loaded_of(trace)
    mask = "" if loaded is None else loaded.tokenizer.mask_token
    return (
        "The text has no masked token: this is what the model says of a token that it sees. Write "
        f"{escaped(mask)} in place of a word to have it predicted."
    )


# With and without the head


def _show_sentence(trace: Trace, head: HeadTrace, both: pd.DataFrame) -> None:
    """The text, and how this head weighs it where the model answers."""
    at = both.attrs["position"]
    is_query = head.query_tokens == answering_tokens(trace)
    query = at if is_query and at is not None else opening_of(trace, head.kind).query
    key = int(np.argmax(head.weights[query]))
    figure = overview_chart(head, query, key, has_matrices=False)
    show_figure(
        figure,
        "overview_effect",
        "The sentence with the weights of this head",
        words=figure.description,
    )


def _is_slide_of_all_heads() -> bool:
    """Whether a slide has room for these alone."""
    is_asked = bool(st.session_state.get(ALL_HEADS)) or st.query_params.get(ALL_HEADS) == "true"
    return bool(st.context.is_embedded) and is_asked


# Without each of all heads


def _show_all_heads(trace: Trace, head: HeadTrace, screen: Screen) -> Sweep | None:
    """One button, then how far it is, then every head: the sweep, where it is asked for."""
    key = effects.key_of(screen, trace)
    if links.asked_once(ALL_HEADS) == "true":
        st.session_state[OF] = key
        effects.begin(screen, trace)
    sweep = effects.known(screen, trace) if st.session_state.get(OF) == key else None
    st.session_state[ALL_HEADS] = "" if sweep is None else "true"
    links.write(ALL_HEADS, st.session_state[ALL_HEADS])
    n_heads = sum(call.n_heads for call in trace.calls.values())
    st.markdown("**Which heads does this depend on?**")
    if sweep is None or (not sweep.is_under_way and not sweep.is_whole):
        if sweep is not None and sweep.error is not None:
            show_error(sweep.error)
        with st.container(horizontal=True, vertical_alignment="center"):
            is_first = sweep is None or sweep.table is None
            st.button(
                "Switch off every head in turn" if is_first else "Start again",
                icon=":material/grid_view:",
                key="sweep",
                on_click=_begin,
                args=(screen, trace),
            )
            st.caption(f"{n_heads} heads, one at a time; the rest of the page waits for none.")
    if sweep is None:
        return None
    if sweep.is_under_way:
        st.fragment(_follow, run_every=EVERY)(trace, screen)
    elif sweep.table is not None:
        _show_swept(trace, head, sweep.table)
    return sweep


def _begin(screen: Screen, trace: Trace) -> None:
    st.session_state[OF] = effects.key_of(screen, trace)
    effects.begin(screen, trace)


def _follow(trace: Trace, screen: Screen) -> None:
    """Drawn again and again by itself, while the rest of the page answers as always."""
    sweep = effects.known(screen, trace)
    if sweep is None or not sweep.is_under_way:
        st.rerun()
    sweep.look()
    table = sweep.table
    n = sum(call.n_heads for call in trace.calls.values())
    done = 0 if table is None else len(table)
    with st.container(horizontal=True, vertical_alignment="center"):
        text = f"{done} of {n} heads" if done else f"Waiting to begin: {n} heads"
        st.progress(done / n, text=text)
        st.button("Stop", icon=":material/stop:", key="stop_sweep", on_click=sweep.stop)
    if table is not None:
        figure = sweep_figure(_with_rest(table, trace))
        show_figure(figure, f"{VIEW}_so_far", _ALL, words=figure.description, width="content")


_ALL = "Effect view: every layer and head, coloured by what changes without it"


def _with_rest(table: pd.DataFrame, trace: Trace) -> pd.DataFrame:
    """The table with a row without numbers for each head that is not done yet."""
    rows = [
        (kind, layer, head)
        for (kind, layer), call in trace.calls.items()
        for head in range(call.n_heads)
    ]
    whole = pd.DataFrame(rows, columns=["kind", "layer", "head"])
    known = table.drop(columns=["kind", "layer", "head"])  # in the same order
    made = whole.join(known)
    made.attrs = table.attrs
    return made


def _show_swept(trace: Trace, head: HeadTrace, table: pd.DataFrame) -> None:
    """The heads that push the token most, and all of them."""
    if not table.attrs["is_whole"]:
        st.caption(f"Stopped after {len(table)} of {table.attrs['n_heads']} heads.")
    st.markdown(" ".join(pushed(More(sweep=table))) or "No head changes it.")
    name, of = said.called(table.attrs["token"]), (table.attrs["id"], len(table))
    is_of_many = len(trace.kinds) > 1
    for column, way, becomes in zip(
        st.columns(2),
        (1, -1),
        ("up: without them it falls", "down: without them it rises"),
        strict=True,
    ):
        with column:
            st.markdown(f"Heads that push {name} {becomes}")
            rows = pushing(table, way, N_PUSHING)
            columns = ["layer", "head", "change", "kl"]
            columns += ["direct"] if rows["direct"].notna().any() else []
            rows = rows[["kind", *columns] if is_of_many else columns]
            show_heads(rows, f"pushing_{'up' if way > 0 else 'down'}", (of, name), _COLUMNS)
    st.caption("Click a head, here or in a list, to open it in all views.")
    place = head.kind, head.layer, head.head
    selection = pinned(VIEW, (table.attrs["id"], len(table), trace.tokens), place)
    kind, layer, number = selection.drawn
    figure = sweep_figure(_with_rest(table, trace), layer, number, kind=kind)
    chart_key = f"{VIEW}_{selection.number}"
    show_figure(
        figure,
        chart_key,
        _ALL,
        words=figure.description,
        width="content",
        selection_mode=[OPENED],
        on_select=lambda: open_clicked(VIEW, chart_key, has_kind=True),
    )


_COLUMNS = {
    "change": st.column_config.NumberColumn(
        "Δ log p", format="%+.3f", help="log p of the token without the head, less log p with it."
    ),
    "direct": st.column_config.NumberColumn(
        "direct", format="%+.3f", help="What the head itself adds to the token's logit."
    ),
    "kl": st.column_config.NumberColumn(
        "KL, nats", format="%.3f", help="How far all that the model says changes."
    ),
}
