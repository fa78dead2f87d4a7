"""The options of a screen, each once: how the shell, a link and generated code spell it.

What it is where nothing is said, the screen itself has. Nothing heavy is imported here, so that
the shell tells a mistake at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from attnviz.attention.tolerance import TOLERANCE
from attnviz.heads.definitions import MEASURES

View = Literal["steps", "neurons", "heads", "model", "find", "compare", "effect"]
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
        Option("revision", "", "--revision NAME", "a commit, branch or tag of the model"),
        Option("device", "device", "--device NAME", "cpu (default), cuda, cuda:1 …", opens=None),
        Option("dtype", "", "--dtype", "precision; default float32", DTYPES),
        Option("pair", "pair", "--pair TEXT", "the second text of a sentence pair", opens=""),
        Option("target", "target", "--target TEXT", "the input of an encoder-decoder's decoder",
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
        Option("display_mode", "", "--dark", "light text on a dark background", sets="dark"),
        Option("convention", "columns", "--columns",
               "steps: each query is a column that sums to 1", sets="columns", opens=False),
        Option("large", "large", "--large", "steps: matrices beyond 40 tokens in blocks, each "
               "its maximum or mean, or a window around the pair", ("maximum", "mean", "window")),
        Option("step", "", "--step NAME", "steps: a figure of one alone: softmax, score, query …"),
        Option("is_expanded", "dimensions", "--lines-only", "neurons: without the dimensions",
               sets=False),
        Option("is_sorted", "sorted", "--sort-dimensions",
               "neurons: sort dimensions by share of the score of --query and --key"),
        Option("is_asked", "asked", "--asked",
               "neurons: the lines to --key, instead of those from --query"),
        Option("heads", "heads", "--heads N…", "heads: the heads to draw"),
        Option("focus", "lines", "--focus",
               "heads: all lines, or those from --query (default) or to --key alone",
               ("all", "query", "key")),
        Option("first_query", "", "--first-query N", "neurons, heads: the first query shown "
               "of a long text; default: near --query"),
        Option("first_key", "", "--first-key N", "the same for keys"),
        Option("measure", "measure", "--measure M",
               f"model: the number below each head: {', '.join(NAMES)}", NAMES),
        Option("is_by_measure", "by_measure", "--sort-heads", "model: sort heads by that number"),
    ),
    "find: which head links --query to --key, or heads by what they do": (
        Option("find.by", "find_by", "--find-by", "default: pair", get_args(FindBy)),
        Option("find.texts", "texts", "--texts TEXT…", "more texts with the same two tokens",
               opens=""),
        Option("find.x", "x", "--x M", "measure on the x axis, as for --measure", NAMES),
        Option("find.y", "y", "--y M", "measure on the y axis", NAMES),
        Option("find.colour", "colour", "--colour M", "layer (default), head or a measure",
               ("layer", "head", *NAMES)),
        Option("find.size", "size", "--size M", "measure for the size of points", NAMES),
    ),
    "compare: the head A with another one, B": (
        Option("beside.text", "other_text", "--other-text TEXT", "text of B; default: the same",
               opens="fruit flies like a banana"),
        Option("beside.model", "other_model", "--other-model NAME",
               "model of B; texts are compared by words"),
        Option("beside.layer", "other_layer", "--other-layer N", "layer of B"),
        Option("beside.head", "other_head", "--other-head N", "head of B"),
        Option("beside.queries", "aligned_queries", "--align-queries PAIRS",
               "pairs of query tokens to compare, places in A and B: '0-0 1-2'",
               opens="", has_control=False),
        Option("beside.keys", "aligned_keys", "--align-keys PAIRS", "the same for keys",
               opens="", has_control=False),
    ),
    "effect: what the model says, with the head and without it": (
        Option("effect.position", "position", "--position TOKEN",
               "the token whose output answers; default: the last, the mask, or the first target",
               opens=None),
        Option("effect.token", "token", "--token TEXT",
               "the token, or class, to follow; default: the model's first choice", opens=None),
        Option("effect.patch", "patch", "--patch TEXT",
               "take the head's update from this text of as many tokens; default: zeros", opens=""),
        Option("effect.all_heads", "all_heads", "--all-heads", "switch off every head in turn",
               opens="", has_control=False),
    ),
    "filters, of all views but steps and effect": (
        Option("filters.special", "hide_special", "--hide-special", "without [CLS], [SEP] …"),
        Option("filters.hidden_keys", "hidden", "--hide TOKEN…", "without these tokens", opens=[]),
        Option("filters.segments", "segments", "--segments AB", "sentence pair: the "
               "text of the queries, then that of the keys: AA AB BA BB", opens="all"),
        Option("filters.renormalise", "renormalise", "--renormalise",
               "each row is renormalised: it sums to 1 again"),
        Option("filters.words", "words", "--words", "words instead of pieces"),
        Option("filters.top", "top", "--top N", "lines to the N strongest keys of each query",
               opens="all"),
        Option("filters.share", "share", "--share X", "the strongest lines to this share, 0 to 1",
               opens="all"),
    ),
    "what if, in steps: the head with a change": (
        Option("change.scaling", "if_factor", "--scaling X",
               "another factor; 1 switches scaling off"),
        Option("change.temperature", "if_temperature", "--temperature X",
               "divides the input of the softmax", opens=1.0),
        Option("change.hidden_keys", "if_hidden", "--mask-keys TOKEN…", "hidden from every query",
               opens=[]),
        Option("change.is_causal", "if_causal", "--[no-]causal",
               "hide, or show, keys after their query"),
        Option("change.zeroed_dimensions", "if_zeroed", "--zero-dimensions N…",
               "dimensions of q and k to leave out of every score", opens=[]),
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
    "steps": {"convention": "convention", "large": "large", "step": "step"},
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
    "effect": {},
    "effect of all heads": {"kind": "kind", **_OF_HEAD},
}
