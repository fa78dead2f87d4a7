"""What stands below a figure: all that it takes to make it again."""

from attnviz.results import Trace
from attnviz.screens import Screen
from attnviz.sentences import changes
from attnviz.tokens import shown
from attnviz.wording import plain, ranges, token_at

LONGEST_TEXT = 300  # characters of a text, in a caption


def caption(screen: Screen, trace: Trace, *, is_changed: bool = False) -> str:
    """Model, revision, layer, head, text, and whatever else decides the picture, as sentences.

    Of a picture that shows what the screen's change makes of the head, also what is changed.
    """
    sentences = [_model(screen, trace), *_texts(screen, trace)]
    if screen.view != "model":
        sentences += _pair(screen, trace)
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
    if screen.view != "model":
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


def _pair(screen: Screen, trace: Trace) -> list[str]:
    queries, keys = trace.tokens_of(screen.layer, screen.kind)
    is_from = screen.view != "heads" or screen.focus == "query"
    is_to = screen.view != "heads" or screen.focus == "key"
    ends = []
    if screen.query is not None and is_from:
        ends.append(f"from {plain(token_at(queries.labels, screen.query))}")
    if screen.key is not None and is_to:
        ends.append(f"to {plain(token_at(keys.labels, screen.key))}")
    return [f"Followed: {' '.join(ends)}"] if ends else []
