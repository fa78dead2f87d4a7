"""The scatter of heads: each point is at its head's own numbers; an area names the heads in it."""

import re

import numpy as np
import pandas as pd
import pytest

import attnviz
from attnviz import export, heads
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.scatter import BRUSHED, brushed, scatter_figure, scatter_view, takeaway
from attnviz.charts.scatter_layers import FADED, OPACITY
from tests.support import marks

NAMES = [measure.name for measure in heads.MEASURES]


@pytest.fixture(scope="module")
def table(sentence_trace):
    return heads.measures(sentence_trace)


def made_up(n_layers, n_heads):
    rng = np.random.default_rng(0)
    n = n_layers * n_heads
    return pd.DataFrame(
        {
            "kind": "self",
            "layer": np.repeat(np.arange(n_layers), n_heads),
            "head": np.tile(np.arange(n_heads), n_layers),
            **{name: rng.random(n) for name in NAMES},
        }
    )


def points(chart):
    """The points that are drawn, as elements."""
    ((_, drawn),) = [
        (name, group) for name, group in marks.groups(chart.to_dict()) if name == "points_marks"
    ]
    return drawn


def numbers(written):
    return [float(part) for part in re.findall(r"[-.\d]+", written)]


def legends(chart):
    specification = chart.to_dict()
    (encoding,) = [
        layer["encoding"] for layer in specification["layer"] if layer.get("name") == "points"
    ]
    return {
        channel: encoding[channel]["legend"]
        for channel in ("fill", "size")
        if "legend" in encoding[channel]
    }


# What is drawn


def test_a_point_is_a_head_at_its_own_numbers(table):
    figure = scatter_figure(table, x="offset", y="output", colour="largest", size="wv_self")
    sent = figure.constants
    assert sent["point_layer"] == table["layer"].tolist()
    assert sent["point_head"] == table["head"].tolist()
    for channel, name in (
        ("x", "offset"),
        ("y", "output"),
        ("colour", "largest"),
        ("size", "wv_self"),
    ):
        np.testing.assert_array_equal(
            np.float32(sent[f"point_{channel}"]), np.float32(table[name]), strict=True
        )
    assert sent["note"] == []
    for channel in ("x", "y"):
        lowest, highest = sent[f"{channel}_ends"]
        assert lowest < min(sent[f"point_{channel}"]) < max(sent[f"point_{channel}"]) < highest


def test_a_point_stands_where_its_axes_say(table):
    chart = scatter_view(table, layer=5, head=11)
    sent = {p["name"]: p.get("value") for p in chart.to_dict()["params"]}
    drawn = points(chart)
    assert len(drawn) == 72
    places = np.array([numbers(point.get("transform")) for point in drawn])
    across, up = (
        (np.array(sent[f"point_{c}"]) - sent[f"{c}_ends"][0]) / np.ptp(sent[f"{c}_ends"])
        for c in ("x", "y")
    )
    width = places[0, 0] / across[0]
    assert 600 < width < 720
    np.testing.assert_allclose(places[:, 0], width * across, atol=0.01)
    np.testing.assert_allclose(places[:, 1], 360 * (1 - up), atol=0.01)


def test_colours_of_signed_measures_are_centred_on_zero(table):
    figure = scatter_figure(table, colour="offset")
    limit = pytest.approx(table["offset"].abs().max())
    assert figure.constants["colour_ends"][1] == limit
    assert figure.constants["colour_ends"][0] == -figure.constants["colour_ends"][1]
    assert figure.constants["colour_named"][1] == 0
    assert legends(figure.chart())["fill"]["title"] == "colour: mean signed distance, tokens"
    unsigned = scatter_figure(table, colour="self").constants
    assert unsigned["colour_ends"] == [0, pytest.approx(table["self"].max())]


@pytest.mark.parametrize("place", ["layer", "head"])
def test_a_colour_may_be_the_layer_or_the_head(table, place):
    figure = scatter_figure(table, colour=place)
    assert figure.constants["point_colour"] == table[place].tolist()
    before, last = figure.constants["colour_ends"]
    assert last == table[place].max()
    assert before <= -1  # so that the first is not as white as the background
    assert set(figure.constants["colour_named"]) <= set(table[place])
    assert legends(figure.chart())["fill"]["title"] == f"colour: {place}"


def test_a_size_is_an_area_and_of_a_signed_measure_its_magnitude(table):
    figure = scatter_figure(table, size="offset")
    assert figure.constants["size_limit"] == pytest.approx(table["offset"].abs().max())
    title = legends(figure.chart())["size"]["title"]
    assert title == "size: mean signed distance, tokens, without its sign"
    assert "size" not in legends(scatter_figure(table).chart())


def test_the_open_head_is_ringed(table):
    assert scatter_figure(table).constants["ringed"] == -1
    sent = scatter_figure(table, 5, 11).constants
    assert (sent["point_layer"][sent["ringed"]], sent["point_head"][sent["ringed"]]) == (5, 11)
    *_, (_, ring) = marks.groups(scatter_view(table, layer=5, head=11).to_dict())
    assert [one.get("transform") for one in ring] == [
        points(scatter_view(table))[sent["ringed"]].get("transform")
    ]


def test_clicks_and_areas_are_reported(table):
    params = {p["name"]: p for p in scatter_figure(table).to_dict()["params"]}
    assert params["opened"]["select"]["fields"] == ["layer", "head"]
    assert params[BRUSHED]["select"]["type"] == "interval"
    assert params[BRUSHED]["select"]["encodings"] == ["x", "y"]


def test_heads_outside_of_the_area_fade(table):
    area = {"x": [1.0, 2.0], "y": [2.0, 2.5]}
    figure = scatter_figure(table, area=area)
    chart = displayed(figure.chart().properties(width=720), "light")
    is_inside = table.index.isin(brushed(table, "entropy", "distance", area).index)
    assert 0 < is_inside.sum() < 72
    opacities = [float(point.get("opacity")) for point in points(chart)]
    np.testing.assert_allclose(opacities, np.where(is_inside, OPACITY, FADED))
    at_rest = [float(point.get("opacity")) for point in points(scatter_view(table))]
    assert set(at_rest) == {OPACITY}
    assert scatter_figure(table).structure["params"] != figure.structure["params"]


# The heads in an area


@pytest.mark.parametrize(
    "selection",
    [
        {"x": [1.0, 2.0], "y": [2.0, 2.5]},
        {"x": [2.0, 1.0], "y": (2.5, 2)},
        {"entropy": [1.0, 2.0], "distance": [2.0, 2.5]},
        {BRUSHED: {"x": [1.0, 2.0], "y": [2.0, 2.5]}, "opened": [{"layer": 0, "head": 8}]},
    ],
)
def test_an_area_names_the_heads_in_it(table, selection):
    inside = table[table["entropy"].between(1, 2) & table["distance"].between(2, 2.5)]
    assert len(inside) > 5
    pd.testing.assert_frame_equal(brushed(table, "entropy", "distance", selection), inside)


def test_both_ends_belong_to_the_area_as_they_are_drawn(table):
    sent = scatter_figure(table).constants
    for index in (0, 17, 71):
        ends = {c: [sent[f"point_{c}"][index]] * 2 for c in ("x", "y")}
        assert index in brushed(table, "entropy", "distance", ends).index


def test_one_measure_may_be_on_both_axes(table):
    inside = brushed(table, "entropy", "entropy", {"x": [0, 2], "y": [1, 3]})
    pd.testing.assert_frame_equal(inside, table[table["entropy"].between(1, 2)])
    export.to_svg(scatter_view(table, x="entropy", y="entropy", colour="entropy", size="entropy"))


@pytest.mark.parametrize(
    "selection",
    [
        {},
        {BRUSHED: {}},
        {BRUSHED: None},
        {BRUSHED: []},
        {"x": [1, 2]},
        {"x": [1], "y": [1, 2]},
        {"x": "12", "y": [1, 2]},
        {"x": [None, 2], "y": [1, 2]},
        {"x": [np.nan, 2], "y": [1, np.inf]},
        {"x": ["</script>", 2], "y": [1, 2]},
    ],
)
def test_what_is_no_area_has_no_heads(table, selection):
    nothing = brushed(table, "entropy", "distance", selection)
    assert len(nothing) == 0
    assert [*nothing.columns] == [*table.columns]
    area = selection if BRUSHED in selection else {BRUSHED: selection}
    assert scatter_figure(table, area=area).structure == scatter_figure(table).structure


def test_a_head_that_has_no_number_is_in_no_area(table):
    some = table.assign(entropy=table["entropy"].where(table["layer"] > 0))
    everything = {"x": [-1e9, 1e9], "y": [-1e9, 1e9]}
    assert (brushed(some, "entropy", "distance", everything)["layer"] > 0).all()


# Numbers of every kind


def test_heads_without_a_number_are_left_out_and_counted(table):
    some = table.copy()
    some.loc[[0, 1], "entropy"] = np.nan
    some.loc[2, "distance"] = np.inf
    sent = scatter_figure(some, 0, 1).constants
    assert len(sent["point_x"]) == 69
    assert sent["note"] == [
        "3 of 72 heads are left out, without entropy or mean distance, among them the selected head"
    ]
    assert len(points(scatter_view(some))) == 69
    some = table.assign(output=table["output"].where(table.index > 0))
    one = scatter_figure(some, y="output")
    assert one.constants["note"] == ["1 of 72 heads is left out, without share of ‖output‖"]


@pytest.mark.parametrize(
    ("name", "title"), [("induction", "induction score"), ("punctuation", "share on punctuation")]
)
def test_a_measure_that_no_head_has_is_refused_by_its_name(table, name, title):
    for asked in ({"y": name}, {"colour": name}, {"size": name}):
        with pytest.raises(attnviz.InputError, match=f"Of 72 heads none has .*{title}.\n\nHint: "):
            scatter_figure(table, **asked)


@pytest.mark.parametrize("value", [0.0, 2.5, -1e-30, 1e30])
def test_equal_numbers_and_a_single_head_are_drawn(value):
    for table in (made_up(2, 3), made_up(1, 1)):
        same = table.assign(offset=value, output=value)
        figure = scatter_figure(same, 0, 0, x="offset", y="output", colour="offset", size="offset")
        for name in ("x_ends", "y_ends", "colour_ends"):
            lowest, highest = figure.constants[name]
            assert lowest < highest
        drawn = points(displayed(figure.chart().properties(width=720), "dark"))
        assert len(drawn) == len(table)
        assert not any("NaN" in point.get("transform") for point in drawn)


def test_a_layer_alone_has_a_colour_and_a_legend_without_others():
    sent = scatter_figure(made_up(1, 3).assign(layer=7)).constants
    assert (sent["colour_ends"], sent["colour_named"]) == ([6, 7], [7])


@pytest.mark.parametrize("display_mode", ["light", "dark"])
def test_a_thousand_heads_are_sent_in_less_than_200_kb_and_drawn(display_mode):
    table = made_up(32, 32)
    view = scatter_view(table, colour="offset", size="output", display_mode=display_mode)
    assert len(view.to_json(indent=None)) < 200_000
    assert len(points(view)) == 1024


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"x": "beauty"}, "There is no measure 'beauty'"),
        ({"size": "layer"}, "There is no measure 'layer'"),
        ({"colour": "</script>"}, "There is no colour '</script>'"),
        ({"layer": 0}, "A head is ringed by its layer and its number"),
        ({"display_mode": "blue"}, "no display mode 'blue'"),
    ],
)
def test_what_is_not_there_is_refused(table, wrong, said):
    with pytest.raises(attnviz.InputError, match=f"{said}.*\n\nHint: "):
        scatter_view(table, **wrong)


def test_another_table_is_refused(table):
    with pytest.raises(attnviz.InputError, match="has no column 'entropy'.*\n\nHint: "):
        scatter_view(table.drop(columns="entropy"))
    with pytest.raises(attnviz.InputError, match="has no rows.*\n\nHint: "):
        scatter_view(table.iloc[:0])
    with pytest.raises(attnviz.InputError, match="has no column 'distance'.*\n\nHint: "):
        brushed(table.drop(columns="distance"), "entropy", "distance", {})


def test_what_is_to_be_seen_is_said_in_words(table):
    said = takeaway(table, "entropy", "output")
    assert said.startswith("Scatter of 72 heads: x axis entropy, bits, y axis share of ‖output‖.")
    largest = f"{table['output'].max():.3f}"
    assert f"The share of ‖output‖ runs from {table['output'].min():.3g}" in said
    assert said.endswith(f" to {largest}.")
