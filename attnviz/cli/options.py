"""What can be asked for in a shell. Nothing heavy is imported: a mistake is told at once."""

import argparse
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from attnviz.export.options import OPTIONS, Option
from attnviz.text.characters import shown
from attnviz.text.version import VERSION

FIGURES = (".svg", ".pdf", ".png")
DATA = (".npz", ".csv", ".parquet", ".json")
ENDINGS = (*FIGURES, ".html", *DATA, ".py")
COLUMNS = ("one", "two")  # of a paper

_EXAMPLES = """\
examples:
  attnviz "time flies like an arrow"
  attnviz "time flies like an arrow" --layer 0 --head 8 --view neurons -o figure.svg
  attnviz "time flies like an arrow" --query flies --json
  attnviz "one text" --pair "another" --view heads --segments AB --hide-special -o heads.pdf
  attnviz "time flies like an arrow" --temperature 2 -o what_if.svg -o what_if.npz
  attnviz "time flies like an arrow" --view find --query flies --key arrow -o found.svg
  attnviz "time flies like an arrow" --view compare --other-text "fruit flies like a banana"
  attnviz --from arrays.npz -o page.html
  attnviz - < text.txt
  attnviz page --server.port 8502

A first word "page" opens the page in a browser; `attnviz -- page` is about that text.
Layers, heads and positions count from 0. Name a token by its position or, where the text has it
once, by its spelling. Put a token that is a number in quotation marks of its own: --query '"2"'.
The exit status is 0, or 1 if something cannot be shown, or 2 for a mistake in the options.
"""


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for, by default in the process's own arguments.

    An attribute for each option of a screen, called so ("layer", "find.x") and None where it is
    not given, and one for each option of the shell alone. Ends the process, with a sentence and
    the exit status 2, for what cannot be asked for.
    """
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.arrays is None:
        if asked.text is None:
            parser.error("no text is given: put it first, in quotation marks")
        return asked
    if asked.text is not None:
        parser.error("a text and --from are given; arrays of a file have no text")
    for option in OPTIONS["model and texts"]:
        if getattr(asked, option.name) is not None:
            parser.error(f"--{option.name} and --from are given; arrays of a file have no model")
    return asked


def _parser() -> argparse.ArgumentParser:
    made = _Parser(
        prog="attnviz",
        usage="attnviz TEXT [options]\n       attnviz --from FILE.npz [options]\n"
        "       attnviz page [Streamlit's options]",
        description="How one attention head of a transformer works, with the model's own numbers.",
        epilog=_EXAMPLES,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "text",
        metavar="TEXT",
        nargs="?",
        help="the text that the model reads; - for standard input",
    )
    made.add_argument("--version", action="version", version=f"attnviz {VERSION}")
    for heading, options in OPTIONS.items():
        group = made.add_argument_group(heading)
        for option in options:
            _add(group, option)
        if heading == "model and texts":
            group.add_argument(
                "--from",
                dest="arrays",
                metavar="FILE.npz",
                help="show your own arrays q, k, v and optionally mask, without a model",
            )
    _add_files(made.add_argument_group("output"))
    return made


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    flag = option.flag.partition(" ")[0]
    how: dict[str, Any] = {"dest": option.name, "help": option.help}
    if "[no-]" in flag:
        how |= {"action": argparse.BooleanOptionalAction}
    elif not option.takes and not option.choices:
        how |= {"action": "store_const", "const": option.sets}
    else:
        how |= {"metavar": option.takes or None, "choices": option.choices or None}
        how |= {"type": _READ.get(option.takes), "nargs": "+" if option.is_many else None}
    group.add_argument(flag.replace("[no-]", ""), **how)


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-o",
        dest="files",
        metavar="FILE",
        action="append",
        default=[],
        help="write a file; its ending chooses the format; repeat for several files. The view: "
        f"{' '.join(FIGURES)}, or .html, which is interactive. The head's numbers: "
        f"{' '.join(DATA)}. Python code that does the same: .py. Without it a summary is printed",
    )
    group.add_argument("--json", action="store_true", help="print the summary as JSON")
    group.add_argument(
        "--width",
        metavar="W",
        type=_width,
        help="width of a figure: one or two (columns of a paper), or millimetres",
    )
    group.add_argument(
        "--scale", metavar="X", type=_number, default=2.0, help="resolution of .png; default 2"
    )
    group.add_argument(
        "--letters",
        metavar="X",
        type=_number,
        default=8.0,
        help="of a figure of steps with a --width: points, default 8",
    )
    group.add_argument(
        "--weights",
        action="store_true",
        help=".csv: the weights alone, one row per query, one column per key",
    )
    group.add_argument("--transparent", action="store_true", help="a figure without background")
    group.add_argument("--no-caption", action="store_true", help="a figure without caption")
    group.add_argument(
        "--four-steps", action="store_true", help=".py: the head in four steps of plain PyTorch"
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(shown(message))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)


# What the options are given


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return number


def _segments(text: str) -> tuple[int, int]:
    letters = re.sub(r"[\s→>-]", "", text).upper()
    if letters not in ("AA", "AB", "BA", "BB"):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of AA, AB, BA, BB")
    return "AB".index(letters[0]), "AB".index(letters[1])


_READ: Mapping[str, Callable[[str], Any]] = {"N": _whole, "X": _number, "AB": _segments}


def _width(text: str) -> str | float:
    return text if text in COLUMNS else _number(text)
