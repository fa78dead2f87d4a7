"""What each measure of a head is, in a sentence, with its formula, unit, range and source."""

from dataclasses import dataclass, replace
from math import inf

WEIGHTED = "wv_"  # what the names of measures of ‖w·v‖ begin with


@dataclass(frozen=True)
class Measure:
    """One number about a head: what it is called, and what it means, in a sentence."""

    name: str  # of its column in `measures`
    title: str
    unit: str
    formula: str  # w are the weights, i a query, j a key
    meaning: str
    lowest: float
    highest: float  # inf where the text's length decides
    source: str


_CONFIDENCE = "Voita et al. 2019, “Analyzing Multi-Head Self-Attention”"
_LOOKS = "Clark et al. 2019, “What Does BERT Look At?”"
_FAR = "Vig & Belinkov 2019, “Analyzing the Structure of Attention in a Transformer”"
_SINKS = "Xiao et al. 2023, “Efficient Streaming Language Models with Attention Sinks”"
_NORMS = "Kobayashi et al. 2020, “Attention is Not Only a Weight”"
_INDUCTION = "Olsson et al. 2022, “In-context Learning and Induction Heads”"

_OF_WEIGHTS = (
    Measure(
        "entropy",
        "entropy",
        "bits",
        "−Σⱼ sᵢⱼ·log₂ sᵢⱼ with sᵢⱼ = wᵢⱼ / Σⱼ wᵢⱼ, the mean of all i",
        "how evenly a query spreads its weights: 0 where one key has all, log₂ n where n keys "
        "share equally",
        0,
        inf,
        _LOOKS,
    ),
    Measure(
        "distance",
        "mean distance",
        "tokens",
        "Σᵢⱼ wᵢⱼ·|j − i| / Σᵢⱼ wᵢⱼ",
        "distance from a query to its keys, averaged with the weights",
        0,
        inf,
        _FAR,
    ),
    Measure(
        "offset",
        "mean signed distance",
        "tokens",
        "Σᵢⱼ wᵢⱼ·(j − i) / Σᵢⱼ wᵢⱼ",
        "signed distance from a query to its keys, averaged with the weights: negative where heads "
        "attend to earlier tokens, positive where they attend to later ones",
        -inf,
        inf,
        f"after {_FAR}",
    ),
    Measure(
        "self",
        "share on itself",
        "",
        "wᵢᵢ, the mean of all i",
        "the weight that a query gives to its own token",
        0,
        1,
        _LOOKS,
    ),
    Measure(
        "previous",
        "share on the previous token",
        "",
        "wᵢⱼ with j = i − 1, the mean of all i",
        "the weight that a query gives to the token before it; the first query has none",
        0,
        1,
        _LOOKS,
    ),
    Measure(
        "next",
        "share on the next token",
        "",
        "wᵢⱼ with j = i + 1, the mean of all i",
        "the weight that a query gives to the token after it; the last query has none",
        0,
        1,
        _LOOKS,
    ),
    Measure(
        "first",
        "share on the first token",
        "",
        "wᵢ₀, the mean of all i",
        "the weight that a query gives to the first token",
        0,
        1,
        _SINKS,
    ),
    Measure(
        "special",
        "share on special tokens",
        "",
        "Σⱼ wᵢⱼ of all special j, the mean of all i",
        "the weight that a query gives to all special tokens together",
        0,
        1,
        _LOOKS,
    ),
    Measure(
        "punctuation",
        "share on punctuation",
        "",
        "Σⱼ wᵢⱼ of all j that are punctuation, the mean of all i",
        "the weight that a query gives to tokens made of punctuation marks alone",
        0,
        1,
        _LOOKS,
    ),
)

_OF_NORMS = tuple(
    replace(
        measure,
        name=f"{WEIGHTED}{measure.name}",
        title=f"{measure.title}, of ‖w·v‖",
        formula=measure.formula.replace("wᵢ", "rᵢ") + "; rᵢⱼ = ‖wᵢⱼ·vⱼ‖ / Σⱼ ‖wᵢⱼ·vⱼ‖",
        meaning=f"{measure.meaning}, with the norm of weight times value in place of the weight",
        source=f"after {_NORMS}, with v before W_O",
    )
    for measure in _OF_WEIGHTS
)

MEASURES = (
    *_OF_WEIGHTS,
    *_OF_NORMS,
    Measure(
        "largest",
        "largest weight",
        "",
        "maxⱼ wᵢⱼ, the mean of all i",
        "the weight that a query gives to its strongest key",
        0,
        1,
        _CONFIDENCE,
    ),
    Measure(
        "agreement",
        "agreement with the mean head",
        "",
        "Σⱼ min(wᵢⱼ, w̄ᵢⱼ), the mean of all i; w̄ is the mean of the layer's heads",
        "how much of a query's attention this head and the mean head of the layer give alike: "
        "where rows sum to 1, 1 minus the total variation distance",
        0,
        1,
        "attnviz",
    ),
    Measure(
        "output",
        "share of ‖output‖",
        "",
        "‖oᵢ‖ / Σ ‖oᵢ‖ of all heads of the layer, the mean of all i; oᵢ is the update of i · W_O",
        "the norm of a head's share of the layer's output, over the sum of all heads' norms",
        0,
        1,
        f"after {_NORMS}",
    ),
    Measure(
        "induction",
        "induction score",
        "",
        "wᵢⱼ with j = i − n + 1, the mean of all i of the second of two equal runs of n random "
        "tokens",
        "on a repeated random sequence, the weight that a token gives to the token that followed "
        "it the first time",
        0,
        1,
        _INDUCTION,
    ),
)

# Those of a text; an induction score is of a random sequence.
MEASURED = tuple(measure.name for measure in MEASURES if measure.name != "induction")
