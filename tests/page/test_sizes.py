"""How much each view sends and draws, counted, from 7 tokens to 1,024.

Bytes are those of the chart elements as they are sent. Marks are counted in what is drawn of them.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import pytest
from streamlit.testing.v1 import AppTest

from attnviz.charts.parts.figure import Figure
from attnviz.models.bundled import BUNDLED
from attnviz.page.service import loading
from tests.benchmarks.views import VIEWS, choices
from tests.support import marks
from tests.support.places import PAGE
from tests.support.showing import run
from tests.support.tiny_models import save_tiny

ANY_VIEW = 1_000_000  # bytes, at any length
SHORT = 100_000  # bytes, of 7 tokens

# What was sent and drawn when this was written: the model, the view, tokens, bytes, marks. The
# bundled model has 6 × 12 heads of 32 dimensions, the one of GPT-2's kind 3 × 12 of 64.
# “Steps, exact” is the timeline with the exact part of large matrices, “all marked” the scatter
# with an area around every head. Compare has another text that is as long.
SENT_AND_DRAWN = [
    ("bundled", "Steps", 7, 32_115, 1_669),
    ("bundled", "Steps", 32, 51_419, 4_962),
    ("bundled", "Steps", 128, 60_881, 6_795),
    ("bundled", "Steps", 512, 71_767, 8_034),
    ("bundled", "Steps, exact", 512, 70_419, 8_034),
    ("bundled", "Neurons", 7, 65_251, 1_021),
    ("bundled", "Neurons", 32, 120_044, 4_496),
    ("bundled", "Neurons", 128, 155_875, 5_643),
    ("bundled", "Neurons", 512, 155_876, 5_643),
    ("bundled", "Heads", 7, 35_710, 232),
    ("bundled", "Heads", 32, 142_807, 932),
    ("bundled", "Heads", 128, 201_365, 1_156),
    ("bundled", "Heads", 512, 201_365, 1_156),
    ("bundled", "Model", 7, 23_490, 165),
    ("bundled", "Model", 32, 76_787, 165),
    ("bundled", "Model", 128, 73_848, 165),
    ("bundled", "Model", 512, 73_818, 165),
    ("bundled", "Find", 7, 12_250, 245),
    ("bundled", "Find", 32, 12_308, 245),
    ("bundled", "Find", 128, 12_309, 245),
    ("bundled", "Find", 512, 12_309, 245),
    ("bundled", "Find by measures", 7, 11_177, 76),
    ("bundled", "Find by measures", 32, 11_177, 76),
    ("bundled", "Find by measures", 128, 11_177, 76),
    ("bundled", "Find by measures", 512, 11_177, 76),
    ("bundled", "Find by measures, all marked", 7, 30_379, 223),
    ("bundled", "Find by measures, all marked", 32, 66_769, 223),
    ("bundled", "Find by measures, all marked", 128, 65_370, 223),
    ("bundled", "Find by measures, all marked", 512, 66_376, 223),
    ("bundled", "Compare", 7, 20_829, 300),
    ("bundled", "Compare", 32, 33_998, 2_031),
    ("bundled", "Compare", 128, 59_314, 4_803),
    ("bundled", "Compare", 512, 59_433, 4_806),
    ("gpt2", "Steps", 7, 35_773, 1_725),
    ("gpt2", "Steps", 128, 74_649, 7_788),
    ("gpt2", "Steps", 1024, 94_605, 9_394),
    ("gpt2", "Steps, exact", 1024, 78_487, 8_614),
    ("gpt2", "Neurons", 7, 73_259, 1_941),
    ("gpt2", "Neurons", 128, 221_597, 10_753),
    ("gpt2", "Neurons", 1024, 221_600, 10_753),
    ("gpt2", "Heads", 7, 35_710, 220),
    ("gpt2", "Heads", 128, 201_404, 1_156),
    ("gpt2", "Heads", 1024, 201_498, 1_156),
    ("gpt2", "Model", 7, 15_298, 90),
    ("gpt2", "Model", 128, 35_061, 90),
    ("gpt2", "Model", 1024, 32_082, 90),
    ("gpt2", "Find", 7, 10_751, 134),
    ("gpt2", "Find", 128, 10_751, 134),
    ("gpt2", "Find", 1024, 10_751, 134),
    ("gpt2", "Find by measures", 7, 9_735, 40),
    ("gpt2", "Find by measures", 128, 9_735, 40),
    ("gpt2", "Find by measures", 1024, 9_735, 40),
    ("gpt2", "Compare", 7, 29_643, 363),
    ("gpt2", "Compare", 128, 96_165, 9_480),
    ("gpt2", "Compare", 1024, 96_284, 9_486),
]
COLUMNS = ("model", "view", "n_tokens", "n_bytes", "n_marks")
# Of these sizes everything is counted every day, of the others in the whole run.
EVERY_DAY = {("bundled", 7), ("bundled", 128)}
# What a link chooses besides.
ADDITIONS = {
    "": {},
    "exact": {"large": "window"},
    "all steps": {"all_steps": "true"},
    "all steps exact": {"all_steps": "true", "large": "window"},
    "all marked": {"area": "-1000,1000,-1000,1000"},
}
# Heads as those of GPT-2, and as many positions; layers and heads as those of BERT-base.
SHAPES = {
    "gpt2": dict(
        model_type="gpt2", n_positions=1024, n_embd=768, n_head=12, n_layer=3, n_inner=768
    ),
    "bert-base": dict(
        model_type="bert",
        hidden_size=768,
        num_attention_heads=12,
        num_hidden_layers=12,
        intermediate_size=64,
    ),
}
MORE_BYTES, MORE_MARKS = 1.3, 1.1  # times what was; beyond it something has grown

# The most marks of a view, of a model with 12 heads of at most 64 dimensions, and why.
MOST_MARKS = {
    # Of the head at a glance x, q, k, v, x′ and the output in 24 × 32 cells, four matrices of pairs
    # in 24 × 24 cells, and 20 tokens: 6,990. Of the open step W and what it makes in 40 × 64 cells
    # each, or one of pairs in 40 × 40, in which a hidden cell is grey and crossed out: 5,120.
    "Steps": 12_200,
    # q of 40 queries, k and q × k of 40 keys, w · v of them and two sums, in 64 cells each:
    # 10,368. For a key a line, a bar, three numbers and two tokens, for a query one, what answers
    # the pointer, and titles: 500.
    "Neurons": 10_900,
    # The 1,200 strongest lines. Two for each of 12 heads and of 80 tokens, and 12 of the legend
    # and the titles.
    "Heads": 1_400,
    # One picture of all thumbnails, two for each of 72 heads, and titles.
    "Model": 170,
    # A cell, its weight and a frame for each of 72 heads: 216. Ten ranks, the names of 6 layers
    # and 12 heads, and a title: 29.
    "Find": 250,
    # A point for each of 72 heads, a ring, what is dragged over and what is dragged: 76. Of the
    # heads in an area at most 48 thumbnails, with two marks and a name each, their picture, its
    # legend and what is said above: 147.
    "Find by measures": 225,
    # Three matrices of pairs in 40 × 40 cells, of which a hidden one is grey and crossed out:
    # 4,800 and at most 9,600. In each a frame around a row and one around a column: 6.
    "Compare": 14_410,
}


@dataclass(frozen=True)
class Seen:
    """A view as it was sent: its charts, and the figures that they were made of."""

    charts: list
    figures: list[Figure]

    @property
    def n_bytes(self):
        return sum(len(chart.SerializeToString()) for chart in self.charts)

    @cached_property
    def marks_by_chart(self):
        return [marks.count(marks.as_sent(chart)) for chart in self.charts]

    @property
    def n_marks(self):
        return sum(self.marks_by_chart)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """What a model is called on a page that offers them all, and takes 1,024 tokens."""
    folder = tmp_path_factory.mktemp("models")

    @cache
    def name_of(model):
        return save_tiny(folder / model, **SHAPES[model]).name if model in SHAPES else BUNDLED

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNVIZ_MODELS", ",".join([BUNDLED, *(str(folder / m) for m in SHAPES)]))
        patch.setenv("ATTNVIZ_MAX_TOKENS", "1024")
        loading.model.cache_clear()
        loading.trace.cache_clear()
        yield name_of
    loading.model.cache_clear()
    loading.trace.cache_clear()


@pytest.fixture(scope="module")
def seen(named):
    """A view of the page at a link, opened once for all tests."""

    @cache
    def opened(model, view, n_tokens):
        page = AppTest.from_file(PAGE, default_timeout=120)
        name, _, addition = view.partition(", ")
        page.query_params.update(choices(name, n_tokens) | ADDITIONS[addition])
        page.query_params["model"] = named(model)
        with pytest.MonkeyPatch.context() as patch:
            figures = noted(patch)
            run(page)
        assert not page.error
        assert not page.warning
        assert f" {n_tokens} tokens" in page.main.caption[0].value
        charts = [element.proto for element in page.get("vega_lite_chart")]
        assert len(charts) == len(figures)
        return Seen(charts, figures)

    return opened


def noted(patch):
    """The figures that are put on the page from now on."""
    figures, with_data = [], Figure.with_data
    patch.setattr(Figure, "with_data", lambda figure: figures.append(figure) or with_data(figure))
    return figures


def cases(*columns):
    """These columns of what was sent and drawn."""
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in SENT_AND_DRAWN]
    return [
        pytest.param(
            *(row[column] for column in columns),
            marks=() if (row["model"], row["n_tokens"]) in EVERY_DAY else pytest.mark.long,
        )
        for row in rows
    ]


# Bytes


@pytest.mark.parametrize(
    ("model", "view", "n_tokens", "was"), cases("model", "view", "n_tokens", "n_bytes")
)
def test_no_view_sends_more_than_it_did(seen, model, view, n_tokens, was):
    assert seen(model, view, n_tokens).n_bytes <= min(ANY_VIEW, MORE_BYTES * was)


@pytest.mark.parametrize("model", ["bundled", pytest.param("bert-base", marks=pytest.mark.long)])
@pytest.mark.parametrize("view", VIEWS)
def test_seven_tokens_are_sent_in_less_than_100_kb(seen, view, model):
    assert seen(model, view, 7).n_bytes < SHORT


@pytest.mark.long
def test_seven_tokens_at_64_dimensions_too(seen):
    assert seen("gpt2", "Neurons", 7).n_bytes < SHORT


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "n_tokens"), [("bundled", 512), ("gpt2", 1024)], ids=["512", "1,024"]
)
@pytest.mark.parametrize("view", VIEWS)
def test_a_long_text_is_not_much_more_than_one_of_128_tokens(seen, view, model, n_tokens):
    long, short = seen(model, view, n_tokens), seen(model, view, 128)
    assert long.n_bytes <= 1.3 * short.n_bytes
    assert long.n_marks <= 1.35 * short.n_marks  # 40 rows of blocks, not 32


# Marks


@pytest.mark.parametrize(
    ("model", "view", "n_tokens", "was"), cases("model", "view", "n_tokens", "n_marks")
)
def test_no_view_draws_more_than_it_did(seen, model, view, n_tokens, was):
    drawn = seen(model, view, n_tokens).n_marks
    assert drawn <= MORE_MARKS * was
    assert drawn <= MOST_MARKS[view.partition(",")[0]]


@pytest.mark.parametrize(("model", "view", "n_tokens"), cases("model", "view", "n_tokens"))
def test_a_figure_knows_how_many_marks_it_has(seen, model, view, n_tokens):
    """Well enough to choose between SVG and canvas: to a tenth, wherever that is the question."""
    shown = seen(model, view, n_tokens)
    for chart, figure, drawn in zip(shown.charts, shown.figures, shown.marks_by_chart, strict=True):
        if max(drawn, figure.n_marks) > figure.most_in_svg / 2:
            assert figure.n_marks == pytest.approx(drawn, rel=0.1)
        is_on_canvas = renderer(chart) == "canvas"
        assert is_on_canvas == (figure.n_marks > figure.most_in_svg)


@pytest.mark.long
@pytest.mark.parametrize("view", ["Steps, all steps", "Steps, all steps exact"])
@pytest.mark.parametrize(("model", "n_tokens", "n"), [("bundled", 512, 11), ("gpt2", 1024, 12)])
def test_a_matrix_knows_it_exactly_but_for_its_frames(seen, view, model, n_tokens, n):
    shown = seen(model, view, n_tokens)
    matrices = [
        (figure.n_marks, drawn)
        for figure, drawn in zip(shown.figures, shown.marks_by_chart, strict=True)
        if "hconcat" not in figure.structure and "given" not in figure.constants
    ]
    assert len(matrices) == n  # x, W, q, k and v, those of pairs, and the output
    for estimated, drawn in matrices:
        assert 0 <= drawn - estimated <= 2


def renderer(chart):
    return marks.as_sent(chart)["usermeta"]["embedOptions"]["renderer"]
