"""The sidebar: model, text, and which head. Every choice is in the address of the page."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import streamlit as st

from attnviz.attention.trace import Trace
from attnviz.charts.model_layers import OPENED
from attnviz.charts.parts.opening_pair import Opening, opening
from attnviz.models.bundled import DECODER, DECODER_COMMAND
from attnviz.models.local import is_file, is_path
from attnviz.page.controls import links, own_arrays
from attnviz.page.controls.chart_clicks import clicked
from attnviz.page.service import loading, settings
from attnviz.page.service.kept import read_once
from attnviz.page.service.loading import LoadedModel
from attnviz.text.phrases import escaped, size

VIEWS = ("Steps", "Neurons", "Heads", "Model", "Find", "Compare", "Effect")
DEFAULT_TEXT: str = links.AS_OPENED["text"]
OTHER_TEXT: str = links.AS_OPENED["other_text"]  # to compare with


def choose_model() -> str:
    """A model of the list, or any other where this page is open to them."""
    offers = {offer.name: offer for offer in settings.offers()}
    is_here = {name: loading.is_here(name) for name in offers}
    short = {name: short_name(name, offers) for name in offers}
    opened = [name for name in st.session_state.setdefault("_opened", []) if name not in offers]
    listed = {
        name: f"{short[name]} {_AWAY}" if _is_to_come(name, is_here[name]) else short[name]
        for name in offers
    } | {name: name for name in opened}
    sizes = [f"- {escaped(short[name])}: {_size(offers[name], is_here[name])}" for name in offers]
    name = select(
        "Model",
        "model",
        [*offers, *opened],
        format_func=listed.__getitem__,
        spellings={
            spelling: listed[name]
            for name in offers
            for spelling in (short[name], f"{short[name]} {_AWAY}")
        },
        replace=_same,
        help="\n".join([f"{_AWAY} is downloaded first, once for everybody:\n", *sizes]),
        accepts_others=settings.takes_any(),
    )
    name = name.removesuffix(f" {_AWAY}").strip()  # of a link made where it was to come
    offer, is_here_now = offers.get(name, settings.Offer(name)), loading.is_here(name)
    if is_here_now and name not in (*offers, *opened):
        st.session_state["_opened"].append(name)
    st.caption(" ".join([_size(offer, is_here_now) + ".", *_other_ways()]))
    return name


_AWAY = "↓"  # behind the name of a model that is not on this machine


def _is_to_come(name: str, is_here: bool) -> bool:
    return not is_here and not is_path(name) and name != DECODER


def _size(offer: settings.Offer, is_here: bool) -> str:
    if is_here:
        return "On this machine, no download"
    if offer.name == DECODER:
        return f"Not installed, `{DECODER_COMMAND}`"
    if is_path(offer.name):
        return "File not found" if is_file(offer.name) else "Folder not found"
    if offer.n_bytes is None:
        return "Not on this machine yet"
    return f"{size(offer.n_bytes)} to download, once"


def _other_ways() -> Iterator[str]:
    """What can be typed instead of choosing from the list."""
    if settings.takes_any_hub_model():
        yield "Type another name to open any model of the Hugging Face Hub."
    if settings.takes_any_folder():
        yield "Type a path to open a folder or a GGUF file."


def short_name(name: str, names: Collection[str]) -> str:
    """As much of a model's name, from its end, as tells it from all others."""
    parts = name.split("/")
    ends = ("/".join(parts[-n:]) for n in range(1, len(parts)))
    return next((end for end in ends if _n_ending(names, end) == 1), name)


def _n_ending(names: Collection[str], end: str) -> int:
    return sum(f"/{name}".endswith(f"/{end}") for name in names)


def choose_text() -> str:
    return text_area(
        "Text",
        "text",
        DEFAULT_TEXT,
        help=f"{APPLY} The model is given the text as it stands here, new lines (↵) and tabs (⇥) "
        "too.",
        disabled=own_arrays.is_open(),
    )


APPLY = "Ctrl+Enter, or ⌘+Enter, applies it; Enter begins a new line."
_TWO_LINES = 96  # pixels, as low as Streamlit has it; an area scrolls, and can be drawn larger


def text_area(
    label: str,
    key: str,
    value: str = "",
    *,
    help: str,
    placeholder: str | None = None,
    disabled: bool = False,
) -> str:
    """A text of any number of lines, bound to the address."""
    links.found(key)
    links.end_lines_alike(key, _within(label).removesuffix(" (optional)"))
    return st.text_area(
        label,
        value,
        key=key,
        bind="query-params",
        height=_TWO_LINES,
        placeholder=placeholder,
        help=help,
        on_change=links.forget_note,
        args=(key,),
        disabled=disabled,
    )


def choose_device() -> tuple[str, str]:
    """Where the model computes and in which precision; offered where there is a GPU."""
    devices = loading.devices()
    options = {"CPU": ("cpu", "float32")}
    for device in devices[1:]:
        number = "" if len(devices) == 2 else f" {device.rpartition(':')[2]}"
        options[f"GPU{number}"] = (device, "float32")
        options[f"GPU{number}, bfloat16"] = (device, "bfloat16")
    names = list(options)
    if len(names) == 1:
        links.check_absent("device", "device", f"there is only the {names[0]}", names[0])
        return options[names[0]]
    return options[select("Compute on", "device", names, help=_ON_PRECISION)]


_ON_PRECISION = (
    "In bfloat16 a model takes half the memory of float32 and rounds its own numbers to three "
    "digits; the steps are recomputed from those."
)


def choose_second_text(loaded: LoadedModel) -> tuple[str | None, str | None]:
    """The pair or the target, whichever the model takes; None where it is left empty."""
    if loaded.takes_pair:
        links.check_absent("target", "target text", "this model takes none")
        pair = text_area(
            "Second text (optional)",
            "pair",
            help=f"Forms a sentence pair with the text, joined by the model's separator. {APPLY}",
        )
        return (pair if pair.strip() else None), None
    links.check_absent("pair", "second text", "this model takes none")
    if loaded.takes_target:
        target = text_area(
            "Target text (optional)",
            "target",
            placeholder="empty: the model generates it",
            help="The input of the decoder. If empty, the model generates it: greedily, at most "
            f"32 tokens. {APPLY}",
        )
        return None, (target if target.strip() else None)
    links.check_absent("target", "target text", "this model takes none")
    return None, None


def choose_head(trace: Trace) -> tuple[str, int, int]:
    """Attention kind, layer and head.

    They open where the text's second word gives most to another one. Another text leaves them as
    they are; another model or kind of attention, in which they would be other heads, does not,
    unless somebody chose them.
    """
    kind = trace.kinds[0]
    if len(trace.kinds) > 1:
        kind = select("Attention", "kind", trace.kinds)
    else:
        links.check_absent("kind", "attention", f"this model has only {kind} attention", kind)
    of_before = st.session_state.get(_OF, of := (trace.model_name, kind))
    st.session_state[_OF] = of
    if of != of_before and is_default("layer") and is_default("head"):
        st.session_state["layer"] = st.session_state["head"] = None
    start = opening_of(trace, kind)
    layer = stepper("Layer", "layer", trace.layers(kind), start.layer)
    head = stepper("Head", "head", range(trace.n_heads(layer, kind)), start.head)
    return kind, layer, head


_OF = "_head_is_of"  # the model and the kind of attention of the run before


def opening_of(trace: Trace, kind: str) -> Opening:
    """The head and the pair of tokens that are shown until others are chosen."""
    return read_once(trace, ("opening", kind), lambda: opening(trace, kind))


def choose_token(
    label: str, key: str, tokens: Sequence[str], default: int, *, is_beside: bool = False
) -> int:
    """A position among tokens, listed with its number and its token; its label may be beside it."""
    # In a row of their own, so that a narrow screen does not part them.
    beside: Any = dict(horizontal=True, vertical_alignment="center", key=f"{key}_beside")
    with st.container(**(beside if is_beside else {})):
        if is_beside:
            st.markdown(label, width="content")
        return select(
            label,
            key,
            range(len(tokens)),
            default,
            format_func=lambda place: f"{place} {tokens[place]}",
            is_labelled=not is_beside,
        )


def open_head(layer: int, head: int, kind: str | None = None) -> None:
    """Show another head, of another kind of attention where one is named; for buttons."""
    if kind is not None and "kind" in st.session_state:
        _set("kind", kind)
        name, _ = st.session_state[_OF]
        st.session_state[_OF] = name, kind  # the layer and the head are chosen with it
    _set("layer", layer)
    _set("head", head)


def open_clicked(view: str, chart_key: str, *, has_kind: bool = False) -> None:
    """Show the head that was clicked in a view's chart; its callback.

    Where the chart shows several kinds of attention, what is pinned in it begins with the kind.
    """
    for point in st.session_state[chart_key].selection.get(OPENED) or []:
        open_head(point["layer"], point["head"], point.get("kind"))
        place = point["layer"], point["head"]
        clicked(view, (point["kind"], *place) if has_kind else place)


def open_state(state: dict[str, Any]) -> None:
    """Show the page as it opens, but for these controls; for a button."""
    links.forget()
    own_arrays.close()
    for key in links.AS_OPENED:
        st.session_state.pop(f"_offered_{key}", None)  # positions are those of the new text
        st.session_state.pop(f"_moved_{key}", None)
    links.set_all(links.AS_OPENED | state)


def reset() -> None:
    """Back to how the page opens; for a button."""
    open_state({})


def select(
    label: str,
    key: str,
    options: Sequence[Any],
    default: int = 0,
    *,
    format_func: Callable[[Any], str] = str,
    spellings: Mapping[str, str] = MappingProxyType({}),
    replace: Callable[[list, Any, Any], Any] = lambda options, value, otherwise: otherwise,
    help: str | None = None,
    accepts_others: bool = False,
    is_labelled: bool = True,
) -> Any:
    """A list bound to the address; `spellings` are what else a link may call its options.

    A choice that is no longer there, or no longer called the same (another model, another text),
    gives way to what `replace` makes of it. With `accepts_others` any text can be typed too.
    """
    options = list(options)
    names = {option: format_func(option) for option in options}
    links.respell(key, {str(option): name for option, name in names.items()} | dict(spellings))
    before, default_before = st.session_state.get(f"_offered_{key}", (names, default))
    st.session_state[f"_offered_{key}"] = names, default
    if key in st.session_state:
        value = st.session_state[key]
        is_typed = accepts_others and bool(value) and value not in names
        is_as_before = value in names and before.get(value, names[value]) == names[value]
        if not is_typed and not is_as_before:
            st.session_state[key] = replace(options, value, options[default])
        elif default != default_before:
            # Set, though it stays: the address leaves out the default, which is another now.
            st.session_state[key] = value
        value = st.session_state[key]
        links.keep(key, [] if value == options[default] else [names.get(value, value)])
    chosen: Any = st.selectbox(
        label,
        options,
        index=default,
        format_func=format_func,
        key=key,
        help=help,
        bind="query-params",
        on_change=links.forget_note,
        args=(key,),
        accept_new_options=accepts_others,
        label_visibility="visible" if is_labelled else "collapsed",
        disabled=key == "model" and own_arrays.is_open(),
    )
    name = names.get(chosen, chosen)
    links.check(key, _within(label), [*names.values(), *([name] if accepts_others else [])], name)
    return chosen


STEPPERS = ("layer", "head", "other_layer", "other_head")  # their keys
WAYS = {"Previous": ("chevron_left", -1), "Next": ("chevron_right", 1)}


def stepper(label: str, key: str, options: Sequence[int], preferred: int, follows: str = "") -> int:
    """A list of numbers with a button to either side of the chosen one.

    Where what was chosen, here or in the list that it `follows`, is not in this one, of another
    model, the nearest is, and that is said. What nobody chose, a default, gives way to this one.
    """
    what = _within(label)
    default = list(options).index(_nearest(options, preferred, options[0]))
    before = st.session_state.get(key)
    if before is None:
        before = preferred if follows and not is_default(follows) else None
    elif before not in options and is_default(key):
        before = st.session_state[key] = options[default]
    with st.container(horizontal=True, vertical_alignment="bottom", wrap=False, gap="xsmall"):
        chosen = select(label, key, options, default, replace=_nearest)
        place = list(options).index(chosen)
        for way, (icon, step) in WAYS.items():
            is_last = place + step not in range(len(options))
            st.button(
                f"{way} {what}",  # heard, and seen when it is pointed at: see `style`
                icon=f":material/{icon}:",
                key=f"{key}_{way.lower()}",
                help=f"{way} {what}",
                disabled=is_last,
                on_click=_set,
                args=(key, None if is_last else options[place + step]),
            )
    moved = f"_moved_{key}"
    if before is not None and before not in options and len(options) > 1:
        st.session_state[moved] = before, chosen, options
    if moved in st.session_state:
        before, *now = st.session_state[moved]
        if now == [chosen, options]:
            number, _, whole = what.partition(" of ")
            where = f"in {whole}" if whole else "here"
            st.caption(f"There is no {number} {before} {where}; {chosen} is the nearest.")
        else:
            del st.session_state[moved]
    return chosen


def is_default(key: str) -> bool:
    """Whether a list shows what it opened with."""
    names, default = st.session_state.get(f"_offered_{key}", ({None: ""}, 0))
    return st.session_state.get(key) == [*names][default]


def _within(label: str) -> str:
    """A label inside a sentence."""
    return f"{label[0].lower()}{label[1:]}"


def _set(key: str, value: object) -> None:
    links.forget_note(key)
    st.session_state[key] = value


def _same(options: list, value: Any, otherwise: Any) -> Any:
    return value if value in options else otherwise


def _nearest(options: Sequence[int], value: int | None, otherwise: int) -> int:
    if value is None:
        return otherwise
    return min(options, key=lambda option: abs(option - value))
