"""A figure laid out anew for the width of a column: letters keep their size, cells give way.

Charts are drawn for a screen. Made smaller for print, their letters could not be read. Here cells
become narrower instead, names stand, legends go below, sentences break into shorter lines, and
numbers in cells stay away where they do not fit.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree.ElementTree import Element

from attnviz.charts.parts.axes import CHARACTER
from attnviz.charts.parts.figure import ASIDE, INK, PRINTED
from attnviz.export.fonts import PLAIN, runs, width_of

Part = dict[str, Any]

WIDE = 500  # px, from which on a legend has room beside its matrix
PADDING = 4  # px around the figure
LINE = 1.25  # of the letters' size: how far lines are apart
SCREEN = 13  # px: the letters that columns of a fixed width are made for
NAMES = 5.5  # letters: about how wide a column of names is
LEAST = 24  # px of a part
LABEL_PADDING = 6
WIDER = 1.2  # than they are: how lines are measured that have a character of another font
BOLD = 0.92  # of a line's room for bold letters: they are wider than those that are measured
_SIZES = ("labelFontSize", "titleFontSize", "fontSize", "subtitleFontSize")
_WIDTH = re.compile(r"\bwidth\b")
_LABELS = re.compile(r"(\w+)\[datum\.value\]")


def can_be_laid_out(specification: Part) -> bool:
    """Whether the figure is made of matrices or rows, whose cells may be of any width.

    The others are drawn by places in one wide frame, and are made smaller as a whole.
    """
    if "vconcat" in specification:
        return True
    return isinstance(specification.get("height"), dict) and "autosize" not in specification


def laid_out(
    specification: Part, width: float, letters: float, draw: Callable[[Part], Element]
) -> Element:
    """The SVG that `draw` makes of a specification, `width` px wide, with letters of so many px."""
    whole = copy.deepcopy(specification)
    constants = {one["name"]: one["value"] for one in whole.get("params", []) if "value" in one}
    _set_letters(whole, letters)
    for one in whole.get("params", []):
        if one["name"].endswith(PRINTED):
            one["value"] = [letters, letters]
    whole["padding"] = PADDING
    inner = width - 2 * PADDING
    if "vconcat" in whole:
        whole |= {"align": "none", "spacing": 2 * letters}
        whole["vconcat"] = [*_below(whole["vconcat"], width)]
        _break_title(whole, inner, constants, letters)
    for part in _parts(whole):
        _break_title(part, inner, constants, letters)
        for one in part.get("hconcat", [part]):
            _set_height(one, letters)
    # Cells begin below one another, so that the longest names decide where.
    beside = [_beside(part, constants, letters) for part in _parts(whole)]
    rooms = []
    for part, own in zip(_parts(whole), beside, strict=True):
        room, tried = inner - max(beside), copy.deepcopy(part)
        _fit(tried, room, constants, letters, is_narrow=width < WIDE)
        drawn = draw(tried if part is whole else _alone(tried, whole))
        rooms.append(room - (_width(drawn) + max(beside) - own - width))
    for _ in range(2):
        fitted = copy.deepcopy(whole)
        for part, room in zip(_parts(fitted), rooms, strict=True):
            _fit(part, room, constants, letters, is_narrow=width < WIDE)
        drawn = draw(fitted)
        over = _width(drawn) - width
        if over <= 0.5:
            break
        rooms = [room - over for room in rooms]
    return drawn


def _width(drawn: Element) -> float:
    return float(drawn.get("width", 0))


def _alone(part: Part, whole: Part) -> Part:
    """A part as a figure of its own, with the constants that it reads."""
    written = json.dumps(part)
    read = [one for one in whole["params"] if one["name"] in written or one["name"] == INK]
    own = {name: value for name, value in whole.items() if name != "title"}
    return {**own, "vconcat": [part], "params": read}


def _parts(whole: Part) -> list[Part]:
    """What stands one below the other."""
    parts: list[Part] = whole.get("vconcat", [whole])
    return parts


def _below(parts: list[Part], width: float) -> Iterator[Part]:
    """The parts, where it is narrow also matrices, one below the other."""
    for part in parts:
        are_matrices = "hconcat" in part and all("data" in one for one in part["hconcat"])
        if are_matrices and width < WIDE:
            yield from part["hconcat"]
        else:
            yield part


# Letters


def _set_letters(node: Any, letters: float) -> None:
    """Every text in the same size, those in expressions apart."""
    if isinstance(node, list):
        for one in node:
            _set_letters(one, letters)
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name in _SIZES and isinstance(value, int | float):
            node[name] = letters
        elif name not in ("params", "data", "transform"):
            _set_letters(value, letters)
    if "config" in node:
        title = node["config"].setdefault("title", {})
        title |= {"fontSize": letters, "subtitleFontSize": letters}


def _break_title(part: Part, width: float, constants: Part, letters: float) -> None:
    """The lines of a title, each of its paragraphs broken anew."""
    title = part.get("title")
    if not title:
        return
    title = part["title"] = title if isinstance(title, dict) else {"text": title}
    for name in ("text", "subtitle"):
        said = title.get(name, [])
        if isinstance(said, dict):
            said = constants[said["expr"]]
        lines = [said] if isinstance(said, str) else said
        room = width * (BOLD if name == "text" else 1)
        broken = [line for one in _paragraphs(lines) for line in _lines(one, room, letters)]
        title[name] = broken
    title |= {"anchor": "start"}


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Lines that were broken because the next word had no room are put together again."""
    from attnviz.charts.steps import LINE as n_characters

    paragraph, last = "", ""
    for line in lines:
        if last and len(last) + 1 + len(line.split(" ")[0]) > n_characters:
            paragraph += f" {line}"
        else:
            if paragraph:
                yield paragraph
            paragraph = line
        last = line
    yield paragraph


def _lines(paragraph: str, width: float, letters: float) -> Iterator[str]:
    line = ""
    for word in paragraph.split(" "):
        longer = f"{line} {word}" if line else word
        if line and _measured(longer, letters) > width:
            yield line
            longer = word
        line = longer
    yield line


def _measured(line: str, letters: float) -> float:
    """How wide the drawing takes a line to be: all of it in a font that has its rarest sign (‖)."""
    is_plain = all(run.font is not None and run.font.family in PLAIN for run in runs(line))
    return width_of(line, letters) * (1 if is_plain else WIDER)


# Sizes


def _set_height(part: Part, letters: float) -> None:
    if isinstance(part.get("height"), dict):
        part["height"]["step"] = max(part["height"]["step"], round(LINE * letters))


def _fit(part: Part, room: float, constants: Part, letters: float, *, is_narrow: bool) -> None:
    """Give the part's cells the room that there is."""
    if "hconcat" in part:
        _fit_columns(part, room, constants, letters, is_narrow=is_narrow)
        return
    part["width"] = max(LEAST, room)
    for layer in part["layer"]:
        _fit_names(layer, room, constants, letters)
        _fit_legend(layer, room, is_narrow=is_narrow)
        _know_width(layer, room)


def _fit_columns(
    part: Part, room: float, constants: Part, letters: float, *, is_narrow: bool
) -> None:
    """Columns that are made of letters shrink with them; the widest takes what is left.

    Names stand where those of a matrix do: to the left of their place.
    """
    columns = part["hconcat"]
    if is_narrow:
        columns = [one for one in columns if not one.get("name", "").startswith(ASIDE)]
    widest = max(columns, key=lambda one: one["width"])
    for one in columns:
        is_of_names = one is columns[0]
        one["width"] = 1 if is_of_names else round(one["width"] * letters / SCREEN)
    spacing = letters / 2
    others = sum(one["width"] + spacing for one in columns if one is not widest)
    widest["width"] = max(LEAST, room - others)
    for one in columns:
        _break_title(one, one["width"], constants, letters)
    for layer in widest.get("layer", []):
        _fit_legend(layer, widest["width"], is_narrow=is_narrow)
    part |= {"hconcat": columns, "spacing": spacing}


def _beside(part: Part, constants: Part, letters: float) -> float:
    """About how wide the names of the rows and their title are."""
    if "hconcat" in part:
        return NAMES * letters
    axis = next((one for one in _axes(part, "y")), None)
    if axis is None:
        return 0
    names = _named(axis, constants) or ["00"]
    longest = max(width_of(str(name), letters) for name in names)
    title = LINE * letters if axis.get("title") else 0
    shown = min(longest, float(axis.get("labelLimit", longest)))
    return shown + LABEL_PADDING + title


def _axes(part: Part, channel: str) -> Iterator[Part]:
    for layer in part.get("layer", []):
        axis = layer.get("encoding", {}).get(channel, {}).get("axis")
        if axis:
            yield axis


def _named(axis: Part, constants: Part) -> list[str]:
    """The names that an axis has, where they are a constant."""
    known = _LABELS.fullmatch(axis.get("labelExpr", ""))
    return constants.get(known[1], []) if known else []


def _fit_names(layer: Part, room: float, constants: Part, letters: float) -> None:
    encoding = layer.get("encoding", {})
    axis = encoding.get("x", {}).get("axis")
    if not axis:
        return
    names = _named(axis, constants)
    if names:
        longest = max(width_of(name, letters) for name in names)
        is_flat = longest + letters / 2 <= room / len(names)
        axis |= {"labelAngle": 0 if is_flat else -90}
        axis |= {"labelBaseline": "alphabetic" if is_flat else "middle"}
        axis["labelAlign"] = "center" if is_flat else "left"
        if not is_flat:
            axis["values"] = _thinned([*range(len(names))], int(room / (1.1 * letters)))
    elif axis.get("values"):
        widest = CHARACTER * letters * 4
        axis["values"] = _thinned(axis["values"], int(room / widest))


def _thinned(values: list[Any], at_most: int) -> list[Any]:
    every = 1
    while len(values) > max(1, at_most) * every:
        every *= 2
    return values[::every]


def _fit_legend(layer: Part, room: float, *, is_narrow: bool) -> None:
    legend = layer.get("encoding", {}).get("color", {}).get("legend")
    if legend and is_narrow:
        legend |= {"orient": "bottom", "direction": "horizontal"}
        legend["gradientLength"] = min(110, room)


def _know_width(layer: Part, room: float) -> None:
    """Numbers in cells ask how wide the whole is, which a part of a figure does not know."""
    if not isinstance(layer["mark"], dict):
        return
    for name in ("text", "fontSize"):
        own = layer["mark"].get(name)
        if isinstance(own, dict):
            own["expr"] = _WIDTH.sub(f"{room:.6g}", own["expr"])
