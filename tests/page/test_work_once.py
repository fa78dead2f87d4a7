"""What is done once and not again, counted: forward passes, structures, drawings, closed views."""

import json
import sys
from collections import Counter

import pytest
from altair.utils import schemapi
from torch.nn.modules.module import register_module_forward_pre_hook

from attnviz.charts.parts.figure import Figure
from attnviz.page.service import loading
from attnviz.page.views import model
from tests.benchmarks.texts import text_of
from tests.support.showing import charts, constants, run

# By the view, the rooms of its figures.
ROOMS = {
    "Steps": {"overview", "matrix"},
    "Neurons": {"neurons"},
    "Heads": {"heads"},
    "Model": {"model"},
    "Find": {"find"},
    "Compare": {"compare"},
}
VIEWS = tuple(ROOMS)
HEADS = ((0, 3), (4, 11), (5, 2))


@pytest.fixture
def opened(page):
    """The page at a link."""

    def open_at(view, n_tokens=7):
        page.query_params["text"] = text_of(n_tokens)
        page.query_params["view"] = view
        return run(page)

    return open_at


@pytest.fixture
def computed():
    """How many parts of models have computed since this is there."""
    counts = Counter()
    handle = register_module_forward_pre_hook(lambda *_: counts.update(["parts of models"]))
    yield counts
    handle.remove()


@pytest.fixture
def made(monkeypatch):
    """The rooms of `charts` whose figures were made, once for each."""
    rooms, begin = [], Figure.__init__

    def noted(figure, *arguments, **options):
        rooms.append(sys._getframe(1).f_globals["__name__"].removeprefix("attnviz.charts."))
        begin(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "__init__", noted)
    return rooms


@pytest.fixture
def built(monkeypatch):
    """The parts of Altair charts that were built."""
    parts, begin = [], schemapi.SchemaBase.__init__
    monkeypatch.setattr(
        schemapi.SchemaBase,
        "__init__",
        lambda part, *given, **options: parts.append(part) or begin(part, *given, **options),
    )
    return parts


def choose(page, **places):
    for control, place in places.items():
        page.selectbox(key=control).select(place)
    return run(page)


def turn_to(page, view):
    page.session_state["view"] = view
    return run(page)


def specifications(page):
    """What the browser compares: as long as both stay the same, it keeps its drawing."""
    return [(e.proto.spec, e.proto.alt) for e in page.get("vega_lite_chart")]


# Forward passes


def test_a_text_passes_through_the_model_once_whatever_is_looked_at(opened, computed):
    loading.trace.cache_clear()
    page = opened("Steps", 12)
    n_parts = computed.total()
    assert n_parts > 6
    page.session_state["other_text"] = ""  # what is compared is another head of the same text
    for view in (*VIEWS, "Steps"):
        turn_to(page, view)
        choose(page, layer=4, head=11)
        if view != "Model":
            choose(page, query=3, key=9)
    choose(page, layer=0, head=8, query=2, key=5)
    page.toggle(key="columns").set_value(True)
    run(page)
    assert computed.total() == n_parts


def test_long_matrices_are_drawn_in_every_way_from_one_pass(opened, computed):
    page = opened("Steps", 64)
    computed.clear()
    for large in ("mean", "window", "maximum"):
        choose(page, large=large, query=50, key=11)
    assert not computed


def test_filters_and_why_and_what_if_need_no_model(opened, computed):
    page = opened("Steps")
    computed.clear()
    for name in ("why_scale", "what_if", "if_unscaled", "table_steps"):
        page.session_state[name] = True
    run(page)
    turn_to(page, "Heads")
    page.toggle(key="hide_special").set_value(True)
    run(page)
    assert not computed


def test_the_text_before_is_still_there(opened, computed):
    loading.trace.cache_clear()
    page = opened("Steps")
    page.text_area(key="text").set_value(text_of(9))
    run(page)
    assert computed
    computed.clear()
    page.text_area(key="text").set_value(text_of(7))
    assert len(constants(run(page))["weights"]) == 7
    assert not computed


# Views


@pytest.mark.parametrize("view", VIEWS)
def test_only_the_open_view_makes_figures_and_each_once(opened, made, view):
    page = opened(view)
    assert set(made) == ROOMS[view]
    assert len(made) == len(charts(page)) == (2 if view == "Steps" else 1)
    made.clear()
    choose(page, layer=3, head=2)
    assert set(made) == ROOMS[view]
    assert len(made) == len(charts(page))


def test_a_view_that_was_left_makes_no_more_figures(opened, made):
    page = opened("Steps")
    for view in ("Heads", "Model", "Neurons"):
        made.clear()
        turn_to(page, view)
        choose(page, head=5)
        assert set(made) == ROOMS[view]


def test_heads_are_measured_once_for_a_text(opened, monkeypatch):
    measured, measures = [], model.measures
    monkeypatch.setattr(
        model, "measures", lambda *given: measured.append(given) or measures(*given)
    )
    loading.trace.cache_clear()
    page = opened("Steps")
    assert not measured
    for view in ("Model", "Heads", "Model"):
        turn_to(page, view)
        choose(page, layer=2)
        choose(page, head=7, layer=0)
    assert len(measured) == 1


# Drawings


@pytest.mark.parametrize("n_tokens", [7, 128])
@pytest.mark.parametrize("view", VIEWS)
def test_another_head_leaves_every_specification_byte_for_byte_the_same(opened, view, n_tokens):
    page = opened(view, n_tokens)
    before = specifications(page)
    seen = [constants(page)]
    for layer, head in HEADS:
        assert specifications(choose(page, layer=layer, head=head)) == before
        seen.append(constants(page))
    assert all(now != then for now, then in zip(seen[1:], seen, strict=False))


@pytest.mark.parametrize("view", ["Steps", "Neurons", "Heads"])
def test_another_head_leaves_every_chart_in_its_place(opened, view):
    """Not the model view's: a click on a thumbnail would stay in it, beside the new frame."""
    page = opened(view)
    before = [element.proto.id for element in page.get("vega_lite_chart")]
    for layer, head in HEADS:
        choose(page, layer=layer, head=head)
        assert [element.proto.id for element in page.get("vega_lite_chart")] == before


@pytest.mark.parametrize("view", VIEWS)
def test_another_head_builds_no_structure(opened, built, view):
    page = opened(view)
    built.clear()
    for layer, head in HEADS:
        choose(page, layer=layer, head=head)
    assert not built


def test_another_pair_builds_no_structure_and_moves_the_frames_alone(opened, built):
    page = opened("Steps", 128)
    choose(page, query=2, key=5)
    before = specifications(page)
    built.clear()
    choose(page, query=70, key=33)
    assert specifications(page) == before
    assert constants(page)["weights_framed_row"] == 70 // 4  # the block that it is in
    assert not built


def matrices(page):
    """The specifications of all matrices, and those without what their places are called."""
    specs = [spec for spec, _ in specifications(page) if '"picked"' in spec]
    unnamed = [json.loads(spec) for spec in specs]
    for spec in unnamed:
        for parameter in spec["params"]:
            if parameter["name"].endswith(("_rows", "_columns", "_note")):
                assert parameter.pop("value")
    return specs, unnamed


def test_another_pair_in_the_exact_window_builds_no_structure_and_leaves_it_the_same(opened, built):
    """Where the window moves, its tokens have other names, which are part of what is compared."""
    page = opened("Steps", 128)
    page.session_state["all_steps"] = True
    choose(page, large="window", query=2, key=5)
    specs, unnamed = matrices(page)
    assert len(specs) == 8  # of nine, without the updates'
    names = constants(page)["weights_rows"]
    built.clear()
    choose(page, query=17, key=11)  # the window stays where it is
    assert matrices(page)[0] == specs
    sent = constants(page)
    assert (sent["weights_framed_row"], sent["weights_framed_column"]) == (17, 11)
    for query, key in ((70, 33), (33, 70), (127, 0)):
        choose(page, query=query, key=key)
        assert matrices(page)[1] == unnamed
        sent = constants(page)
        assert sent["weights_rows"] != names
        framed = sent["weights_framed_row"], sent["weights_framed_column"]
        assert sent["weights_rows"][framed[0]].startswith(f"{query} ")
        assert sent["weights_columns"][framed[1]].startswith(f"{key} ")
    assert not built
