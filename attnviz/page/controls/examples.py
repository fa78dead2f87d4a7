"""Examples: each opens one instructive state of the page and says what to see there.

Layers and heads were chosen by measuring all heads of the model; a test holds what is claimed.
"""

from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from attnviz.models.bundled import BUNDLED as MINILM
from attnviz.models.bundled import DECODER, DECODER_COMMAND
from attnviz.page.controls import sidebar
from attnviz.page.service import loading, settings
from attnviz.text.phrases import escaped

T5 = "google/flan-t5-small"


@dataclass(frozen=True)
class Example:
    """A state of the page; positions count from 0, special tokens among them."""

    title: str  # a verb phrase
    see: str  # Markdown
    text: str
    layer: int
    head: int
    query: int
    key: int
    model: str | None = MINILM  # None: the one that is open
    pair: str = ""
    target: str = ""
    kind: str | None = None
    also: dict[str, Any] = field(default_factory=dict)  # other controls, as links spell them

    @property
    def state(self) -> dict[str, Any]:
        """The value of every control that is not as the page opens."""
        names = ("model", "text", "pair", "target", "kind", "layer", "head", "query", "key")
        return {name: getattr(self, name) for name in names} | self.also


EXAMPLES = (
    Example(
        "See what flies looks for",
        "",  # the page opens so, and says it in its first sentence
        "time flies like an arrow",
        *(5, 11, 2, 5),
    ),
    Example(
        "Open the head of the book's picture",
        "Layer 0, head 8 is the head that the book shows, in *bert-base-uncased*. In another model "
        "the same number is another head.",
        "time flies like an arrow",
        *(0, 8, 2, 5),
        model=None,
    ),
    Example(
        "Resolve an ambiguity: time flies",
        "*flies* gives most of its attention to *time*, its subject: *flies* is a verb here. In "
        "the next example *flies* is an insect, and the same head tells the two apart.",
        "time flies like an arrow",
        *(5, 2, 2, 1),
    ),
    Example(
        "Resolve an ambiguity: fruit flies",
        "The same head as for *time flies*, on nearly the same words: *flies* is an insect here, "
        "not a verb, and gives *fruit* almost no attention.",
        "fruit flies like a banana",
        *(5, 2, 2, 1),
    ),
    Example(
        "Compare time flies with fruit flies",
        "The same head on both sentences, and the difference: the weight from *flies* to *time* / "
        "*fruit* is far smaller where *flies* is an insect, and *[CLS]* gets the rest.",
        "time flies like an arrow",
        *(5, 2, 2, 1),
        also={"view": "Compare", "other_text": "fruit flies like a banana"},
    ),
    Example(
        "Find what a pronoun stands for",
        "*it* gives most of its attention to *animal*, seven words before, and little to *street*, "
        "which is nearer.",
        "the animal did not cross the street because it was too tired",
        *(3, 1, 9, 2),
    ),
    Example(
        "Find which heads know the pronoun",
        "Of all heads, layer 3, head 1, and layer 5, head 11, give the largest weights from *it* "
        "to *animal*. The next gives less than half as much. Click a cell to open its head.",
        "the animal did not cross the street because it was too tired",
        *(0, 8, 9, 2),
        also={"view": "Find"},
    ),
    Example(
        "Match words across two sentences",
        "The model reads both texts as one, joined by [SEP]. *cat* gives most of its attention to "
        "*kitten*, in the other sentence.",
        "the cat sat on the mat",
        *(5, 4, 2, 9),
        pair="a kitten rested on the rug",
    ),
    Example(
        "Watch an attention sink",
        "Nearly every word gives most of its attention to [CLS], but the value of [CLS] is tiny: "
        "step 4 shows how little it adds. Attention to [CLS] changes almost nothing.",
        "the quick brown fox jumps over the lazy dog",
        *(2, 7, 4, 0),
    ),
    Example(
        "Look at the previous token",
        "In step 3c the large weights are just beside the diagonal: every token attends to the one "
        "before it, whatever the words.",
        "the quick brown fox jumps over the lazy dog",
        *(0, 2, 4, 3),
    ),
    Example(
        "Hide the future, as a what-if",
        "This model sees the whole text. **What if?**, below, puts a causal mask on it, as "
        "generative models have: no query sees a later key, and each row is renormalised.",
        "time flies like an arrow",
        *(0, 8, 2, 1),
        also={"what_if": True, "if_causal": "on"},
    ),
    Example(
        "See how a generative model hides the future",
        "This model writes from left to right, so a causal mask hides every later token. *flies* "
        "gives *arrow* nothing; *arrow*, which comes later, gives *flies* most of its attention.",
        "time flies like an arrow",
        *(9, 4, 1, 4),
        model=DECODER,
        also={"step": "mask"},
    ),
    Example(
        "Look at the previous token in a generative model",
        "Every token gives most of its attention to the one before it, whatever the words; the "
        "first token sees only itself.",
        "the quick brown fox jumps over the lazy dog",
        *(16, 0, 4, 3),
        model=DECODER,
        also={"step": "softmax"},
    ),
    Example(
        "Continue a repetition: an induction head",
        "Five words come twice. The second time each gives most of its attention to the word that "
        "followed it the first time: *music* gives it to *cloud*, which comes next again.",
        "the river music cloud stone lamp river music cloud stone lamp",
        *(18, 6, 7, 3),
        model=DECODER,
        also={"step": "softmax"},
    ),
    Example(
        "Complete a sentence with a name",
        "The sentence wants a name next. *to* gives most of its attention to *Mary*, and "
        "little to *John*, who gives the drink.",
        "When Mary and John went to the store, John gave a drink to",
        *(24, 4, 13, 1),
        model=DECODER,
    ),
    Example(
        "Translate, with cross attention",
        "Queries are tokens of the translation, keys are tokens of the source. The button above "
        "the steps opens the head that gives most from *Haus* to *house*.",
        "translate English to German: The house is wonderful.",
        *(0, 0, 2, 6),
        model=T5,
        target="Das Haus ist wunderbar.",
        kind="cross",
    ),
)


def show_menu() -> None:
    """One button an example; those whose model is not on this machine say so."""
    menu = st.popover(
        "Examples", icon=":material/lightbulb:", width="stretch", key="examples", on_change="rerun"
    )
    with menu:
        for place, example in enumerate(EXAMPLES):
            missing = _missing(example.model)
            st.button(
                example.title,
                key=f"example_{place}",
                on_click=_open,
                args=(example,),
                disabled=missing is not None,
                type="tertiary",
            )
            if missing is not None:
                st.caption(missing)


def show_note() -> None:
    """What to see, while the page shows an example's text and head: that which says most of it."""
    shown = [example for example in EXAMPLES if example.see and _is_shown(example)]
    if shown:
        example = max(shown, key=lambda one: len(one.also))
        st.info(f"**{escaped(example.title)}.** {example.see}", icon=":material/lightbulb:")


def _is_shown(example: Example) -> bool:
    return all(
        st.session_state.get(name) == value
        for name, value in example.state.items()
        if value not in (None, "") and name not in ("query", "key")
    )


def _open(example: Example) -> None:
    st.session_state["examples"] = False  # the menu closes
    own = {"model": st.session_state["model"]} if example.model is None else {}
    sidebar.open_state(example.state | own)


def _missing(model: str | None) -> str | None:
    """Why an example cannot be opened now, or None."""
    if model is None:
        return None
    if model not in [offer.name for offer in settings.offers()]:
        return f"Needs {escaped(model)}, which is not offered here."
    if model == DECODER and not loading.is_here(model):
        return f"Needs {escaped(model)}: `{DECODER_COMMAND}`"
    if not loading.is_here(model):
        return f"Needs {escaped(model)}, which is not on this machine: choose it under Model."
    return None
