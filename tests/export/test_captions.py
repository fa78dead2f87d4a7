"""What stands below a figure: the model, the head, the text, and whatever else decides it."""

import pytest

from attnviz.attention.filters import Filters
from attnviz.attention.what_if import Change
from attnviz.export.captions import LONGEST_TEXT, caption
from attnviz.export.screen import Beside, Finding, Screen
from attnviz.heads import Alignment

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
SENTENCE = "time flies like an arrow"


def screen(**shown):
    return Screen(MODEL, SENTENCE, 2, 3, **shown)


def test_it_names_model_revision_layer_head_text_and_tokens(sentence_trace):
    words = caption(screen(view="neurons", query=2, key=5), sentence_trace)
    assert words == (
        f"{MODEL}, revision sha256:53aa511, layer 2, head 3. Text: “{SENTENCE}”. "
        "Selected: from flies to arrow."
    )


@pytest.mark.parametrize(
    ("shown", "has", "lacks"),
    [
        ({"view": "model"}, ["revision"], ["layer", "head ", "Selected"]),
        ({"view": "heads", "focus": "query", "query": 2, "key": 5}, ["from flies"], ["to arrow"]),
        ({"view": "heads", "focus": "all", "query": 2}, ["layer 2"], ["head 3", "Selected"]),
        ({"view": "heads", "heads": (1, 4)}, ["Heads on: 1 and 4 of 12"], []),
        ({"view": "heads", "heads": ()}, ["Heads on: none of 12"], []),
        ({"view": "neurons", "filters": Filters(special=True)}, ["Filters: special tokens"], []),
        ({"view": "steps", "filters": Filters(special=True)}, [], ["Filters"]),
        ({"view": "find", "query": 2, "key": 5}, ["from flies to arrow"], ["layer", "More"]),
        ({"view": "find"}, ["from [CLS] to [CLS]"], ["More texts"]),
        (
            {"view": "find", "find": Finding(texts=tuple("abcdefg"))},
            ["More texts: “a”; “b”; “c”; “d”; “e” and 2 more."],
            ["“f”"],
        ),
        (
            {"view": "find", "find": Finding("measures", x="self", size="output"), "query": 2},
            ["share on itself (x axis), mean distance (y axis), layer (colour), share of ‖output‖"],
            ["Selected"],
        ),
        (
            {"view": "compare", "beside": Beside(head=1), "query": 2},
            ["layer 2, head 3", "from flies.", "Compared with B: layer 2, head 1."],
            ["by words", "by hand"],
        ),
        (
            {"view": "compare", "beside": Beside("gpt2", "b", 4, 5, keys=Alignment(((0, 0),)))},
            ["gpt2, layer 4, head 5, “b”.", "Compared by words.", "aligned by hand."],
            [],
        ),
        ({"view": "steps", "convention": "columns"}, ["Columns sum to 1."], []),
    ],
)
def test_it_says_what_decides_the_picture_and_nothing_else(sentence_trace, shown, has, lacks):
    words = caption(screen(**shown), sentence_trace)
    assert all(part in words for part in has), words
    assert not any(part in words for part in lacks), words


def test_a_picture_of_a_change_says_what_is_changed(sentence_trace):
    changed = screen(change=Change(scaling=1.0))
    words = caption(changed, sentence_trace, is_changed=True)
    assert words.endswith(" Changed: scores are multiplied by 1 instead of 1/√32.")
    assert "Changed" not in caption(changed, sentence_trace)
    assert "Changed" not in caption(screen(), sentence_trace, is_changed=True)


def test_a_long_text_is_cut_and_what_draws_nothing_is_named(sentence_trace):
    long = Screen(MODEL, "a\u202e" + "b" * 500, 0, 8)
    words = caption(long, sentence_trace)
    assert "a<U+202E>b" in words
    assert words.count("b") < LONGEST_TEXT + 20
    assert "…”." in words
