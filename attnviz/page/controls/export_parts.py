"""What the Export menu offers, made when it is opened: the first picture waits for none of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import altair as alt
import streamlit as st

from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step, steps_of
from attnviz.attention.trace import Trace
from attnviz.charts.parts.axes import matrix_title
from attnviz.charts.parts.figure import standing_alone
from attnviz.export import captions, code, data, figures, fonts, four_steps, pages, shell
from attnviz.export.screen import OF_ALL_HEADS, OF_TABLES, Screen, drawn, tabulated
from attnviz.page import figures as on_page
from attnviz.page.beats import beats_of
from attnviz.page.compat import CODE_TOOLBAR, keyed
from attnviz.page.controls import links
from attnviz.page.service import effects, loading
from attnviz.text.phrases import escaped

PARTS = ("Figure", "Web page", "Data", "Code", "Link")
WIDTHS = {
    "as on the page": None,
    f"one column, {figures.ONE_COLUMN:g} mm": figures.ONE_COLUMN,
    f"two columns, {figures.TWO_COLUMNS:g} mm": figures.TWO_COLUMNS,
}
LETTERS = {f"{size} points": size for size in figures.LETTER_SIZES}
FORMATS = {
    "SVG": "svg",
    "PDF": "pdf",
    **{f"PNG {scale}×": f"png@{scale}" for scale in figures.PNG_SCALES},
}
FIGURES = ("svg", "pdf", "png")
MIME = {
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "png": "image/png",
    "html": "text/html",
    "npz": "application/octet-stream",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "json": "application/json",
}


# What is to be saved, small.
_SMALL = f"<style>{keyed('export_preview')} img {{max-height: 150px; object-fit: contain}}</style>"
# The button that copies, also where nothing can point at it.
_ALWAYS_COPY = (
    f"<style>{keyed('export_link')} {CODE_TOOLBAR} {{opacity: 1; transform: none}}</style>"
)


def show(screen: Screen, trace: Trace) -> None:
    """The part of the menu that is chosen."""
    part = st.segmented_control(
        "Export",
        PARTS,
        default=PARTS[0],
        required=True,
        key="export_part",
        label_visibility="collapsed",
    )
    {
        "Figure": _figure,
        "Web page": _page,
        "Data": _data,
        "Code": _code,
        "Link": _link,
    }[part](screen, trace)


# Its parts


def _figure(screen: Screen, trace: Trace) -> None:
    with st.container(gap="xsmall"):  # the menu has to fit a low window
        _figure_closely(screen, trace)


def _figure_closely(screen: Screen, trace: Trace) -> None:
    whole = {"steps": "All steps"}.get(screen.view, "The view")
    others = on_page.shown()
    alone = _steps_not_shown(screen, trace, others)
    names = [whole, *others, *alone]
    opens = _open_step(screen, trace)
    title = None if opens is None else matrix_title(opens)
    first = title if title in others else next(iter(others), whole)
    with st.container(horizontal=True):
        name = st.selectbox(
            "Figure",
            names,
            0 if opens is None else names.index(first),
            format_func=partial(_short, names=names),
            key="export_figure",
        )
        width = WIDTHS[st.selectbox("Width", list(WIDTHS), key="export_width")]
        letters = figures.LETTER_SIZES[1]
        if width is not None and screen.view == "steps":
            letters = LETTERS[
                st.selectbox("Letters", list(LETTERS), 1, key="export_letters") or list(LETTERS)[1]
            ]
    chosen = st.segmented_control(
        "Format",
        list(FORMATS),
        default="SVG",
        required=True,
        key="export_format",
        label_visibility="collapsed",
    )
    has_caption = st.toggle("Caption: model, head and text below it", True, key="export_caption")
    is_transparent = st.toggle("Transparent background", key="export_transparent")
    kind, _, scale = FORMATS[chosen].partition("@")
    key, figure = others.get(name, ("", None))
    words = captions.caption(screen, trace, is_changed=key.startswith("what_if_"))
    if name != whole:
        words = f"{name}. {words}"
    caption = words if has_caption else ""
    draw: Callable[[], alt.TopLevelMixin]
    if figure is None:
        draw = partial(_drawn, replace(screen, step=alone.get(name)), loading.again(trace))
    else:
        draw = partial(standing_alone, figure)
    display_mode = screen.display_mode

    def made(ending: str, pixels: int = int(scale or figures.PNG_SCALES[0])) -> figures.Written:
        return figures.figure(
            draw(),
            ending,
            display_mode,
            caption=caption,
            width_mm=width,
            letter_size=letters,
            is_transparent=is_transparent,
            scale=pixels,
        )

    notes: tuple[str, ...] = ()
    if width is not None:
        notes = made(".svg").notes
    elif lost := fonts.missing(words + "".join(_labels(trace))):
        notes = (figures.note_on_missing(lost),)
    for note in notes:
        sentence, _, hint = note.partition("\n\nHint: ")
        st.warning(f"{escaped(sentence)} {escaped(hint[:1].upper() + hint[1:])}")
    with st.container(key="export_preview"):
        st.html(_SMALL)
        st.image(made(".png", 1).content)
    part = "" if name == whole else name
    _button(f"Download {chosen}", lambda: made(f".{kind}").content, screen, kind, part)


def _steps_not_shown(screen: Screen, trace: Trace, shown: Iterable[str]) -> dict[str, str]:
    """The names of steps whose matrices can be had alone, by what they are, but those shown."""
    if screen.view != "steps":
        return {}
    head = trace.head(screen.layer, screen.head, screen.kind)
    steps = steps_of(head, screen.convention)
    return {said: step.name for step in steps if (said := matrix_title(step)) not in shown}


def _open_step(screen: Screen, trace: Trace) -> Step | None:
    """The step that is open alone, of several arrays the one that is chosen."""
    if screen.view != "steps" or st.session_state["all_steps"]:
        return None
    head = trace.head(screen.layer, screen.head, screen.kind)
    steps = beats_of(head, screen.convention)[st.session_state["step"]]
    chosen = st.session_state.get(f"array_{steps[0].number}") if steps else None
    return next((step for step in steps if step.title == chosen), next(iter(steps), None))


def _short(name: str, names: Sequence[str]) -> str:
    """Without what the axes are, or whose update, where nothing else is called so."""
    briefs = [one.partition(": ")[0].partition(" to the update")[0] for one in names]
    brief = briefs[names.index(name)]
    return brief if briefs.count(brief) == 1 else name


def _drawn(screen: Screen, again: Callable[[], Trace]) -> alt.TopLevelMixin:
    trace = again()
    return drawn(screen, trace, effects.more(screen, trace))


def _labels(trace: Trace) -> tuple[str, ...]:
    return trace.tokens + (trace.target_tokens or ())


def _page(screen: Screen, trace: Trace) -> None:
    st.markdown(
        "This view as one interactive HTML file, with the same numbers. It opens without a network."
    )
    again = loading.again(trace)

    def written() -> bytes:
        trace = again()
        return pages.view_page(screen, trace, effects.more(screen, trace)).encode()

    _button("Download HTML", written, screen, "html")


def _data(screen: Screen, trace: Trace) -> None:
    again = loading.again(trace)
    if screen.view in OF_TABLES:
        _table(screen, again)
        return
    is_changed = False
    if screen.change:
        which = ("the model's own", "changed by What if?")
        is_changed = (
            st.segmented_control("Head", which, default=which[0], required=True, key="export_head")
            == which[1]
        )
    st.markdown(
        "Every matrix of this head, in full precision: as NumPy arrays, or as a table with one "
        "row per value. The weights alone also as a table with one row per query."
    )
    about = {"text": screen.text, "pair": screen.pair, "target": screen.target}

    def head_of(trace: Trace) -> HeadTrace:
        less = trace if screen.view == "steps" else screen.filters(trace)
        head = less.head(screen.layer, screen.head, screen.kind)
        return screen.change(head) if is_changed else head

    def written(ending: str) -> bytes:
        whole = again()
        return data.written(ending, whole, head_of(whole), **about)

    with st.container(horizontal=True):
        for name in ("NPZ", "CSV", "Parquet", "JSON"):
            kind = name.lower()
            _button(name, partial(written, f".{kind}"), screen, kind)
        _button(
            "Weights as a table",
            lambda: data.weights_to_csv(head_of(again())),
            screen,
            "csv",
            "weights",
        )
    st.caption(
        "**Load your own arrays** opens the NPZ again, as does `attnviz.HeadTrace.from_npz`. JSON "
        "describes the model, the text and the head, without the matrices. In CSV an apostrophe "
        "precedes text that a spreadsheet would run, such as `=1+1`."
    )


def _table(screen: Screen, again: Callable[[], Trace]) -> None:
    """The view's numbers, a row a head or a pair of tokens."""
    st.markdown(
        "All numbers behind the picture, in full precision. In CSV an apostrophe precedes text "
        "that a spreadsheet would run, such as `=1+1`."
    )

    def written(ending: str) -> bytes:
        trace = again()
        return data.written_table(ending, tabulated(screen, trace, effects.more(screen, trace)))

    with st.container(horizontal=True):
        for name in ("CSV", "Parquet", "JSON"):
            kind = name.lower()
            _button(name, partial(written, f".{kind}"), screen, kind)


def _code(screen: Screen, trace: Trace) -> None:
    own = loading.model_of(trace)
    if own is None:
        st.markdown("These arrays came from a file: there is no model to compute them with.")
        return
    if opens := _open_step(screen, trace):
        screen = replace(screen, step=opens.name)
    if len(trace.kinds) > 1:  # of which Find shows one
        screen = replace(screen, kind=screen.kind or trace.kinds[0])
    st.markdown("**The same in Python**")
    st.code(code.script(screen), language="python", wrap_lines=True)
    st.markdown("**In a shell**")
    st.code(shell.command(screen, trace), language="bash", wrap_lines=True)
    st.markdown("**The four steps in plain PyTorch**")
    st.code(four_steps.four_steps(screen, trace, own), language="python", wrap_lines=True)


def _link(screen: Screen, trace: Trace) -> None:
    if loading.model_of(trace) is None:
        st.markdown("A link does not contain the arrays of a file: send the file with it.")
        return
    with st.container(horizontal=True):
        is_slide = (
            st.segmented_control("For", LINKS, default=LINKS[0], required=True, key="export_for")
            == LINKS[1]
        )
        theme = st.segmented_control(
            "Colours", THEMES, default=THEMES[0], required=True, key="export_theme"
        )
    link = links.link_of_now(
        None if theme == THEMES[0] else theme, is_slide=is_slide, named=_named(screen, trace)
    )
    with st.container(key="export_link"):
        st.html(_ALWAYS_COPY)
        st.code(link, language=None, wrap_lines=True)
    shown = "the picture and one line, to embed in a slide" if is_slide else "this page"
    st.caption(
        f"It opens {shown}, with this model, text, layer, head and all that is chosen here. The "
        "text is part of the link: whoever has the link can read it."
    )
    if note := links.note_on_length(link):
        st.caption(note)


LINKS = ("the page", "a slide")
THEMES = ("as the reader's", "light", "dark")


def _named(screen: Screen, trace: Trace) -> dict[str, Any]:
    """What a link says in any case, so that it opens the same where a default changes."""
    named: dict[str, Any] = {"model": screen.model, "text": screen.text}
    if len(trace.kinds) > 1 and screen.kind is not None:
        named["kind"] = screen.kind
    named |= {"layer": screen.layer, "head": screen.head}
    if screen.view == "steps":
        if not st.session_state["all_steps"]:
            named["step"] = st.session_state["step"]
        queries, keys = trace.tokens_of(screen.layer, screen.kind)
        for name, tokens in (("query", queries), ("key", keys)):
            position = getattr(screen, name)
            named[name] = f"{position} {tokens.labels[position]}"
    return named


def _button(
    label: str, write: Callable[[], bytes], screen: Screen, kind: str, part: str = ""
) -> None:
    """A button that writes its file when it is clicked."""
    st.download_button(
        label,
        data=write,
        file_name=file_name(screen, kind, part),
        mime=MIME[kind],
        icon=":material/download:",
        key=f"download_{kind}{f'_{part}' if part and kind not in FIGURES else ''}",
        on_click="ignore",
    )


def file_name(screen: Screen, ending: str, part: str = "") -> str:
    """Says what is in the file: the view, and the layer and head it is of."""
    head = f"-layer{screen.layer}-head{screen.head}"
    is_of_all = screen.view in OF_ALL_HEADS
    is_of_all |= screen.view == "effect" and screen.effect.all_heads
    of = "" if is_of_all else head
    if screen.view == "heads":
        of = f"-layer{screen.layer}"
    if ending in ("npz", "csv", "parquet", "json") and screen.view not in OF_TABLES:
        return f"attnviz{f'-{part}' if part else ''}{head}.{ending}"
    what = "".join(c if c.isalnum() else "-" for c in part.lower()).strip("-")
    return f"attnviz-{screen.view}{f'-{what}' if what else ''}{of}.{ending}"
