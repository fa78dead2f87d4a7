"""What stands below a figure: all that it takes to make it again."""

from attnviz.attention.explained.sentences import changes
from attnviz.attention.trace import Trace
from attnviz.export.screen import OF_ALL_HEADS, Screen
from attnviz.heads.definitions import MEASURES
from attnviz.text.characters import shown
from attnviz.text.phrases import plain, ranges, token_at

LONGEST_TEXT = 300  # characters of a text, in a caption
MOST_TEXTS = 5


def caption(screen: Screen, trace: Trace, *, is_changed: bool = False) -> str:
    """Model, revision, layer, head, text, and whatever else decides the picture, as sentences.

    Of a picture that shows what the screen's change makes of the head, also what is changed.
    """
    sentences = [_model(screen, trace), *_texts(screen, trace)]
    sentences += _pair(screen, trace)
    sentences += {"find": _found, "compare": _beside}.get(screen.view, _nothing)(screen)
    if screen.view == "heads" and screen.heads is not None:
        n_heads = trace.n_heads(screen.layer, screen.kind)
        if len(screen.heads) < n_heads:
            on = ranges(screen.heads) if screen.heads else "none"
            sentences.append(f"Heads on: {on} of {n_heads}")
    if screen.view != "steps":
        notes = screen.filters(trace).layer(screen.layer, screen.kind).notes
        sentences += [f"Filters: {'; '.join(notes)}"] if notes else []
    elif screen.convention == "columns":
        sentences.append("Columns sum to 1")
    if is_changed and screen.change:
        head = trace.head(screen.layer, screen.head, screen.kind)
        sentences.append(plain(changes(head, screen.change)))
    return " ".join(f"{sentence.rstrip('.')}." for sentence in sentences)


def _model(screen: Screen, trace: Trace) -> str:
    parts = [trace.model_name]
    if trace.revision:
        parts.append(f"revision {trace.revision[:14]}")
    if trace.dtype != "float32":
        parts.append(trace.dtype)
    if len(trace.kinds) > 1:
        parts.append(f"{screen.kind or trace.kinds[0]} attention")
    if screen.view not in OF_ALL_HEADS:
        parts.append(f"layer {screen.layer}")
        if screen.view != "heads":
            parts.append(f"head {screen.head}")
    return ", ".join(parts)


def _texts(screen: Screen, trace: Trace) -> list[str]:
    texts = [("Text", screen.text), ("Second text", screen.pair), ("Target", screen.target)]
    said = [f"{name}: “{_short(text)}”" for name, text in texts if text]
    if trace.target_is_decoded and trace.target_tokens:
        said.append(f"Target, written by the model: {' '.join(trace.target_tokens)}")
    return said


def _short(text: str) -> str:
    return shown(text[:LONGEST_TEXT]) + ("…" if len(text) > LONGEST_TEXT else "")


def _found(screen: Screen) -> list[str]:
    find = screen.find
    if find.by == "pair":
        texts = "; ".join(f"“{_short(text)}”" for text in find.texts[:MOST_TEXTS])
        left = len(find.texts) - MOST_TEXTS
        return [f"More texts: {texts}{f' and {left} more' if left > 0 else ''}"] if texts else []
    shown = {"across": find.x, "up": find.y, "colour": find.colour, "size": find.size}
    titles = {measure.name: measure.title for measure in MEASURES}
    named = ", ".join(f"{titles.get(n, n)} ({what})" for what, n in shown.items() if n)
    return [f"A point a head: {named}"]


def _beside(screen: Screen) -> list[str]:
    """What B is, so far as it is not A."""
    beside, (layer, head) = screen.beside, screen.other_place
    parts = [
        *([beside.model] if beside.model is not None else []),
        f"layer {layer}",
        f"head {head}",
        *([f"“{_short(beside.text)}”"] if beside.text is not None else []),
    ]
    said = [f"B, compared with it: {', '.join(parts)}"]
    if screen.is_by_words:
        said.append("Compared by words")
    if beside.queries is not None or beside.keys is not None:
        said.append("Tokens are aligned by hand")
    return said


def _nothing(screen: Screen) -> list[str]:
    return []


def _pair(screen: Screen, trace: Trace) -> list[str]:
    if screen.view == "model" or (screen.view == "find" and screen.find.by != "pair"):
        return []
    queries, keys = trace.tokens_of(screen.layer, screen.kind)
    query, key = screen.linked if screen.view == "find" else (screen.query, screen.key)
    is_from = screen.view != "heads" or screen.focus == "query"
    is_to = screen.view != "heads" or screen.focus == "key"
    ends = []
    if query is not None and is_from:
        ends.append(f"from {plain(token_at(queries.labels, query))}")
    if key is not None and is_to:
        ends.append(f"to {plain(token_at(keys.labels, key))}")
    return [f"Followed: {' '.join(ends)}"] if ends else []
