"""What each step says about one query and one key token, in sentences made from the numbers.

Markdown, with a token in italics; `attnviz.text.phrases.plain` takes the markup off.
"""

from collections.abc import Callable, Sequence

import numpy as np

from attnviz.attention import masks
from attnviz.attention.explained.shares import value_shares
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Convention, Step, scaling_factor, softmax_input
from attnviz.attention.what_if import Change
from attnviz.text.phrases import escaped, fixed, number, ordinal, percent, ranges, token, token_at

# By a step's number: its headline, and what happens, with the term after the plain word.
# {row}, {rows} and {columns} are those of the convention in use.
_HEADLINES = {
    "in": "Token embeddings",
    "1": "1 · Project each embedding into query, key and value",
    "1b": "1b · Rotate each query and key by its position",
    "2": "2 · Score every query against every key",
    "3a": "3a · Scale the scores",
    "cap": "3a · Cap large scores",
    "bias": "3a · Add a bias",
    "3b": "3b · Mask the keys that a query must not see",
    "3c": "3c · Softmax: turn scores into weights",
    "4": "4 · Update: mix the values by their weights",
    "beyond": "Beyond the four steps: this head's share of the output",
}
# The first is what is said in a talk, too.
_EXPLANATIONS = {
    "in": (
        "The input of the attention module: one row of numbers for each token (its embedding, x).",
        "Shown after any layer norm that precedes attention.",
    ),
    "1": (
        "Three learned matrices turn each row of x into what the token looks for (query, q), what "
        "it offers to be matched against (key, k) and what it passes on (value, v).",
        "",
    ),
    "1b": (
        "Each query and key is rotated, two dimensions at a time, by angles that grow with its "
        "token's position (rotary embedding, R).",
        "The score of a query and a key then depends on how far apart the two tokens are.",
    ),
    "2": (
        "How well does one token's query match another token's key? Multiply q and k dimension by "
        "dimension, and add up (dot product, score).",
        "{Rows} are queries, {columns} are keys.",
    ),
    "3a": (
        "Dot products grow with the dimension. One constant factor (scaling) brings them back to a "
        "range in which the softmax can spread weight over several keys.",
        "",
    ),
    "cap": (
        "tanh keeps every score below a limit (soft-cap), so that no key outgrows all others.",
        "",
    ),
    "bias": (
        "The model adds a number to each score (bias). It depends on the positions of the two "
        "tokens, in some models also on their content.",
        "",
    ),
    "3b": (
        "Some keys are hidden from a query, such as later tokens or padding (mask).",
        "",
    ),
    "3c": (
        "Take exp of each score and divide it by the sum over all keys of its query (softmax). "
        "These are the weights, w. Every {row} sums to 1{sink}.",
        "",
    ),
    "4": (
        "Multiply each token's value by its weight, and add up: the update x′ of a query is the "
        "weighted sum of all values.",
        "",
    ),
    "beyond": (
        "This head's part of the output projection (W_O) maps x′ back to the size of x.",
        "The shares of all heads and any bias add up to the output of that projection.",
    ),
}
# By a step's name, or by its number.
_LOOK_FOR = {
    "in": "columns of one colour: dimensions with similar values for all tokens, if any.",
    "1": "columns of one colour in q, k or v: a dimension with the same value for all tokens does "
    "not tell them apart.",
    "1b": "columns that look as they did before: dimensions that rotate slowly, or not at all.",
    "2": "a {column} of one colour: a key that every query scores high, or low.",
    "scaled": "the same pattern as before; only the ends of the legend change.",
    "capped": "the strongest colours: large scores change most.",
    "bias": "stripes along the diagonal, or columns: a bias that depends on position alone. "
    "Without such a pattern it depends on the words, too.",
    "biased": "cells that have another colour than before: the bias is large there.",
    "3b": "hatched cells: hidden keys, which get no weight at all.",
    "3c": "one strongly coloured cell in a {row}: nearly all weight on one key. A {row} of one "
    "shade: equal weights. A strongly coloured {column}: a key that many queries attend to{sink}.",
    "4": "rows that look alike: queries with similar weights get similar updates.",
    "beyond": "columns of one colour: dimensions in which this head changes all tokens alike.",
}
_UNCHANGED = "no change from the picture before."
_ADDED = "cells that have another colour than before: the mask adds a number there."
# In the picture of the values that make up one update, not of all updates.
LOOK_FOR_IN_SHARES = (
    "a long bar of w beside a short bar of ‖w·v‖: a large weight on a small value adds little. "
    "Keys are sorted by ‖w·v‖, the largest first."
)


def headline(number: str) -> str:
    """What is done in the steps with this number."""
    return _HEADLINES[number]


_GIVEN = (
    "What each token looks for (query, q), what it offers to be matched against (key, k) and what "
    "it passes on (value, v), as given. The arrays that they were computed from are unknown."
)


def explanation(
    head: HeadTrace, number: str, convention: Convention = "rows", *, is_short: bool = False
) -> str:
    """What happens in the steps with this number, in words."""
    row, column = _lines(convention)
    first, more = _EXPLANATIONS[number]
    if number == "1" and head.x_query is None:
        first, more = _GIVEN, ""
    elif number == "1" and not is_short:
        more = _projected(head)
    return (first if is_short else f"{first} {more}".rstrip()).format(
        row=row,
        Rows=f"{row.capitalize()}s",
        columns=f"{column}s",
        sink=", together with the head's sink" if head.sink_logits is not None else "",
    )


def _projected(head: HeadTrace) -> str:
    """What stands in the formulas of q, k and v, but for x and W."""
    origins = [head.origins.get(letter) for letter in "qkv"]
    known = [origin for origin in origins if origin is not None]
    words = ["b is a bias."] if any(origin.has_bias for origin in known) else []
    if any(origin.is_normed for origin in known):
        words.append("The norm is part of the module.")
    if len(known) < 3:
        words.append(
            "f stands for all that the module computes from x: projections, and any norms or "
            "factors of its own."
        )
    if head.q_before_rotary is not None:
        words.append("A tilde marks q and k before the rotary embedding.")
    return " ".join(words)


def look_for(head: HeadTrace, step: Step, convention: Convention = "rows") -> str:
    """What is worth finding in the picture of a step."""
    row, column = _lines(convention)
    words = _LOOK_FOR.get(step.name) or _LOOK_FOR[step.number]
    if step.name == "masked" and not head.is_masked.any():
        words = _ADDED if head.has_mask else _UNCHANGED
    elif step.name == "scaled" and head.scaling == 1:
        words = _UNCHANGED
    sink = "" if step.sink is None else ", or the sink: attention that goes to no token"
    return words.format(row=row, column=column, sink=sink)


def no_mask(head: HeadTrace) -> str:
    """One line for a mask that changes nothing; empty for any other."""
    return "" if head.has_mask else "3b · No mask: every query may attend to every key."


def _lines(convention: Convention) -> tuple[str, str]:
    """What holds one query, and what one key."""
    return ("row", "column") if convention == "rows" else ("column", "row")


def sentence(head: HeadTrace, step: Step, query: int, key: int) -> str:
    """What a step means for a query and a key token, one or two sentences, as Markdown."""
    if step.is_hidden is not None and head.is_meaningless[query]:
        return _meaningless(head, query)
    return _SENTENCES[step.name](head, step, query, key)


def _meaningless(head: HeadTrace, query: int) -> str:
    name = token_at(head.query_tokens, query)
    if head.query_is_padding is not None and head.query_is_padding[query]:
        return f"{name} is padding: nothing reads its row, and the numbers in it mean nothing."
    return (
        f"Every key is hidden from {name}: nothing is left to attend to, and the numbers in its "
        "place mean nothing."
    )


# Embeddings and projections


def _embedding(head: HeadTrace, step: Step, query: int, key: int) -> str:
    return f"The embedding of {_row_of(head, step, query, key)}: {_numbers(step, query, key)}."


def _q(head: HeadTrace, step: Step, query: int, key: int) -> str:
    if step.number == "1b":
        return _turned(head.q_before_rotary, step, query, token_at(head.query_tokens, query))
    return f"The query of {token_at(head.query_tokens, query)}: {_numbers(step, query, key)}."


def _k(head: HeadTrace, step: Step, query: int, key: int) -> str:
    if step.number == "1b":
        return _turned(head.k_before_rotary, step, key, token_at(head.key_tokens, key))
    said = f"The key of {token_at(head.key_tokens, key)}: {_numbers(step, query, key)}."
    return said + _shared(head, "key")


def _turned(all_before: np.ndarray | None, step: Step, row: int, name: str) -> str:
    assert all_before is not None
    before, after = all_before[row].astype(np.float64), step.array[row].astype(np.float64)
    what = {"q": "query", "k": "key"}[step.name]
    lengths = np.linalg.norm(before), np.linalg.norm(after)
    if not all(lengths):
        return f"The {what} of {name} is zero, and stays zero when rotated."
    # From the difference of the directions, for a cosine cannot tell small angles apart.
    half = np.linalg.norm(after / lengths[1] - before / lengths[0]) / 2
    angle = np.degrees(2 * np.arcsin(min(float(half), 1.0)))
    if angle < 0.05:
        turned = f"The {what} of {name} is not rotated"
    else:
        turned = f"The {what} of {name} is rotated by {fixed(angle, 1)}° in all"
    if np.isclose(*lengths, rtol=5e-3):
        return f"{turned}; its norm stays {number(lengths[1])}."
    return f"{turned}; its norm goes from {number(lengths[0])} to {number(lengths[1])}."


def _v(head: HeadTrace, step: Step, query: int, key: int) -> str:
    said = f"The value of {token_at(head.key_tokens, key)}: {_numbers(step, query, key)}."
    return said + _shared(head, "value")


def _shared(head: HeadTrace, what: str) -> str:
    """Which heads read the same keys or values, where several do."""
    if len(head.readers) < 2:
        return ""
    return f" Heads {ranges(head.readers)} share this {what}: key/value head {head.key_value_head}."


def _row_of(head: HeadTrace, step: Step, query: int, key: int) -> str:
    is_of_key = step.axes[0] == "key_pos"
    return token(head.key_tokens[key] if is_of_key else head.query_tokens[query])


def _numbers(step: Step, query: int, key: int) -> str:
    row = step.array[key if step.axes[0] == "key_pos" else query]
    largest = int(np.abs(row).argmax())
    return (
        f"{len(row)} numbers, norm {number(np.linalg.norm(row))}; the largest in magnitude is "
        f"{number(row[largest])}, in dimension {largest}"
    )


# From scores to weights


def _scores(head: HeadTrace, step: Step, query: int, key: int) -> str:
    row = head.scores[query]
    highest, lowest = int(row.argmax()), int(row.argmin())
    place = 1 + int((row > row[key]).sum())
    query_name, key_name = token_at(head.query_tokens, query), token_at(head.key_tokens, key)
    if len(row) == 1:
        return f"{query_name} scores {number(row[key])} with {key_name}, the only key."
    if row[highest] == row[lowest]:
        return f"{query_name} scores the same with every key: {number(row[key])}."
    sentence = (
        f"{query_name} scores highest with {token_at(head.key_tokens, highest)}, "
        f"{number(row[highest])}, and lowest with {token_at(head.key_tokens, lowest)}, "
        f"{number(row[lowest])}."
    )
    if head.is_masked[query, highest]:
        sentence = f"{sentence[:-1]}; the mask will hide the highest."
    if key in (highest, lowest):
        return sentence
    return f"{sentence} {key_name} comes {ordinal(place)} of {len(row)}, with {number(row[key])}."


def _scaled(head: HeadTrace, step: Step, query: int, key: int) -> str:
    if head.scaling == 1:
        return (
            "Nothing changes: this head multiplies its scores by 1. Any scaling is already in its "
            "queries and keys."
        )
    if head.scores.size == 1:
        return f"Scaling multiplies the only score by {_factor(head)}."
    return (
        f"Multiplying by {_factor(head)} brings the standard deviation of all scores from "
        f"{number(head.scores.std())} to {number(head.scaled.std())}. The order of the keys stays "
        "the same."
    )


def _factor(head: HeadTrace) -> str:
    """The factor as everywhere, and as a number where that is another."""
    factor = scaling_factor(head)
    return f"{factor} = {number(head.scaling)}" if "√" in factor else factor


def _capped(head: HeadTrace, step: Step, query: int, key: int) -> str:
    cap = number(head.softcap or 0)
    change = np.abs(head.capped - head.scaled)
    return (
        f"The soft-cap keeps every score within ±{cap}: the largest score, "
        f"{number(head.scaled.max())}, becomes {number(head.capped.max())}. No score changes by "
        f"more than {number(change.max())}."
    )


def _bias(head: HeadTrace, step: Step, query: int, key: int) -> str:
    assert head.bias is not None
    seen = np.flatnonzero(~head.is_masked[query])
    row, name = head.bias[query], token_at(head.query_tokens, query)
    if not len(seen):
        return f"All keys are hidden from {name}."
    largest = seen[int(row[seen].argmax())]
    if row[largest] == row[seen].min():
        return f"For {name} the bias is {number(row[largest])} with every key that it sees."
    said = f"For {name} the bias is largest with {token_at(head.key_tokens, largest)}, "
    said += number(row[largest])
    if head.is_masked[query, key] or largest == key:
        return f"{said}."
    return f"{said}; with {token_at(head.key_tokens, key)} it is {number(row[key])}."


def _biased(head: HeadTrace, step: Step, query: int, key: int) -> str:
    seen = np.flatnonzero(~head.is_masked[query])
    name = token_at(head.query_tokens, query)
    if not len(seen):
        return f"All keys are hidden from {name}."
    before, after = (seen[int(x[query][seen].argmax())] for x in (head.capped, head.biased))
    said = (
        f"With the bias {name} scores highest with {token_at(head.key_tokens, after)}, "
        f"{number(head.biased[query, after])}"
    )
    if before == after:
        return f"{said}, as without it."
    return f"{said}; without it, with {token_at(head.key_tokens, before)}."


def _masked(head: HeadTrace, step: Step, query: int, key: int) -> str:
    return f"{_hidden(head, query, key)}{_rule(head)}{_sink_logit(head, query)}"


def _hidden(head: HeadTrace, query: int, key: int) -> str:
    """How many keys are hidden from a query, and why."""
    query_name, key_name = token_at(head.query_tokens, query), token_at(head.key_tokens, key)
    if not head.is_masked.any():
        adds = " Still, the mask adds a number to some scores." if _adds(head) else ""
        return f"Nothing is hidden here: every query sees every key.{adds}"
    n_keys = len(head.key_tokens)
    codes = head.hiding.codes[query]
    n_hidden = int((codes > 0).sum())
    if not n_hidden:
        return f"{query_name} sees all {n_keys} keys; other queries do not."
    keys = f"{n_hidden} of {n_keys} keys {'is' if n_hidden == 1 else 'are'} hidden"
    kinds = np.unique(codes[codes > 0])
    reasons = ", ".join(f"{(codes == kind).sum()} {_WHY[kind]}" for kind in kinds)
    why = f": {reasons}"
    if len(kinds) == 1:
        why = f", {'' if n_hidden == 1 else 'all '}{_WHY[kinds[0]]}"
    of_key = "is one of them" if codes[key] else "is not"
    if codes[key] and len(kinds) > 1:
        of_key += f", {_WHY[codes[key]]}"
    return f"{keys} from {query_name}{why}; {key_name} {of_key}."


# Why a key is hidden, of one query.
_WHY = {
    masks.LATER: "after it",
    masks.OUTSIDE: "outside its window",
    masks.PADDING: "as padding",
    masks.EVERYWHERE: "from every query",
    masks.OTHER: "by the model's mask",
}
_KINDS = {
    masks.LATER: "after their query",
    masks.OUTSIDE: "outside a window",
    masks.PADDING: "of padding",
    masks.EVERYWHERE: "of keys that no query sees",
    masks.OTHER: "by the model's mask",
}


def _rule(head: HeadTrace) -> str:
    """What the mask hides from all queries, as far as it follows a rule, and how many cells."""
    hiding = head.hiding
    before, after = hiding.before, hiding.after
    rule = ""
    if before is not None and before == after:
        rule = f" Each query sees itself and at most {_n_tokens(before)} on either side."
    elif before is not None and after is not None:
        rule = (
            f" Each query sees itself, at most {_n_tokens(before)} before it and at most "
            f"{_n_tokens(after)} after it."
        )
    elif before is not None:
        rule = f" Each query sees itself and at most the {_n_tokens(before)} before it."
    elif after is not None:
        rule = f" Each query sees itself and at most the {_n_tokens(after)} after it."
    counts = hiding.counts
    if not counts:
        return rule
    cells = ": " + ", ".join(f"{n:,} {_KINDS[code]}" for code, n in counts.items())
    if len(counts) == 1:
        cells = f", all {_KINDS[next(iter(counts))]}"
    n_hidden = sum(counts.values())
    return f"{rule} In all, {n_hidden:,} of {hiding.codes.size:,} cells are hidden{cells}."


def _n_tokens(n: int) -> str:
    return f"{n} token{'' if n == 1 else 's'}"


def _sink_logit(head: HeadTrace, query: int) -> str:
    if head.sink_logits is None:
        return ""
    logit = head.sink_logits[query]
    whose = "every query" if (head.sink_logits == logit).all() else "this query"
    return (
        f" The sink, {number(logit)} for {whose}, is not a token: it "
        "enters the softmax like one more key."
    )


def _adds(head: HeadTrace) -> bool:
    """Whether the mask changes scores that it does not hide."""
    return head.mask is not None and bool((head.mask[~head.is_masked] != 0).any())


def _weights(head: HeadTrace, step: Step, query: int, key: int) -> str:
    query_name, key_name = token_at(head.query_tokens, query), token_at(head.key_tokens, key)
    weights, scores = head.weights[query], head.masked[query]
    seen = np.flatnonzero(~head.is_masked[query])
    first, *others = seen[np.argsort(-scores[seen], kind="stable")]
    most = f"{query_name} gives {percent(weights[first])} of its attention to "
    most += token_at(head.key_tokens, first)
    if not others:
        most += ", the only key it sees."
    else:
        lead = scores[first] - scores[others[0]]
        above = f"{number(lead)} above the next" if lead else "no higher than the next"
        most += (
            f": its {softmax_input(head)} score, {number(scores[first])}, is {above}, "
            f"{token_at(head.key_tokens, others[0])}."
        )
    if key != first:
        gets = "gets none: it is hidden" if head.is_masked[query, key] else "gets"
        gets += "" if head.is_masked[query, key] else f" {percent(weights[key])}"
        most += f" {key_name} {gets}."
    if head.sink_logits is not None:
        most += f" {percent(head.sink[query])} go to no token: the head's sink takes them."
    return most


# The update


def _updated(head: HeadTrace, step: Step, query: int, key: int) -> str:
    norms = head.weights[query] * np.linalg.norm(head.v, axis=1)
    largest = int(norms.argmax())
    total = norms.sum()
    if not total:
        why = "no value gets any weight" if head.v.any() else "every value is zero"
        return f"The update x′ of {token_at(head.query_tokens, query)} is zero: {why}."
    sentence = (
        f"The largest part of the update x′ of {token_at(head.query_tokens, query)} comes from "
        f"{token_at(head.key_tokens, largest)}: its w·v has norm {number(norms[largest])}, "
        f"{percent(norms[largest] / total)} of the sum over all keys."
    )
    if key != largest:
        sentence += f" {token_at(head.key_tokens, key)} adds {percent(norms[key] / total)}."
    return sentence


def _output(head: HeadTrace, step: Step, query: int, key: int) -> str:
    row = step.array[query]
    largest = int(np.abs(row).argmax())
    return (
        f"For {token_at(head.query_tokens, query)} this head adds a row with norm "
        f"{number(np.linalg.norm(row))} to the attention module's output; the largest in magnitude "
        f"is {number(row[largest])}, in dimension {largest} of {len(row)}."
    )


_SENTENCES: dict[str, Callable[[HeadTrace, Step, int, int], str]] = {
    "x_query": _embedding,
    "x_key": _embedding,
    "q_before_rotary": _q,
    "k_before_rotary": _k,
    "q": _q,
    "k": _k,
    "v": _v,
    "scores": _scores,
    "scaled": _scaled,
    "capped": _capped,
    "bias": _bias,
    "biased": _biased,
    "masked": _masked,
    "weights": _weights,
    "updated": _updated,
    "output": _output,
}


def about_row(head: HeadTrace, step: Step, row: int) -> str:
    """What stands above one row of a matrix that is drawn in blocks, as Markdown."""
    label = (head.key_tokens if step.axes[0] == "key_pos" else head.query_tokens)[row]
    return (
        f"Each cell of the matrix stands for several values; the frame marks the block that holds "
        f"{token(label)}. Every value of that row:"
    )


def given_to(head: HeadTrace, query: int, keys: Sequence[int]) -> str:
    """What a query gives to keys that are not shown, as Markdown, without a full stop."""
    given = ", ".join(
        f"{token_at(head.key_tokens, key)} {percent(head.weights[query, key])}" for key in keys
    )
    return f"Of the keys not shown, {token_at(head.query_tokens, query)} gives most to {given}"


def nearest_values(head: HeadTrace, query: int) -> str:
    """Which values the update resembles, and whether weight and share tell the same story."""
    table = value_shares(head, query)
    table = table[~head.is_masked[query][table["key"]]]
    if table.empty or table["cosine"].isna().all():
        return ""
    name = token_at(head.query_tokens, query)
    nearest = table.iloc[int(table["cosine"].fillna(-2).argmax())]
    has_own = head.kind != "cross" and len(head.query_tokens) == len(head.key_tokens)
    is_own = has_own and nearest["key"] == query
    of_nearest = "its own value" if is_own else f"the value of {token(nearest['token'])}"
    text = (
        f"x′ of {name} is closest in direction to {of_nearest} (cosine "
        f"{number(nearest['cosine'])}, distance {number(nearest['distance'])})"
    )
    if has_own and not is_own:
        own = table[table["key"] == query].iloc[0]
        text += (
            f"; to its own value the cosine is {number(own['cosine'])}, the distance "
            f"{number(own['distance'])}"
        )
    heaviest = table.iloc[int(table["weight"].argmax())]
    if heaviest["share"] < heaviest["weight"] / 2:
        text += (
            f". {token(heaviest['token'])} has the largest weight, {percent(heaviest['weight'])}, "
            f"but a small value: it is only {percent(heaviest['share'])} of the sum of all ‖w·v‖"
        )
    return f"{text}."


def no_output(head: HeadTrace) -> str:
    """Why a head has no share of the output, as Markdown."""
    return (
        "This head's share of the output cannot be shown: "
        f"{escaped(head.no_output_because or '')}, so the heads' shares do not simply add up."
    )


def changes(head: HeadTrace, change: Change) -> str:
    """What a change does to a head, in a sentence, as Markdown."""
    done = []
    if change.scaling is not None:
        own, other = scaling_factor(head), f"{change.scaling:.4g}"
        done.append(f"scores are multiplied by {other} instead of {own}")
    if change.temperature is not None:
        done.append(f"the softmax has a temperature of {number(change.temperature)}")
    if change.is_causal is not None:
        done.append(
            f"keys that come after their query are {'hidden' if change.is_causal else 'seen'}"
        )
    if change.hidden_keys:
        named = ", ".join(token_at(head.key_tokens, key) for key in change.hidden_keys)
        done.append(f"hidden from every query: {named}")
    if change.zeroed_dimensions:
        done.append(f"left out of every score: dimension {ranges(change.zeroed_dimensions)}")
    return f"**Changed:** {'; '.join(done)}."


def effect(head: HeadTrace, changed: HeadTrace, query: int) -> str:
    """What a change does to one query's weights and update, in a sentence, as Markdown."""
    name = token_at(head.query_tokens, query)
    if changed.is_masked[query].all():
        return (
            f"Now every key is hidden from {name}: nothing is left for it to attend to, and the "
            "numbers in its place mean nothing."
        )
    before = np.where(head.is_masked[query], 0, head.weights[query])
    after = np.where(changed.is_masked[query], 0, changed.weights[query])
    most = int(np.abs(after - before).argmax())
    text = (
        f"{name} now gives {token_at(head.key_tokens, most)} **{percent(after[most])}** instead of "
        f"{percent(before[most])}, the largest change among its weights."
    )
    own, other = head.updated[query], changed.updated[query]
    norm = float(np.linalg.norm(own))
    moved = float(np.linalg.norm(other - own))
    more = (
        " (over 100\u00a0%: the change is larger than the update was)" if moved > norm > 0 else ""
    )
    lengths = norm * float(np.linalg.norm(other))
    cosine = ""
    if lengths:
        cosine = f"; the cosine of before and after is {number(own @ other / lengths)}"
    text += (
        f" Its update changes by {number(moved)}, {percent(moved / norm if norm else 0.0)} of its "
        f"norm before{more}{cosine}."
    )
    n_empty = int(changed.is_masked.all(axis=1).sum())
    if n_empty:
        queries = "query sees" if n_empty == 1 else "queries see"
        text += f" {n_empty} {queries} no key now."
    return text
