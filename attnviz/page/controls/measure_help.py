"""Measures of heads as the page calls and defines them."""

from attnviz.heads.definitions import MEASURES
from attnviz.text.phrases import escaped

TITLES = {measure.name: measure.title for measure in MEASURES}


def defined(name: str) -> str:
    """What a measure is, in a sentence, with its unit, its formula and where it comes from."""
    measure = next(one for one in MEASURES if one.name == name)
    unit = f", in {measure.unit}" if measure.unit else ""
    title = measure.title[0].upper() + measure.title[1:]
    return (
        f"{title}{unit}: {escaped(measure.meaning)}. Formula: {escaped(measure.formula)}. "
        f"Source: {escaped(measure.source)}."
    )
