"""What the Export menu offers, made when it is opened: the first picture waits for none of it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import altair as alt
import streamlit as st

from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import steps_of
from attnviz.attention.trace import Trace
from attnviz.charts.parts.axes import matrix_title
from attnviz.charts.parts.figure import standing_alone
from attnviz.export import captions, code, data, figures, fonts, four_steps, pages, shell
from attnviz.export.screen import OF_ALL_HEADS, OF_TABLES, Screen, drawn, tabulated
from attnviz.page import figures as on_page
from attnviz.page.compat import CODE_TOOLBAR, keyed
from attnviz.page.controls import links
from attnviz.page.service import loading
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
    whole = {"steps": "All steps"}.get(screen.view, "The view")
    others = on_page.shown()
    alone = _steps_not_shown(screen, trace, others)
    names = [whole, *others, *alone]
    with st.container(horizontal=True):  # side by side: the menu has to fit a low window
        name = st.selectbox("Figure", names, key="export_figure")
        width = WIDTHS[st.selectbox("Width", list(WIDTHS), key="export_width")]
        letters = figures.LETTER_SIZES[1]
        if width is not None and screen.view == "steps":
            letters = LETTERS[
                st.selectbox("Letters", list(LETTERS), 1, key="export_letters") or list(LETTERS)[1]
            ]
    chosen = st.segmented_control(
        "Format", list(FORMATS), default="SVG", required=True, key="export_format"
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

    def made(ending: str) -> figures.Written:
        return figures.figure(
            draw(),
            ending,
            display_mode,
            caption=caption,
            width_mm=width,
            letter_size=letters,
            is_transparent=is_transparent,
            scale=int(scale or figures.PNG_SCALES[0]),
        )

    notes: tuple[str, ...] = ()
    if width is not None:
        notes = made(".svg").notes
    elif lost := fonts.missing(words + "".join(_labels(trace))):
        notes = (figures.note_on_missing(lost),)
    for note in notes:
        sentence, _, hint = note.partition("\n\nHint: ")
        st.warning(f"{escaped(sentence)} {escaped(hint[:1].upper() + hint[1:])}")
    part = "" if name == whole else name
    _button(f"Download {chosen}", lambda: made(f".{kind}").content, screen, kind, part)


def _steps_not_shown(screen: Screen, trace: Trace, shown: Iterable[str]) -> dict[str, str]:
    """The names of steps whose matrices can be had alone, by what they are, but those shown."""
    if screen.view != "steps":
        return {}
    head = trace.head(screen.layer, screen.head, screen.kind)
    steps = steps_of(head, screen.convention)
    return {said: step.name for step in steps if (said := matrix_title(step)) not in shown}


def _drawn(screen: Screen, again: Callable[[], Trace]) -> alt.TopLevelMixin:
    trace = again()
    return drawn(screen, trace, loading.more(screen, trace))


def _labels(trace: Trace) -> tuple[str, ...]:
    return trace.tokens + (trace.target_tokens or ())


def _page(screen: Screen, trace: Trace) -> None:
    st.markdown(
        "This view as one interactive HTML file, with the same numbers. It opens without a network."
    )
    again = loading.again(trace)

    def written() -> bytes:
        trace = again()
        return pages.view_page(screen, trace, loading.more(screen, trace)).encode()

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
        return data.written_table(ending, tabulated(screen, trace, loading.more(screen, trace)))

    with st.container(horizontal=True):
        for name in ("CSV", "Parquet", "JSON"):
            kind = name.lower()
            _button(name, partial(written, f".{kind}"), screen, kind)


def _code(screen: Screen, trace: Trace) -> None:
    own = loading.model_of(trace)
    if own is None:
        st.markdown("These arrays came from a file: there is no model to compute them with.")
        return
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
    st.markdown("The link to this screen, for a message, a slide or a footnote.")
    link = links.link_of_now()
    with st.container(key="export_link"):
        st.html(_ALWAYS_COPY)
        st.code(link, language=None, wrap_lines=True)
    if note := links.note_on_length(link):
        st.caption(note)


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
    of = "" if screen.view in OF_ALL_HEADS else head
    if screen.view == "heads":
        of = f"-layer{screen.layer}"
    if ending in ("npz", "csv", "parquet", "json") and screen.view not in OF_TABLES:
        return f"attnviz{f'-{part}' if part else ''}{head}.{ending}"
    what = "".join(c if c.isalnum() else "-" for c in part.lower()).strip("-")
    return f"attnviz-{screen.view}{f'-{what}' if what else ''}{of}.{ending}"
