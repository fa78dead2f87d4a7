"""Texts of any number of tokens; each word is one, and two are the model's own marks."""

import itertools
import random

TEXT = (
    "time flies like an arrow and fruit flies like a banana but the old man in the boat saw a "
    "light on the hill and the dog ran to the river before the sun went down over the small town"
)
N_MARKS = 2


def text_of(n_tokens: int) -> str:
    """A text of so many tokens."""
    words = itertools.cycle(TEXT.split())
    return " ".join(itertools.islice(words, n_tokens - N_MARKS))


def texts_of(n_tokens: int, n_texts: int) -> list[str]:
    """Different texts of so many tokens each, the same ones every time."""
    drawn = random.Random(0)
    words = TEXT.split()
    return [" ".join(drawn.choices(words, k=n_tokens - N_MARKS)) for _ in range(n_texts)]
