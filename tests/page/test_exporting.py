"""The Export menu: made when it is opened, for every view, and what it keeps meanwhile."""

import ast
import gc
import weakref
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from attnviz.export.screen import Screen
from attnviz.models.bundled import BUNDLED
from attnviz.page.controls import export_parts
from attnviz.page.service import loading
from tests.support.places import PAGE
from tests.support.showing import run

VIEWS = ["Steps", "Neurons", "Heads", "Model", "Find", "Compare"]


def opened(page, view, part, **state):
    for name, value in ({"view": view, "export": True, "export_part": part} | state).items():
        page.session_state[name] = value
    run(page)


def said(page):
    return " ".join(element.value for kind in ("markdown", "caption") for element in page.get(kind))


def codes(page):
    return [element.value for element in page.get("code")]


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_made_before_the_menu_is_opened(page, view, monkeypatch):
    monkeypatch.setattr(export_parts, "_figure", lambda *given: pytest.fail("it was made"))
    page.session_state["view"] = view
    run(page)
    assert not codes(page)


@pytest.mark.parametrize("part", export_parts.PARTS)
@pytest.mark.parametrize("view", VIEWS)
def test_every_part_of_the_menu_opens_in_every_view(page, view, part):
    opened(page, view, part)
    if part == "Code":
        script, command, steps = codes(page)
        ast.parse(script)
        ast.parse(steps)
        assert "attnviz.save(chart" in script
        assert command.startswith(
            "python -m attnviz 'time flies like an arrow' --layer 5 --head 11"
        )
        assert "torch" in steps
    if part == "Link":
        (link,) = codes(page)
        assert f"view={view}" in link or view == "Steps"


@pytest.mark.parametrize("part", export_parts.PARTS)
def test_an_open_menu_keeps_no_trace_in_memory(page, part):
    text = f"an open menu of {part}"
    opened(page, "Neurons", part, text=text)
    kept = weakref.ref(next(t for key, t in loading._traces.items() if key[1] == text))
    opened(AppTest.from_file(PAGE, default_timeout=60), "Neurons", part)  # somebody else
    loading.trace.cache_clear()
    gc.collect()
    assert kept() is None


def test_every_picture_on_the_page_can_be_taken_away(page):
    opened(page, "Steps", "Figure", all_steps=True, what_if=True, if_unscaled=True, why_scale=True)
    (names,) = (box.options for box in page.selectbox if box.key == "export_figure")
    assert names[0] == "All steps"
    for name in (
        "softmax",
        "What each value adds",
        "Weights with and without scaling",
        "Entropy by factor",
        "weights after",
        "Update of flies before and after",
    ):
        assert name in names, names
    assert len(names) == len(set(names))


def test_a_step_that_is_not_open_can_be_taken_away_alone_in_letters_of_a_chosen_size(page):
    opened(page, "Steps", "Figure", step="softmax")
    (names,) = (box.options for box in page.selectbox if box.key == "export_figure")
    assert {"score", "query"} < {*names}
    page.selectbox(key="export_width").set_value(list(export_parts.WIDTHS)[1])
    page.selectbox(key="export_figure").set_value("score: query token by key token")
    run(page)
    page.selectbox(key="export_letters").set_value("9 points")
    run(page)
    assert not page.warning


@pytest.mark.parametrize(
    ("state", "opens"),
    [
        ({"step": "scale"}, "scale: query token by key token"),
        ({"step": "project", "array_1": "key"}, "key: key token by dimension (d_head)"),
        ({"step": "update"}, "What each value adds to the update of the query token"),
        ({"all_steps": True}, "All steps"),
    ],
    ids=str,
)
def test_the_menu_begins_with_the_figure_of_the_open_step(page, state, opens):
    opened(page, "Steps", "Figure", **state)
    assert page.selectbox(key="export_figure").value == opens


def test_the_code_draws_the_open_step_alone_and_makes_the_change(page):
    opened(page, "Steps", "Code", step="scale", what_if=True, if_hidden=["5 arrow"])
    script, command, steps = codes(page)
    assert 'attnviz.steps_view(head, query=2, key=5, step="scaled")' in script
    assert "--step scaled" in command
    assert "is_hidden[:, [5]] = True" in steps


def test_a_link_names_what_the_address_leaves_out(page):
    opened(page, "Steps", "Link", step="score")
    (link,) = codes(page)
    assert parse_qs(link.partition("?")[2]) == {
        "model": [BUNDLED],
        "text": ["time flies like an arrow"],
        "layer": ["5"],
        "head": ["11"],
        "step": ["score"],
        "query": ["2 flies"],
        "key": ["5 arrow"],
    }


ONE_OF_EACH_KIND = (  # a matrix, rows of bands, lines, and numbers before and after
    "softmax: query token by key token",
    "What each value adds to the update of the query token",
    "Entropy by factor",
    "weights after",
)


@pytest.mark.parametrize("are_all", [False, pytest.param(True, marks=pytest.mark.long)])
def test_each_of_them_is_drawn_as_it_stands(page, are_all):
    opened(page, "Steps", "Figure", all_steps=True, what_if=True, if_unscaled=True, why_scale=True)
    names = page.selectbox(key="export_figure").options[1:] if are_all else ONE_OF_EACH_KIND
    page.selectbox(key="export_width").set_value(list(export_parts.WIDTHS)[2])  # draws it
    for name in names:
        page.selectbox(key="export_figure").set_value(name)
        run(page)


def test_a_change_is_in_the_code_and_its_head_among_the_data(page):
    opened(page, "Steps", "Code", what_if=True, if_unscaled=True)
    assert "attnviz.what_if(head, scaling=1" in codes(page)[0]
    page.session_state["export_part"] = "Data"
    run(page)
    assert any("changed by What if?" in control.options for control in page.get("button_group"))


def test_filters_are_in_the_code(page):
    opened(page, "Neurons", "Code", hide_special=True, renormalise=True)
    assert "attnviz.filters.hide_special(trace, renormalise=True)" in codes(page)[0]


def test_where_a_folder_is_on_this_machine_is_not_told(offering, tmp_path):
    from tests.support.tiny_models import save_tiny

    folder = tmp_path / "secret-place" / "tiny"
    save_tiny(folder)
    page = offering(folder)
    for part in export_parts.PARTS:
        opened(page, "Neurons", part)
        shown = said(page) + " ".join(codes(page))
        if part != "Link":  # which names it as the address does
            assert "secret-place" not in shown


@pytest.mark.parametrize(
    ("view", "ending", "part", "name"),
    [
        ("steps", "svg", "", "attnviz-steps-layer1-head2.svg"),
        (
            "steps",
            "pdf",
            "softmax: query by key",
            "attnviz-steps-softmax--query-by-key-layer1-head2.pdf",
        ),
        ("heads", "png", "", "attnviz-heads-layer1.png"),
        ("model", "html", "", "attnviz-model.html"),
        ("neurons", "npz", "", "attnviz-layer1-head2.npz"),
    ],
)
def test_a_files_name_says_what_is_in_it(view, ending, part, name):
    assert export_parts.file_name(Screen("m", "t", 1, 2, view), ending, part) == name
