"""A few outliers do not wash out the rest: colours end before them, and the legend says where."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import vl_convert

from attnviz.attention.own_arrays import from_arrays
from attnviz.attention.what_if import what_if
from attnviz.charts.matrix import matrix_chart
from attnviz.charts.neurons import neuron_view
from attnviz.charts.parts.palette import PALETTES
from attnviz.charts.parts.values import scale_end
from attnviz.charts.row import row_chart
from attnviz.charts.shares import shares_chart
from attnviz.charts.what_if import what_if_view
from tests.support import marks
from tests.support.showing import constants_of

ORDINARY = 3.5  # no normal number of these is as large


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.fixture(scope="module")
def head():
    """A head in which one dimension of q, k and v is 100 times as large as the others."""
    q, k, v = (numbers(9, 32, seed=seed) for seed in range(3))
    for array in (q, k, v):
        array[:, 5] *= 100
    return from_arrays(q, k, v, scaling=1e-3).head(0, 0)


def texts_of(specification):
    svg = ElementTree.fromstring(vl_convert.vegalite_to_svg(specification))
    return ["".join(text.itertext()) for text in svg.iter() if text.tag.endswith("}text")]


def step_named(head, name):
    return next(step for step in head.steps if step.name == name)


# Where it ends


def test_a_scale_ends_at_the_largest_value_unless_some_are_outliers():
    values = numbers(9, 32)
    assert scale_end(values) == (pytest.approx(np.abs(values).max()), False)
    outlying = values.copy()
    outlying[:, 5] *= 100
    nine_tenths = np.quantile(np.abs(outlying), 0.9)
    assert scale_end(outlying) == (pytest.approx(2 * nine_tenths, rel=0.02), True)
    assert np.abs(np.delete(outlying, 5, axis=1)).max() < 1.2 * scale_end(outlying).limit


def test_what_is_infinite_is_beyond_the_end_and_what_is_hidden_or_0_does_not_count():
    values = np.zeros((100, 16), np.float32)
    values[:8] = numbers(8, 16)
    values[8] = np.nan
    largest = np.abs(values[:8]).max()
    assert scale_end(values) == (pytest.approx(largest), False)
    values[50, 3] = -np.inf
    assert scale_end(values) == (pytest.approx(largest), True)
    values[50, 4] = 1e30
    assert scale_end(values) == (
        pytest.approx(2 * np.quantile(np.abs(values[:8]), 0.9), rel=0.05),
        True,
    )


def test_few_numbers_have_no_outlier_and_none_have_a_scale():
    few = numbers(7, 7)
    few[3, 3] = 1e4
    assert scale_end(few) == (1e4, False)
    for nothing in (np.zeros((9, 9)), np.full((9, 9), np.nan), np.zeros((0, 4))):
        assert scale_end(nothing.astype(np.float32)) == (1, False)
    assert scale_end(np.array([np.inf, 2, -3])) == (3, True)


def test_what_is_large_for_its_weight_is_no_outlier():
    v = numbers(9, 32)
    weighted = v * np.float32([[1], *[[0.01]] * 8])
    assert scale_end(weighted).is_cut
    assert scale_end(weighted, among=v) == (pytest.approx(np.abs(weighted).max()), False)


def test_no_head_of_an_ordinary_model_is_cut_where_nothing_washes_out(sentence_trace):
    """Of the bundled model: in x one dimension is 20 times as large as the others."""
    cut = [
        step.name
        for layer in sentence_trace.layers()
        for head in range(sentence_trace.n_heads(layer))
        for step in sentence_trace.head(layer, head).steps
        if step.name != "weights" and scale_end(step.array).is_cut
    ]
    assert not {"q", "k", "v", "scores", "scaled", "masked"} & {*cut}
    assert cut.count("x_query") == 72
    assert cut.count("updated") <= 1
    assert cut.count("output") <= 12


# What is drawn


@pytest.mark.parametrize("display_mode", ["light", "dark"])
@pytest.mark.parametrize("name", ["q", "k", "v"])
def test_the_median_cell_is_seen_beside_an_outlier_and_that_has_the_end_colour(
    head, name, display_mode
):
    step = step_named(head, name)
    palette = PALETTES[display_mode]
    figure = matrix_chart(head, step)
    fills = {
        limit: _fills(figure.chart(), {f"{name}_limit": limit}, palette)
        for limit in (figure.constants[f"{name}_limit"], float(np.abs(step.array).max()))
    }
    cut, whole = fills.values()
    ground = _shares(palette.background)
    distances = [np.abs(colours - ground).max(axis=1) for colours in (cut, whole)]
    assert np.median(distances[0]) > 0.1
    assert np.median(distances[1]) < 0.02
    ends = [_shares(palette.diverging[end]) for end in (0, -1)]
    at = np.abs(step.array).argmax()
    np.testing.assert_allclose(cut[at], ends[int(step.array.ravel()[at] > 0)], atol=0.01)


def _fills(chart, constants, palette):
    """The colour of every cell."""
    config = {"range": {"diverging": list(palette.diverging)}, "background": palette.background}
    specification = chart.to_dict() | {"config": config}
    for parameter in specification["params"]:
        if parameter["name"] in constants:
            parameter["value"] = constants[parameter["name"]]
    _, cells = next(marks.groups(specification))
    return np.array([_shares(cell.get("fill")) for cell in cells])


def _shares(colour):
    if colour.startswith("#"):
        return np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.array([float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]])


def test_the_legend_says_where_colours_end_and_that_there_is_more(head):
    figure = matrix_chart(head, step_named(head, "q"))
    assert figure.constants["q_cut"] == 1
    said = texts_of(figure.to_dict())
    end = f"{figure.constants['q_limit']:.3g}"
    assert {f"≤ −{end}", "0", f"≥ {end}"} <= set(said)


def test_the_legend_of_a_whole_scale_has_its_ends_alone(sentence_trace):
    said = texts_of(matrix_chart(*_of(sentence_trace.head(0, 8), "q")).to_dict())
    assert not [text for text in said if text[0] in "≤≥"]


def _of(head, name):
    return head, step_named(head, name)


def test_every_picture_of_the_head_ends_its_colours_before_the_outliers(head):
    sent = {
        **constants_of(neuron_view(head, 0).to_dict()),
        **row_chart(head, step_named(head, "q"), 0).constants,
        **shares_chart(head, 0).constants,
    }
    cut = {
        name.removesuffix("_cut") for name, value in sent.items() if name[-4:] == "_cut" and value
    }
    assert {"q", "k", "product", "value", "share"} <= cut
    for name in ("q", "k", "value", "share"):
        assert sent[f"{name}_limit"] < 2 * ORDINARY
    assert np.abs(head.v).max() > 100


def test_a_neuron_view_says_so_under_its_columns(head):
    said = texts_of(neuron_view(head, 0).to_dict())
    ends = [text for text in said if text.startswith("≥ ")]
    assert len(ends) == 4  # q, k, q × k and w · v


def test_an_update_before_and_after_a_change_ends_before_them_too(head):
    said = texts_of(what_if_view(head, what_if(head, scaling=1), 0).to_dict())
    assert [text for text in said if text.startswith("≥ ")]
