"""The pair of tokens that is followed until somebody chooses one."""

from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.window import MAX_TOKENS
from attnviz.text.tokens import Tokens


def start_pair(trace: Trace, head: HeadTrace) -> Pair:
    """The text's second word, and the last word that every view shows beside the text's beginning.

    The key is its first word instead where later words are hidden.
    """
    queries, keys = trace.tokens_of(head.layer, head.kind)
    words = _words(keys)
    first, second, *_, last = 2 * ([word for word in words if word < MAX_TOKENS] or words)
    is_causal = head.kind in ("self", "decoder") and bool(head.is_masked[first, second])
    return Pair(_words(queries)[1], first if is_causal else last)


def _words(tokens: Tokens) -> list[int]:
    """The positions of the text's own tokens; at least two, so that a second can be taken."""
    words = [place for place, token in enumerate(tokens) if not token.is_special]
    return words * 2 if len(words) == 1 else words or [0, 0]
