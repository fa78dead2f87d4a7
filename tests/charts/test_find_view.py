"""The find view: each cell is its head's weight, each rank the table's."""

import numpy as np
import pandas as pd
import pytest
import torch

import attnviz
from attnviz import export, heads
from attnviz.charts.find import find_figure, find_view, strongest, takeaway
from tests.support import marks, tiny_models

PAIR = 2, 5  # flies, arrow


@pytest.fixture(scope="module")
def table(sentence_trace):
    return heads.linking(sentence_trace, *PAIR)


@pytest.fixture(scope="module")
def table_over_texts(sentence_trace, minilm):
    other = attnviz.trace(*minilm, "fruit flies like a banana")
    return heads.linking_over([(sentence_trace, *PAIR), (other, *PAIR)])


def made_up(n_layers, n_heads, largest=0.9):
    """A table with weights that fall by the same step from head to head."""
    n = n_layers * n_heads
    return pd.DataFrame(
        {
            "kind": "self",
            "layer": np.repeat(np.arange(n_layers), n_heads),
            "head": np.tile(np.arange(n_heads), n_layers),
            "weight": np.linspace(largest, 0, n),
            "rank": np.arange(1, n + 1),
        }
    )


def texts_in(chart):
    """All that is written in the picture."""
    svg = export.to_svg(chart, outlines=False)
    return [part.split("<")[0] for part in svg.split(">") if "</text" in f"<{part}"]


def test_every_head_is_a_cell_with_its_weight_and_rank(table):
    sent = find_figure(table).constants
    drawn = pd.DataFrame({name: sent[f"tile_{name}"] for name in ("layer", "head", "rank")})
    pd.testing.assert_frame_equal(drawn, table[["layer", "head", "rank"]])
    np.testing.assert_array_equal(sent["tile_weight"], table["weight"])
    assert [sent["row_names"][row] for row in sent["tile_row"]] == [
        f"layer {layer}" for layer in table["layer"]
    ]
    assert (sent["limit"], sent["framed"]) == (1, -1)


def test_weights_and_the_first_ten_ranks_are_written_into_the_cells(table):
    groups = [[one.text for one in group] for _, group in marks.groups(find_view(table).to_dict())]
    weights, ranks = groups[1], groups[2]
    assert weights == [f"{weight:.2f}" for weight in table["weight"]]
    assert ranks == [str(rank) for rank in range(1, 11)]


def test_several_texts_are_coloured_by_their_mean_and_say_how_often(table_over_texts):
    figure = find_figure(table_over_texts, 5, 11)
    for name in ("mean", "spread", "n_first", "n_texts", "rank"):
        np.testing.assert_array_equal(figure.constants[f"tile_{name}"], table_over_texts[name])
    first = table_over_texts.iloc[0]
    assert (first["layer"], first["head"], first["n_first"], first["n_texts"]) == (5, 11, 2, 2)
    assert figure.constants["framed"] == 0
    assert "among the first 10 in 2 of 2 texts" in figure.description
    specification = figure.to_dict()
    (legend,) = [
        layer["encoding"]["color"]["legend"]
        for layer in specification["layer"]
        if "color" in layer["encoding"]
    ]
    assert legend["title"] == "mean weight over the texts"
    ((tooltip),) = [
        layer["encoding"]["tooltip"]
        for layer in specification["layer"]
        if layer.get("name") == "tiles"
    ]
    assert [one["field"] for one in tooltip][3:] == ["mean", "spread", "rank", "among"]


@pytest.mark.parametrize(
    ("largest", "limit"),
    [
        (1, 1),
        (0.51, 1),
        (0.5, 0.5),
        (0.3, 0.5),
        (0.02, 0.02),
        (0.0021, 0.005),
        (9e-5, 1e-4),
        (0, 1),
    ],
)
def test_colours_end_at_1_or_the_next_round_number_and_the_chart_says_so(largest, limit):
    figure = find_figure(made_up(3, 4, largest))
    assert figure.constants["limit"] == limit
    (note,) = figure.constants["note"]
    assert ("colours end at" in note) == (limit != 1)
    if limit != 1:
        assert f"colours end at {limit:g}, not at 1" in note


def test_the_strongest_are_the_first_by_rank(table):
    assert strongest(table.sample(frac=1, random_state=0)).equals(table.head(10))
    assert len(strongest(table, 3)) == 3


def test_what_is_to_be_seen_is_said_in_words(table):
    said = takeaway(table)
    assert said.startswith("Find view: 72 heads in 6 layers. The largest weights: layer 5, head 11")
    assert all(f"layer {one.layer}, head {one.head} (" in said for one in table[:3].itertuples())


def test_a_click_reports_the_head(table):
    params = {p["name"]: p for p in find_view(table).to_dict()["params"]}
    assert params["opened"]["select"]["fields"] == ["kind", "layer", "head"]


def test_layers_keep_the_models_own_numbers_and_kinds_their_own_rows():
    model = tiny_models.build("bart")
    ids, target = torch.tensor([[5, 17, 33, 8, 2]]), torch.tensor([[2, 9, 11]])
    trace = attnviz.trace_inputs(model, {"input_ids": ids, "decoder_input_ids": target})
    table = heads.linking(trace, 1, 1)
    sent = find_figure(table, 0, 1, kind="cross").constants
    rows = [(sent["row_kinds"][row], sent["row_names"][row]) for row in sent["tile_row"]]
    assert rows == [(one.kind, f"{one.kind} {one.layer}") for one in table.itertuples()]
    framed = table.iloc[sent["framed"]]
    assert (framed["kind"], framed["layer"], framed["head"]) == ("cross", 0, 1)
    gaps = made_up(2, 3).assign(layer=lambda one: one["layer"] * 4 + 3)
    assert find_figure(gaps).constants["row_names"] == ["layer 3", "layer 7"]


def test_layers_may_have_different_numbers_of_heads():
    table = made_up(2, 4).query("layer == 0 or head < 2")
    written = texts_in(find_view(table))
    assert sum(part.startswith("0.") for part in written) >= 6
    assert {"layer 0", "layer 1", "3"} <= set(written)


@pytest.mark.parametrize("display_mode", ["light", "dark"])
def test_a_thousand_heads_are_sent_in_less_than_200_kb_and_drawn(display_mode):
    view = find_view(made_up(32, 32), layer=31, head=31, display_mode=display_mode)
    assert len(view.to_json(indent=None)) < 200_000
    written = texts_in(view)
    assert {"layer 31", "10"} <= set(written)
    assert not any("0.9" in part for part in written)  # there is no room for weights


def test_a_weight_that_is_no_number_has_no_colour_and_no_number():
    table = made_up(2, 3)
    table.loc[2:, "weight"] = [np.nan, np.inf, 0.1, -np.inf]
    figure = find_figure(table)
    assert figure.constants["tile_weight"][2:] == [None, None, 0.1, None]
    assert figure.constants["limit"] == 1
    export.to_svg(find_view(table))
    all_nan = table.assign(weight=np.nan)
    assert find_figure(all_nan).constants["tile_weight"] == [None] * 6
    export.to_svg(find_view(all_nan))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"index": []}, {"layer": 0}, "framed by its layer and its number"),
        ({"index": []}, {"layer": 0, "head": 99}, "no layer 0 with a head 99"),
        ({"index": []}, {"display_mode": "blue"}, "no display mode 'blue'"),
        ({"columns": "weight"}, {}, "has no weights of heads"),
        ({"columns": "rank"}, {}, "has no weights of heads"),
        ({"index": list(range(72))}, {}, "A table of 0 rows"),
    ],
)
def test_what_is_not_there_is_refused(table, change, options, said):
    with pytest.raises(attnviz.InputError, match=f"{said}.*\n\nHint: "):
        find_view(table.drop(**change), **options)


def test_a_kind_with_a_hostile_name_is_no_code():
    evil = "</script>\"'+alert(1)+'\n"
    table = pd.concat([made_up(1, 2), made_up(1, 2).assign(kind=evil, rank=[3, 4])])
    specification = find_view(table).to_dict()
    sent = [p for p in specification["params"] if p["name"] in ("row_names", "row_kinds")]
    for parameter in sent:
        assert evil in "".join(parameter.pop("value"))
    specification.pop("description")
    assert "alert" not in str(specification)
    export.to_svg(find_view(table))
