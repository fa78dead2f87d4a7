"""What the charts' specifications say is what HeadTrace holds: numbers, labels, scales."""

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import attnviz
from attnviz import export
from attnviz.attention.explained.arithmetic import arithmetic
from attnviz.attention.explained.sentences import look_for, sentence
from attnviz.attention.steps import steps_of
from attnviz.charts.matrix import is_in_blocks, matrix_chart
from attnviz.charts.parts import blocks, palette
from attnviz.charts.parts.axes import AXIS_TITLES, axis_titles
from attnviz.charts.parts.pair import Pair
from attnviz.charts.parts.tables import step_table
from attnviz.charts.parts.values import scale_end
from attnviz.charts.row import row_chart
from attnviz.charts.strips import strips_chart
from attnviz.text.phrases import plain
from tests.support import hand_made, marks
from tests.support.showing import constants_of

NINE = ("x_query", "q", "k", "v", "scores", "scaled", "masked", "weights", "updated")


def note(specification):
    """What is said above a matrix; nothing where every cell is drawn."""
    if "title" not in specification:
        assert not any(name.endswith("_note") for name in constants_of(specification))
        return ""
    return constants_of(specification)[specification["title"]["text"]["expr"]]


def framed(specification):
    """The place of each frame, by the channel that it is drawn on."""
    names = constants_of(specification)
    return {
        transform["calculate"].rpartition("_")[2]: names[transform["calculate"]]
        for layer in layers(specification)
        if layer["mark"].get("fillOpacity") == 0
        for transform in layer["transform"]
    }


def hidden_cells(specification):
    """The layers of what is hidden."""
    return [
        layer
        for layer in layers(specification)
        if any(f.get("filter", "").startswith("!isValid") for f in layer.get("transform", []))
    ]


def as_array(nested):
    return np.array([[np.nan if v is None else v for v in row] for row in nested], np.float32)


def layers(specification):
    return specification["layer"]


def cells(specification):
    return layers(specification)[0]


def step_named(head, name):
    return next(step for step in head.steps if step.name == name)


@pytest.fixture(scope="module")
def head(sentence_trace):
    return sentence_trace.head(0, 8)


# One matrix


@pytest.mark.parametrize("name", NINE)
def test_every_cell_of_every_matrix_is_in_its_chart(head, name):
    step = step_named(head, name)
    specification = matrix_chart(head, step, Pair(2, 5)).to_dict()
    sent = as_array(constants_of(specification)[name])
    if name == "x_query":  # 384 columns, in blocks of six
        by_six = step.array.reshape(7, 64, 6)
        at = np.abs(by_six).argmax(axis=2)[..., None]
        np.testing.assert_array_equal(sent, np.take_along_axis(by_six, at, axis=2)[..., 0])
        said = "each cell: the most extreme of 6 values"
        assert note(specification) == said
        mean = matrix_chart(head, step, large="mean").to_dict()
        sent = as_array(constants_of(mean)[name])
        np.testing.assert_allclose(sent, by_six.mean(axis=2), atol=1e-6)
        assert note(mean) == "each cell: the mean of 6 values"
    else:
        np.testing.assert_array_equal(sent, getattr(head, name))
        assert note(specification) == ""


@pytest.mark.parametrize("name", NINE)
def test_axes_and_legend_name_what_is_shown(head, name):
    step = step_named(head, name)
    specification = matrix_chart(head, step, Pair(2, 5)).to_dict()
    encoding = cells(specification)["encoding"]
    titles = {channel: encoding[channel]["axis"]["title"] for channel in "yx"}
    assert [*titles.values()] == [
        "token" if name == "x_query" else AXIS_TITLES[step.axes[0]],
        AXIS_TITLES[step.axes[1]],
    ]
    names = constants_of(specification)
    assert names[f"{name}_rows"] == list(head.query_tokens)
    if step.axes[1] == "key_pos":
        assert names[f"{name}_columns"] == list(head.key_tokens)
    legend = encoding["color"]["legend"]
    title = "x, most extreme" if name == "x_query" else name
    assert legend["title"] == title
    domain = encoding["color"]["scale"]["domain"]
    if name == "weights":
        assert domain == [0, 1]
        assert legend["values"] == [0, 0.5, 1]
    else:
        limit = f"{name}_limit"
        assert names[limit] == pytest.approx(scale_end(as_array(names[name])).limit)
        assert domain == [{"expr": f"-{limit}"}, {"expr": limit}]
        assert encoding["color"]["scale"]["domainMid"] == 0
        assert legend["values"] == {"expr": f"[-{limit}, 0, {limit}]"}
    told = [each["field"] for each in encoding["tooltip"]]  # and nothing that only places a cell
    assert told == [*titles.values(), title]
    rows, steps = specification["data"]["sequence"], specification["transform"]
    has = {rows["as"], *(one["as"] for one in steps if "calculate" in one)}
    assert has == {"row", "column", *titles.values(), title}


def test_rows_of_x_are_of_both_sides_only_where_both_are_one_text_and_the_output_has_its_own_dims(
    sentence_trace,
):
    of_one_text = sentence_trace.head(0, 8)
    titles = {step.name: axis_titles(step) for step in of_one_text.steps}
    assert titles["x_query"] == ("token", "dimension of x (d_model)")
    assert titles["output"] == ("query token", "dimension of the output (d_model)")
    assert step_table(of_one_text, step_named(of_one_text, "x_query")).columns[0] == "token"
    of_two = hand_made.random_head(n_keys=3)
    titles = {step.name: axis_titles(step)[0] for step in of_two.steps}
    assert (titles["x_query"], titles["x_key"]) == ("query token", "key token")


@pytest.mark.parametrize("name", NINE)
def test_dimensions_are_called_by_their_numbers_which_are_not_sent(head, name):
    step = step_named(head, name)
    specification = matrix_chart(head, step, Pair(2, 5)).to_dict()
    is_of_pairs = step.axes == ("query_pos", "key_pos")
    assert (f"{name}_columns" in constants_of(specification)) == is_of_pairs
    rows, columns, _ = zip(*marks.cells(specification), strict=True)
    assert list(dict.fromkeys(rows)) == list(head.query_tokens)
    if is_of_pairs:
        expected = list(head.key_tokens)
    elif name == "x_query":
        expected = [f"{start} … {start + 5}" for start in range(0, 384, 6)]
    else:
        expected = [str(dimension) for dimension in range(step.array.shape[1])]
    assert list(dict.fromkeys(columns)) == expected


def test_a_last_block_of_one_dimension_is_called_by_its_number():
    head = hand_made.random_head(d_head=161)
    specification = matrix_chart(head, step_named(head, "q")).to_dict()
    _, columns, _ = zip(*marks.cells(specification), strict=True)
    *others, last = dict.fromkeys(columns)
    assert others == [f"{start} … {start + 2}" for start in range(0, 159, 3)]
    assert last == "159 … 160"
    head = hand_made.random_head(d_head=160)
    specification = matrix_chart(head, step_named(head, "q")).to_dict()
    _, columns, _ = zip(*marks.cells(specification), strict=True)
    assert list(dict.fromkeys(columns)) == [*others, "159"]


@pytest.mark.parametrize("name", NINE)
def test_what_all_layers_share_is_said_once(name):
    """The cells' data and how they are worked out, the axes, and the text's colour."""
    head = hand_made.random_head(causal=True)
    chart = matrix_chart(head, step_named(head, name), Pair(2, 1), reports_clicks=True).to_dict()
    n_rows = len(step_named(head, name).array)
    assert chart["data"] == {"sequence": {"start": 0, "stop": n_rows, "as": "row"}}
    first, *others = layers(chart)
    assert {"axis", "field", "scale", "type"} <= first["encoding"]["x"].keys()
    assert {"axis", "field", "scale", "type"} <= first["encoding"]["y"].keys()
    assert others
    for layer in others:
        assert not any("axis" in channel for channel in layer["encoding"].values())
    own_data = [layer for layer in layers(chart) if "data" in layer]
    assert all(layer["mark"]["fillOpacity"] == 0 for layer in own_data)  # frames
    (ink,) = [p for p in chart["params"] if p["name"] == "ink"]
    assert ink["expr"] == palette.TEXT
    assert json.dumps(chart).count(palette.TEXT) == 1


def test_values_are_printed_in_the_cells_of_small_matrices_only(head):
    def prints(name):
        chart = matrix_chart(head, step_named(head, name), Pair(2, 5)).to_dict()
        return any(
            layer["mark"]["type"] == "text" and "datum.printed" in str(layer["mark"]["text"])
            for layer in layers(chart)
        )

    assert [name for name in NINE if prints(name)] == ["scores", "scaled", "masked", "weights"]


@pytest.mark.parametrize(
    ("name", "row", "column"),
    [("q", 2, None), ("k", 5, None), ("v", 5, None), ("scores", 2, 5), ("updated", 2, None)],
)
def test_the_pairs_row_and_column_are_framed(head, name, row, column):
    chart = matrix_chart(head, step_named(head, name), Pair(2, 5)).to_dict()
    assert framed(chart) == {k: v for k, v in (("row", row), ("column", column)) if v is not None}


def test_hidden_cells_have_no_value_and_are_drawn_as_hidden():
    head = hand_made.random_head(causal=True)
    chart = matrix_chart(head, step_named(head, "masked"), Pair(1, 0)).to_dict()
    sent = as_array(constants_of(chart)["masked"])
    np.testing.assert_array_equal(np.isnan(sent), head.is_masked)
    np.testing.assert_array_equal(sent[~head.is_masked], head.masked[~head.is_masked])
    assert len(hidden_cells(chart)) == 2
    limit = constants_of(chart)["masked_limit"]
    assert limit == pytest.approx(np.abs(head.masked[~head.is_masked]).max())


def test_a_hidden_cell_says_why_on_hover():
    head = hand_made.random_head(causal=True)
    chart = matrix_chart(head, step_named(head, "masked")).to_dict()
    assert constants_of(chart)["masked_because"] == head.hiding.codes.tolist()
    said = hidden_cells(chart)[0]["transform"][-1]
    assert "hidden: after the query" in said["calculate"]
    assert said["as"] == "masked"  # in the place of a value


@pytest.mark.parametrize("convention", ["rows", "columns"])
@pytest.mark.parametrize("n", [5, 100])
def test_a_sink_is_a_column_of_its_own_behind_the_keys(convention, n):
    head = hand_made.random_head(n, n, sink_logit=1.5, causal=True)
    steps = {step.name: step for step in steps_of(head, convention)}
    across = "columns" if convention == "rows" else "rows"
    for name, sinks in (("weights", head.sink), ("masked", np.full(n, 1.5, np.float32))):
        chart = matrix_chart(head, steps[name], Pair(1, 0), reports_clicks=True).to_dict()
        sent = constants_of(chart)
        if n == 5:
            np.testing.assert_array_equal(np.float32(sent[f"{name}_sink"]), sinks)
            total = as_array(sent[name])
            total = np.nansum(total, axis=1 if convention == "rows" else 0)
            if name == "weights":
                np.testing.assert_allclose(total + sinks, 1, rtol=1e-6)
        assert len(sent[f"{name}_sink"]) == len(sent[name])
        assert sent[f"{name}_{across}"][-1] == "sink"
        assert sent[f"{name}_limit"] >= max(sinks)
        fields = [
            layer["encoding"].get("x" if across == "columns" else "y", {}).get("field")
            for layer in layers(chart)
        ]
        assert fields.count("sink_place") == (3 if n == 5 else 2)  # cells, numbers, the gap
    assert steps["scaled"].sink is None
    assert "weights_sink" not in constants_of(
        matrix_chart(
            hand_made.random_head(), step_named(hand_made.random_head(), "weights")
        ).to_dict()
    )


def test_the_row_of_a_large_matrix_has_its_sink_in_a_line_of_its_own():
    head = hand_made.random_head(100, 100, sink_logit=1.5, causal=True)
    sent = constants_of(row_chart(head, step_named(head, "weights"), 70).to_dict())
    *lines, sink = sent["weights_row"]
    assert sink == [pytest.approx(float(head.sink[70]))]
    keys = as_array([[v for line in lines for v in line]])[0]
    np.testing.assert_array_equal(np.isnan(keys), head.is_masked[70])
    assert np.nansum(keys) + sink[0] == pytest.approx(1, rel=1e-5)
    assert sent["weights_row_columns"][2 * 64] == "no token: the head’s sink"
    assert sent["weights_row_because"] == head.hiding.codes[70].tolist()


def test_padding_has_grey_names_and_rows_without_meaning_are_hatched():
    is_padding = np.array([True, False, False, False, False])
    head = hand_made.random_head(query_is_padding=is_padding, key_is_padding=is_padding)
    for name in ("q", "scores", "weights", "updated"):
        chart = matrix_chart(head, step_named(head, name)).to_dict()
        sent = constants_of(chart)
        assert sent[f"{name}_padded_rows"] == [1, 0, 0, 0, 0]
        label = cells(chart)["encoding"]["y"]["axis"]["labelColor"]["expr"]
        assert label.startswith(f"{name}_padded_rows[datum.value] ?")
    for name in ("weights", "updated"):
        chart = matrix_chart(head, step_named(head, name)).to_dict()
        assert np.isnan(as_array(constants_of(chart)[name])[0]).all()
        assert "its row has no meaning" in json.dumps(layers(chart))


def test_blocks_have_a_reason_where_all_their_cells_have_the_same():
    codes = np.ones((80, 80), np.uint8)
    codes[0, 0] = 2
    codes[10:12, 10:12] = 3
    reduced = blocks.in_blocks(np.zeros((80, 80), np.float32))
    assert (reduced.rows, reduced.columns) == (2, 2)
    found = blocks.codes_in_blocks(codes, reduced)
    assert (found[0, 0], found[5, 5], found[1, 1]) == (0, 3, 1)


def test_strips_have_the_sink_behind_their_columns():
    rows = {"before": np.array([0.2, 0.3]), "after": np.array([0.6, 0.3])}
    specification = strips_chart(
        rows, ["a", "b"], column_title="key token", value_title="weight", sinks=[0.5, 0.1]
    ).to_dict()
    sent = constants_of(specification)
    assert sent["strip_sinks"] == [0.5, 0.1]
    assert sent["strip_columns"] == ["a", "b", "sink"]
    assert np.shape(sent["strips"]) == (2, 2)


def test_no_token_is_part_of_an_expression():
    evil = '"+alert(1)+"'
    head = hand_made.random_head(
        queries=(evil, "datum.value", "\\", "'", "a"), keys=("b", evil, "${x}", "{{y}}", "c")
    )
    for chart in (attnviz.steps_view(head, 0, 1), attnviz.neuron_view(head, 0)):
        specification = chart.to_dict()
        named = [
            p
            for p in specification["params"]
            if p["name"].endswith(("_rows", "columns", "names", "tokens"))
        ]
        assert any(evil in p["value"] for p in named)
        for parameter in named:
            specification["params"].remove(parameter)
        specification.pop("datasets", None)
        specification.pop("description", None)  # a literal, as titles are
        for parameter in specification["params"]:  # and the labels of a list
            parameter.pop("bind", None)
        for part in specification.get("vconcat", []):
            part["title"] = None
        assert "alert" not in json.dumps(specification)


@pytest.mark.parametrize("name", ["scores", "x_query"])
def test_a_click_is_reported_where_it_is_asked_for(head, name):
    def picked(**options):
        chart = matrix_chart(head, step_named(head, name), Pair(2, 5), **options).to_dict()
        return [p["select"]["fields"] for p in chart.get("params", []) if p["name"] == "picked"]

    assert picked(reports_clicks=True) == [["row", "column"]]
    assert picked() == []


# Blocks


def test_blocks_are_means_and_maxima_of_what_is_not_hidden():
    array = np.arange(80 * 128, dtype=np.float32).reshape(80, 128)
    is_hidden = np.zeros(array.shape, bool)
    is_hidden[:2, :2] = True
    is_hidden[2, 0] = True
    mean = blocks.in_blocks(array, is_hidden)
    assert (mean.rows, mean.columns, mean.values.shape) == (2, 2, (40, 64))
    assert np.isnan(mean.values[0, 0])
    assert mean.is_hidden[0, 0]
    assert mean.values[1, 0] == pytest.approx((array[2, 1] + array[3, 0] + array[3, 1]) / 3)
    assert mean.values[5, 7] == pytest.approx(array[10:12, 14:16].mean())
    maximum = blocks.in_blocks(array, is_hidden, "maximum")
    assert maximum.values[5, 7] == array[11, 15]
    assert maximum.note == "each cell: the maximum of 4 values"


@pytest.mark.parametrize("shape", [(1, 1), (40, 64), (41, 64), (83, 100), (512, 512), (7, 384)])
def test_blocks_never_lose_the_strongest_value(shape):
    array = np.random.default_rng(1).random(shape, dtype=np.float32)
    reduced = blocks.in_blocks(array, summary="maximum")
    assert reduced.values.shape[0] <= blocks.MAX_TOKENS
    assert reduced.values.shape[1] <= blocks.MAX_DIMENSIONS
    assert reduced.values.max() == array.max()
    assert reduced.are_exact == (shape in [(1, 1), (40, 64)])


def test_a_row_of_a_matrix_in_blocks_is_shown_exactly(head):
    step = step_named(head, "x_query")
    assert is_in_blocks(step)
    sent = constants_of(row_chart(head, step, 2).to_dict())["x_query_row"]
    np.testing.assert_array_equal(np.float32([v for line in sent for v in line]), head.x_query[2])


def test_a_row_calls_its_dimensions_by_their_numbers_which_are_not_sent(head):
    specification = row_chart(head, step_named(head, "x_query"), 2).to_dict()
    assert "x_query_row_columns" not in constants_of(specification)
    ((_, drawn),) = marks.groups(specification)
    said = [cell.get("aria-label") for cell in drawn]
    assert len(said) == 384
    for dimension, label in enumerate(said):
        assert f"; {AXIS_TITLES['d_model']}: {dimension}; x: " in label


# All steps


def test_the_steps_view_holds_every_matrix_under_its_step(head):
    specification = attnviz.steps_view(head, 2, 5).to_dict()
    parts = specification["vconcat"]
    titles = [chart["title"]["text"] for chart in parts if "title" in chart]
    assert titles == [
        *("token embeddings", "1  query", "1  key", "1  value"),
        *("2  score", "3a  scale", "3b  mask", "3c  softmax", "4  update", "output"),
    ]
    assert "hconcat" in parts[-2]  # what each value adds to the update
    for step, chart in zip(head.steps, [p for p in parts if "title" in p], strict=True):
        said = " ".join(chart["title"]["subtitle"])
        assert step.formula_text in said
        assert plain(sentence(head, step, 2, 5)) in said
        assert f"Look for {look_for(head, step)}" in said
        worked_out = arithmetic(head, step, 2, 5) or ""
        assert all(line in said for line in plain(worked_out).split("\n\n"))
    sent = constants_of(specification)
    for name in NINE[1:]:
        np.testing.assert_array_equal(as_array(sent[name]), getattr(head, name))


@pytest.mark.parametrize(("query", "key"), [(7, 0), (-1, 0), (0, 7)])
def test_a_pair_that_is_not_there_is_refused(head, query, key):
    with pytest.raises(attnviz.InputError, match=r"There is no .* token.*\n\n.*0 to 6"):
        attnviz.steps_view(head, query, key)


def test_a_display_that_is_not_there_is_refused(head):
    with pytest.raises(attnviz.InputError, match="no display mode 'blue'"):
        attnviz.neuron_view(head, display_mode="blue")


def test_a_query_alone_frames_its_row_only(head):
    specification = attnviz.steps_view(head, query=2).to_dict()
    scores = specification["vconcat"][4]
    assert framed(scores | {"params": specification["params"]}) == {"row": 2}


def test_what_is_sent_of_a_sentence_stays_small(sentence_trace):
    head = sentence_trace.head(0, 8)
    assert len(attnviz.neuron_view(head, 2).to_json(indent=None)) < 100_000
    assert len(attnviz.steps_view(head, 2, 5).to_json(indent=None)) < 100_000


@pytest.mark.long
def test_what_is_sent_of_a_long_text_stays_small(minilm):
    long = attnviz.trace(*minilm, "a b c d " * 127).head(0, 8)
    assert long.weights.shape == (510, 510)
    assert len(attnviz.neuron_view(long, 0).to_json(indent=None)) < 1_000_000
    assert len(attnviz.steps_view(long, 0, 0).to_json(indent=None)) < 1_000_000


# Files


@pytest.mark.parametrize("display_mode", ["light", "dark"])
def test_an_svg_holds_the_tokens_and_the_numbers(head, display_mode):
    svg = export.to_svg(attnviz.steps_view(head, 2, 5), display_mode, outlines=False)
    texts = [
        e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text") and e.text
    ]
    assert set(head.query_tokens) <= set(texts)
    printed = [t for t in texts if re.fullmatch(r"0\.\d{3}", t)]
    expected = {f"{w:.3f}" for w in head.weights.ravel()}
    assert expected <= {*printed, "1.000"}


def test_a_turned_matrix_is_framed_and_named_the_other_way_round(head):
    step = next(s for s in steps_of(head, "columns") if s.name == "weights")
    specification = matrix_chart(head, step, Pair(2, 5)).to_dict()
    sent = constants_of(specification)
    np.testing.assert_array_equal(as_array(sent["weights"]), head.weights.T)
    x, y = (specification["layer"][0]["encoding"][c]["axis"]["title"] for c in "xy")
    assert (x, y) == ("query token", "key token")
    assert framed(specification) == {"row": 5, "column": 2}


def test_a_chart_for_a_projector_has_larger_type_and_fits_a_screen(head):
    for step in head.steps:
        chart = matrix_chart(head, step, is_large=True).to_dict()
        axis = chart["layer"][0]["encoding"]["x"]["axis"]
        assert axis["labelFontSize"] >= 16
        assert chart["height"]["step"] * len(head.q) <= 350


@pytest.mark.parametrize("n", [1, 20, 21, 40, 200])
def test_strips_hold_their_rows_and_print_what_they_are_told(n):
    rng = np.random.default_rng(0)
    rows = {"before": rng.random(n), "after": rng.random(n)}
    numbers = [[f"{value:.2f}" for value in row] for row in rows.values()]
    names = [str(i) for i in range(n)]
    specification = strips_chart(
        rows, names, column_title="key token", value_title="weight", printed=numbers
    ).to_dict()
    sent = constants_of(specification)
    per_block = -(-n // 40)
    for strip, row in zip(sent["strips"], rows.values(), strict=True):
        means = [row[i : i + per_block].mean() for i in range(0, n, per_block)]
        np.testing.assert_allclose(strip, means, rtol=1e-5)
    assert sent["strip_rows"] == ["before", "after"]
    assert ("each cell: the mean of" in specification["title"]["text"]) == (n > 40)
    is_printed = any(layer["mark"]["type"] == "text" for layer in specification["layer"])
    assert is_printed == (n <= 20)
    assert sent["strip_numbers"] == numbers
