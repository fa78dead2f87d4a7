"""The options of a screen, each once: how the shell, a link and generated code spell it.

What it is where nothing is said, the screen itself has. Nothing heavy is imported here, so that
the shell tells a mistake at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from attnviz.attention.tolerance import TOLERANCE
from attnviz.heads.definitions import MEASURES

View = Literal["steps", "neurons", "heads", "model", "find", "compare"]
VIEWS: tuple[View, ...] = get_args(View)
FindBy = Literal["pair", "measures"]
NAMES = tuple(measure.name for measure in MEASURES)
DTYPES = tuple(dict.fromkeys(("float32", *TOLERANCE)))  # the default first
OF_SCREEN, KEPT = "as a screen has it", "kept"


@dataclass(frozen=True)
class Option:
    """One thing that can be chosen: its name, and how a link and the shell spell it.

    `name` is that of a screen's field, "find.x" of the field `x` of its `find`; what the page alone
    has begins with "page.". `link` is a link's parameter and the key of the page's control, "" of
    what is in no link. `flag` is the shell's, with what it takes: one of the `choices`, or text,
    N a whole number, X a number, TOKEN a position or a name, AB two texts of a pair, PAIRS an
    alignment, … several; what takes nothing `sets` something. `opens` is what the control is set
    to where it shows its default, None where that is no option, KEPT where Reset leaves it.
    """

    name: str
    link: str
    flag: str = ""
    help: str = ""
    choices: tuple[str, ...] = ()
    sets: object = True
    opens: Any = OF_SCREEN
    has_control: bool = True

    @property
    def takes(self) -> str:
        return self.flag.partition(" ")[2].removesuffix("…")

    @property
    def is_many(self) -> bool:
        return self.flag.endswith("…")


# By the headings of the shell's help.
# fmt: off
OPTIONS: Mapping[str, tuple[Option, ...]] = {
    "model and texts": (
        Option("model", "model", "--model NAME", "a name on the Hub, or a folder", opens=None),
        Option("revision", "", "--revision NAME", "a commit, branch or tag of it"),
        Option("device", "device", "--device NAME", "cpu (default), cuda, cuda:1 …", opens=None),
        Option("dtype", "", "--dtype", "precision; default float32", DTYPES),
        Option("pair", "pair", "--pair TEXT", "the second text of a sentence pair", opens=""),
        Option("target", "target", "--target TEXT", "what an encoder-decoder's decoder reads",
               opens=""),
    ),
    "what is shown": (
        Option("kind", "kind", "--kind KIND", "self; or encoder, decoder, cross"),
        Option("layer", "layer", "--layer N", "default: with --head, where the second word, of a "
               "decoder the last token, gives most to another word", opens=None),
        Option("head", "head", "--head N", "default: see --layer", opens=None),
        Option("view", "view", "--view", "default: steps, or neurons where there are filters",
               VIEWS, opens="Steps"),
        Option("query", "query", "--query TOKEN", "the token that attends"),
        Option("key", "key", "--key TOKEN", "the token that is attended to"),
    ),
    "how it is shown": (
        Option("display_mode", "", "--dark", "light on dark", sets="dark"),
        Option("convention", "columns", "--columns",
               "steps: a query's column sums to 1, not its row", sets="columns", opens=False),
        Option("large", "large", "--large", "steps: matrices beyond 40 tokens as blocks of this, "
               "or as the window around the pair", ("maximum", "mean", "window")),
        Option("is_expanded", "dimensions", "--lines-only", "neurons: without the dimensions",
               sets=False),
        Option("is_sorted", "sorted", "--sort-dimensions",
               "neurons: by their share of the score of --query and --key"),
        Option("is_asked", "asked", "--asked",
               "neurons: who attends to --key, not what --query does"),
        Option("heads", "heads", "--heads N…", "heads: those that are on"),
        Option("focus", "lines", "--focus", "heads: all lines, or those of --query or --key alone",
               ("all", "query", "key")),
        Option("first_query", "", "--first-query N", "neurons, heads: where the queries shown of a "
               "long text begin; default: near --query"),
        Option("first_key", "", "--first-key N", "the same of the keys"),
        Option("measure", "measure", "--measure M",
               f"model: the number of each head: {', '.join(NAMES)}", NAMES),
        Option("is_by_measure", "by_measure", "--sort-heads", "model: by that number"),
    ),
    "find: which head links --query to --key, or does what": (
        Option("find.by", "find_by", "--find-by", "default: pair", get_args(FindBy)),
        Option("find.texts", "texts", "--texts TEXT…", "more texts with the same two tokens",
               opens=""),
        Option("find.x", "x", "--x M", "a measure, as for --measure", NAMES),
        Option("find.y", "y", "--y M", "another", NAMES),
        Option("find.colour", "colour", "--colour M", "layer (default), head or a measure",
               ("layer", "head", *NAMES)),
        Option("find.size", "size", "--size M", "a measure", NAMES),
    ),
    "compare: the head A with another one, B": (
        Option("beside.text", "other_text", "--other-text TEXT", "of B; default: the same",
               opens="fruit flies like a banana"),
        Option("beside.model", "other_model", "--other-model NAME",
               "of B; texts are compared by words"),
        Option("beside.layer", "other_layer", "--other-layer N", "of B"),
        Option("beside.head", "other_head", "--other-head N", "of B"),
        Option("beside.queries", "aligned_queries", "--align-queries PAIRS",
               "which tokens are compared, places in A and B: '0-0 1-2'",
               opens="", has_control=False),
        Option("beside.keys", "aligned_keys", "--align-keys PAIRS", "the same of the keys",
               opens="", has_control=False),
    ),
    "filters, of all views but steps": (
        Option("filters.special", "hide_special", "--hide-special", "without [CLS], [SEP] …"),
        Option("filters.hidden_keys", "hidden", "--hide TOKEN…", "without these", opens=[]),
        Option("filters.segments", "segments", "--segments AB", "of a pair: queries of the first "
               "letter's text, keys of the second's: AA AB BA BB", opens="all"),
        Option("filters.renormalise", "renormalise", "--renormalise",
               "what is left of each row sums to 1 again"),
        Option("filters.words", "words", "--words", "words instead of pieces"),
        Option("filters.top", "top", "--top N", "lines to the N strongest keys of each query",
               opens="all"),
        Option("filters.share", "share", "--share X", "lines that make up this share, 0 to 1",
               opens="all"),
    ),
    "what if, in steps: the head with something changed": (
        Option("change.scaling", "if_factor", "--scaling X",
               "another factor; 1 switches scaling off"),
        Option("change.temperature", "if_temperature", "--temperature X",
               "divides what the softmax is given", opens=1.0),
        Option("change.hidden_keys", "if_hidden", "--mask-keys TOKEN…", "hidden from every query",
               opens=[]),
        Option("change.is_causal", "if_causal", "--[no-]causal",
               "hide, or show, keys that come after their query"),
        Option("change.zeroed_dimensions", "if_zeroed", "--zero-dimensions N…",
               "dimensions of q and k that are left out of every score", opens=[]),
    ),
}
# fmt: on
# Without a flag: what the shell reads first, and what is on the page alone.
OTHERS = (
    Option("text", "text", opens="time flies like an arrow"),
    Option("page.step", "step", opens="softmax"),
    Option("page.all_steps", "all_steps", opens=False),
    Option("page.talk", "talk", opens=KEPT),
    Option("page.why_scale", "why_scale", opens=False),
    Option("page.what_if", "what_if", opens=False),
    Option("page.if_unscaled", "if_unscaled", opens=False),
    Option("page.area", "area", opens=(), has_control=False),
)
EVERY = (*(option for group in OPTIONS.values() for option in group), *OTHERS)

# Which of them a view's function is given beside tokens and colours, as it calls them.
_OF_HEAD = {"layer": "layer", "head": "head"}
_FIRSTS = {"first_query": "first_query", "first_key": "first_key"}
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "steps": {"convention": "convention", "large": "large"},
    "neurons": {
        "expanded": "is_expanded",
        "sort_dimensions": "is_sorted",
        "asked": "is_asked",
        **_FIRSTS,
    },
    "heads": {"layer": "layer", "kind": "kind", "heads": "heads", "framed": "head", **_FIRSTS},
    "model": {"kind": "kind", "measure": "measure", "is_sorted": "is_by_measure", **_OF_HEAD},
    "find": _OF_HEAD,
    "find measures": {
        **{axis: f"find.{axis}" for axis in ("x", "y", "colour", "size")},
        **_OF_HEAD,
    },
    "compare": {},
}
