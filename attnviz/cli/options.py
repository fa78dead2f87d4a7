"""What can be asked for in a shell. Nothing heavy is imported, so that a mistake is told at once.

The choices are written out for that reason; a test holds them against those of the rooms that
have them.
"""

import argparse
import math
import re
from collections.abc import Sequence
from typing import NoReturn

from attnviz.text.characters import shown
from attnviz.text.version import VERSION

VIEWS = ("steps", "neurons", "heads", "model", "find", "compare")
LARGE = ("maximum", "mean", "window")
FOCUS = ("all", "query", "key")
_OF_WEIGHTS = (
    *("entropy", "distance", "offset", "self", "previous", "next", "first", "special"),
    "punctuation",
)
MEASURES = (
    *_OF_WEIGHTS,
    *(f"wv_{name}" for name in _OF_WEIGHTS),
    *("largest", "agreement", "output", "induction"),
)
FIND_BY = ("pair", "measures")
DTYPES = ("float32", "float64", "bfloat16", "float16")
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

Layers, heads and positions count from 0. A token is named by its position, or as it is written
where the text has it once. The exit status is 0, 1 for what cannot be shown, 2 for a mistake in
the options.
"""


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for, an attribute for each option; by default in the process's own arguments.

    Ends the process, with a sentence and the exit status 2, for what cannot be asked for.
    """
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.arrays is None:
        if asked.text is None:
            parser.error("no text is given; it stands first, in quotation marks")
        return asked
    if asked.text is not None:
        parser.error("a text and --from are given; arrays of a file have no text")
    for name in ("model", "revision", "device", "dtype", "pair", "target"):
        if getattr(asked, name) is not None:
            parser.error(f"--{name} and --from are given; arrays of a file have no model")
    return asked


def _parser() -> argparse.ArgumentParser:
    made = _Parser(
        prog="attnviz",
        usage="attnviz TEXT [options]\n       attnviz --from FILE.npz [options]",
        description="How one attention head of a transformer works, with the model's own numbers.",
        epilog=_EXAMPLES,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "text", metavar="TEXT", nargs="?", help="what the model reads; - for standard input"
    )
    made.add_argument("--version", action="version", version=f"attnviz {VERSION}")
    _add_model(made.add_argument_group("model and texts"))
    _add_head(made.add_argument_group("what is shown"))
    _add_views(made.add_argument_group("how it is shown"))
    _add_find(made.add_argument_group("find: which head links --query to --key, or does what"))
    _add_compare(made.add_argument_group("compare: the head A with another one, B"))
    _add_filters(made.add_argument_group("filters, of all views but steps"))
    _add_change(made.add_argument_group("what if, in steps: the head with something changed"))
    _add_files(made.add_argument_group("what comes out"))
    return made


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", metavar="NAME", help="a name on the Hub, or a folder")
    group.add_argument("--revision", metavar="NAME", help="a commit, branch or tag of it")
    group.add_argument("--device", metavar="NAME", help="cpu (default), cuda, cuda:1 …")
    group.add_argument("--dtype", choices=DTYPES, help="precision; default float32")
    group.add_argument("--pair", metavar="TEXT", help="the second text of a sentence pair")
    group.add_argument("--target", metavar="TEXT", help="what an encoder-decoder's decoder reads")
    group.add_argument(
        "--from",
        dest="arrays",
        metavar="FILE.npz",
        help="show arrays q, k, v and perhaps mask, without a model",
    )


def _add_head(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--kind", metavar="KIND", help="self; or encoder, decoder, cross")
    group.add_argument("--layer", metavar="N", type=_whole, help="default: the first")
    group.add_argument("--head", metavar="N", type=_whole, help="default: 8, or 0 of fewer")
    group.add_argument(
        "--view", choices=VIEWS, help="default: steps, or neurons where there are filters"
    )
    group.add_argument("--query", metavar="TOKEN", help="the token that attends")
    group.add_argument("--key", metavar="TOKEN", help="the token that is attended to")


def _add_views(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dark", action="store_true", help="light on dark")
    group.add_argument(
        "--columns", action="store_true", help="steps: a query's column sums to 1, not its row"
    )
    group.add_argument(
        "--large",
        choices=LARGE,
        default="maximum",
        help="steps: matrices beyond 40 tokens as blocks of this, or as the window around the pair",
    )
    group.add_argument("--lines-only", action="store_true", help="neurons: without the dimensions")
    group.add_argument(
        "--sort-dimensions",
        action="store_true",
        help="neurons: by their share of the score of --query and --key",
    )
    group.add_argument(
        "--asked", action="store_true", help="neurons: who attends to --key, not what --query does"
    )
    group.add_argument(
        "--heads", metavar="N", nargs="+", type=_whole, help="heads: those that are on"
    )
    group.add_argument(
        "--focus", choices=FOCUS, help="heads: all lines, or those of --query or --key alone"
    )
    group.add_argument(
        "--first-query",
        metavar="N",
        type=_whole,
        help="neurons, heads: where the queries shown of a long text begin; default: near --query",
    )
    group.add_argument("--first-key", metavar="N", type=_whole, help="the same of the keys")
    group.add_argument(
        "--measure",
        metavar="M",
        choices=MEASURES,
        default="entropy",
        help=f"model: the number of each head: {', '.join(MEASURES)}",
    )
    group.add_argument("--sort-heads", action="store_true", help="model: by that number")


def _add_find(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--find-by", choices=FIND_BY, default="pair", help="default: pair")
    group.add_argument(
        "--texts", metavar="TEXT", nargs="+", default=[], help="more texts with the same two tokens"
    )
    group.add_argument(
        "--x", metavar="M", choices=MEASURES, default="entropy", help="a measure, as for --measure"
    )
    group.add_argument("--y", metavar="M", choices=MEASURES, default="distance", help="another")
    group.add_argument(
        "--colour",
        metavar="M",
        choices=("layer", "head", *MEASURES),
        default="layer",
        help="layer (default), head or a measure",
    )
    group.add_argument("--size", metavar="M", choices=MEASURES, help="a measure")


def _add_compare(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--other-text", metavar="TEXT", help="of B; default: the same")
    group.add_argument("--other-model", metavar="NAME", help="of B; texts are compared by words")
    group.add_argument("--other-layer", metavar="N", type=_whole, help="of B")
    group.add_argument("--other-head", metavar="N", type=_whole, help="of B")
    group.add_argument(
        "--align-queries",
        metavar="PAIRS",
        help="which tokens are compared, places in A and B: '0-0 1-2'",
    )
    group.add_argument("--align-keys", metavar="PAIRS", help="the same of the keys")


def _add_filters(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--hide-special", action="store_true", help="without [CLS], [SEP] …")
    group.add_argument("--hide", metavar="TOKEN", nargs="+", default=[], help="without these")
    group.add_argument(
        "--segments",
        metavar="AB",
        type=_segments,
        help="of a pair: queries of the first letter's text, keys of the second's: AA AB BA BB",
    )
    group.add_argument(
        "--renormalise", action="store_true", help="what is left of each row sums to 1 again"
    )
    group.add_argument("--words", action="store_true", help="words instead of pieces")
    group.add_argument(
        "--top", metavar="N", type=_whole, help="lines to the N strongest keys of each query"
    )
    group.add_argument(
        "--share", metavar="X", type=_number, help="lines that make up this share, 0 to 1"
    )


def _add_change(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--scaling", metavar="X", type=_number, help="another factor; 1 switches scaling off"
    )
    group.add_argument(
        "--temperature", metavar="X", type=_number, help="divides what the softmax is given"
    )
    group.add_argument(
        "--mask-keys", metavar="TOKEN", nargs="+", default=[], help="hidden from every query"
    )
    group.add_argument(
        "--causal",
        action=argparse.BooleanOptionalAction,
        help="hide, or show, keys that come after their query",
    )
    group.add_argument(
        "--zero-dimensions",
        metavar="N",
        nargs="+",
        type=_whole,
        default=[],
        help="dimensions of q and k that are left out of every score",
    )


def _add_files(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-o",
        dest="files",
        metavar="FILE",
        action="append",
        default=[],
        help="write a file, as its name ends; may be given several times. The view: "
        f"{' '.join(FIGURES)}, or .html, which answers the pointer. The head's numbers: "
        f"{' '.join(DATA)}. The code that does the same: .py. Without it a summary is printed",
    )
    group.add_argument("--json", action="store_true", help="print the summary as JSON")
    group.add_argument(
        "--width", metavar="W", type=_width, help="of a figure: one or two columns, or millimetres"
    )
    group.add_argument("--scale", metavar="X", type=_number, default=2.0, help="of .png: default 2")
    group.add_argument("--transparent", action="store_true", help="a figure without background")
    group.add_argument("--no-caption", action="store_true", help="a figure without caption")
    group.add_argument("--text", action="store_true", dest="as_text", help=".svg: text as text")
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
        raise argparse.ArgumentTypeError(f"{text!r} is none of AA, AB, BA, BB")
    return "AB".index(letters[0]), "AB".index(letters[1])


def _width(text: str) -> str | float:
    return text if text in COLUMNS else _number(text)
