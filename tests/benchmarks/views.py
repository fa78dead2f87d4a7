"""What a visitor chooses to see each view of a text of any number of tokens."""

from tests.benchmarks.texts import TEXT, text_of

BY_MEASURES = "Find by measures"
VIEWS = ("Steps", "Neurons", "Heads", "Model", "Find", BY_MEASURES, "Compare")


def choices(view: str, n_tokens: int) -> dict[str, str]:
    """What a link to a view says, with a text of so many tokens and another one for Compare."""
    texts = {"text": text_of(n_tokens), "other_text": other_text_of(n_tokens)}
    if view == BY_MEASURES:
        return texts | {"view": "Find", "find_by": "measures"}
    return texts | {"view": view}


def other_text_of(n_tokens: int) -> str:
    """Another text of so many tokens, which begins with “fruit flies like a banana”."""
    before = TEXT.split().index("fruit")
    return " ".join(text_of(n_tokens + before).split()[before:])
