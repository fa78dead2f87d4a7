"""The model view: each thumbnail is its head's own weights, each bar its own number."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

import attnviz
from attnviz import export, heads
from attnviz.attention import filters
from attnviz.charts.model import model_figure, takeaway
from attnviz.charts.model_layers import GAP, LABEL_WIDTH
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.thumbnails import LEVELS, beside_sink, sheet, thumbnail
from tests.support import marks, tiny_models

# With and without a unit, a sign, and numbers.
SOME_MEASURES = [
    one
    for one in heads.MEASURES
    if one.name in ("entropy", "offset", "self", "wv_distance", "wv_offset", "output", "induction")
]


def pixels(url):
    """How opaque each pixel of a sheet is, 0 to 1."""
    image = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    return np.asarray(image.convert("RGBA"))[..., 3] / 255


@pytest.fixture(scope="module")
def table(sentence_trace):
    return heads.measures(sentence_trace)


# Thumbnails


@pytest.mark.parametrize(("shape", "size"), [((7, 7), 56), ((9, 5), 58), ((1, 1), 12)])
def test_a_small_matrix_is_shown_cell_by_cell(shape, size):
    weights = np.random.default_rng(0).random(shape).astype(np.float32)
    shown = pixels(sheet(thumbnail(weights, size)))
    assert shown.shape == (size, size)
    for i in range(shape[0]):
        for j in range(shape[1]):
            row, column = (int((at + 0.5) * size / n) for at, n in zip((i, j), shape, strict=True))
            assert shown[row, column] == pytest.approx(np.sqrt(weights[i, j]), abs=0.01)


def test_a_large_matrix_is_shown_as_the_largest_weight_of_each_block():
    weights = np.zeros((100, 100), np.float32)
    weights[37, 80] = 0.25
    shown = pixels(sheet(thumbnail(weights, 40)))
    assert shown.max() == pytest.approx(0.5, abs=0.01)
    rows, columns = np.nonzero(shown)
    assert (set(rows), set(columns)) == ({14, 15}, {32, 33})


# The whole model


@pytest.mark.parametrize("is_sorted", [False, True])
def test_every_head_has_its_thumbnail_at_its_place(sentence_trace, table, is_sorted):
    sent = model_figure(sentence_trace, None, "entropy", is_sorted=is_sorted).constants
    shown = pixels(sent["thumbnails"])
    size = shown.shape[1] // 12 - GAP
    pitch = shown.shape[0] // 6
    for tile in range(72):
        layer, head = sent["tile_layer"][tile], sent["tile_head"][tile]
        top, left = sent["tile_row"][tile] * pitch, sent["tile_column"][tile] * (size + GAP)
        own = thumbnail(sentence_trace.layer(layer).own_weights[head], size) / (LEVELS - 1)
        np.testing.assert_allclose(shown[top : top + size, left : left + size], own, atol=0.01)
    order = list(zip(sent["tile_layer"], sent["tile_head"], strict=True))
    if not is_sorted:
        assert order == [(layer, head) for layer in range(6) for head in range(12)]
        assert sent["tile_row"] == sent["tile_layer"]
        return
    by_entropy = table.sort_values("entropy", ascending=False, kind="stable")
    assert order == list(zip(by_entropy["layer"], by_entropy["head"], strict=True))
    assert sent["tile_entropy"] == sorted(sent["tile_entropy"], reverse=True)


def numbers(sent):
    """The numbers of a constant, NaN where there is none."""
    return np.array([np.nan if one is None else one for one in sent])


@pytest.mark.parametrize("measure", SOME_MEASURES, ids=lambda one: one.name)
def test_a_bar_is_the_measure_and_its_legend_says_so(sentence_trace, table, measure):
    specification = attnviz.model_view(sentence_trace, measure=measure.name).to_dict()
    sent = {p["name"]: p.get("value") for p in specification["params"]}
    np.testing.assert_allclose(numbers(sent[f"tile_{measure.name}"]), table[measure.name])
    largest = table[measure.name].abs().max()
    assert sent["limit"] == pytest.approx(1 if np.isnan(largest) else largest)
    legends = [
        layer["encoding"]["color"]["legend"]
        for layer in specification["layer"]
        if "color" in layer["encoding"]
    ]
    place, named = ("bar below", "[0, limit]")
    if measure.lowest < 0:
        place, named = ("bar below, from its middle", "[-limit, 0, limit]")
    unit = f", {measure.unit}" if measure.unit else ""
    assert [one["title"] for one in legends] == [f"{place}: {measure.title}{unit}"]
    assert legends[0]["values"] == {"expr": named}


def bars(specification):
    """The left and the right end of each bar that is drawn, in px, and its colour."""
    ((_, drawn),) = [
        (name, group)
        for name, group in marks.groups(specification)
        if group and (group[0].get("aria-label") or "").startswith("mean signed distance")
    ]
    for bar in drawn:
        x, width = re.match(r"M([-\d.]+),[-\d.]+h([-\d.]+)", bar.get("d")).groups()
        yield float(x), float(x) + float(width), bar.get("fill")


def test_a_bar_grows_from_the_middle_to_the_side_of_its_sign(sentence_trace, table):
    figure = model_figure(sentence_trace, None, "offset")
    size = pixels(figure.constants["thumbnails"]).shape[1] // 12 - GAP
    drawn = list(bars(displayed(figure.chart(), "light").to_dict()))
    assert len(drawn) == 72
    limit = table["offset"].abs().max()
    for (start, end, colour), value, head in zip(
        drawn, table["offset"], table["head"], strict=True
    ):
        middle = LABEL_WIDTH + head * (size + GAP) + size / 2
        far = middle + size / 2 * value / limit
        assert [start, end] == pytest.approx(sorted((middle, far)), abs=1e-3)
        red, _, blue = (int(part) for part in re.findall(r"\d+", colour))
        assert red >= blue if value < 0 else blue >= red


def test_a_tooltip_has_the_measure_that_is_shown_and_a_few(sentence_trace):
    specification = attnviz.model_view(sentence_trace, measure="self").to_dict()
    ((titles),) = [
        [one.get("title", one["field"]) for one in layer["encoding"]["tooltip"]]
        for layer in specification["layer"]
        if layer.get("name") == "tiles"
    ]
    assert titles == [
        *("layer", "head", "share on itself", "entropy, bits", "mean distance, tokens"),
        *("share on the first token", "share on special tokens"),
    ]
    assert all("induction" not in p["name"] for p in specification["params"])


def test_some_heads_alone_are_drawn_in_the_tables_order_each_with_its_name(sentence_trace, table):
    only = [(5, 11), (0, 8), (3, 2)]
    by_entropy = table.sort_values("entropy")
    figure = model_figure(sentence_trace, None, "first", 0, 8, only=only, table=by_entropy)
    sent = figure.constants
    order = list(zip(sent["tile_layer"], sent["tile_head"], strict=True))
    asked = by_entropy.set_index(["layer", "head"]).index
    assert order == [place for place in asked if place in only]
    assert order[sent["framed"]] == (0, 8)
    shown = pixels(sent["thumbnails"])
    for tile, (layer, head) in enumerate(order):
        own = thumbnail(sentence_trace.layer(layer).own_weights[head], 58) / (LEVELS - 1)
        left = sent["tile_column"][tile] * (58 + GAP)
        np.testing.assert_allclose(shown[:58, left : left + 58], own, atol=0.01)
    said = export.to_svg(displayed(figure.chart(), "light"), outlines=False)
    assert all(f">{layer} · {head}<" in said for layer, head in only)


@pytest.mark.parametrize("only", [[], [(0, 99)], [(-1, 0), (6, 0)]])
def test_no_head_at_all_is_refused(sentence_trace, only):
    with pytest.raises(attnviz.InputError, match=f"None of the {len(only)} heads .*\n\nHint"):
        model_figure(sentence_trace, None, "entropy", only=only)


def test_the_head_that_is_open_is_framed(sentence_trace):
    sent = model_figure(sentence_trace, None, "entropy", 2, 7, is_sorted=True).constants
    framed = sent["framed"]
    assert (sent["tile_layer"][framed], sent["tile_head"][framed]) == (2, 7)
    assert model_figure(sentence_trace, None, "entropy").constants["framed"] == -1


def test_layers_keep_the_models_own_numbers():
    model = tiny_models.build("qwen3_next")
    ids = torch.tensor([[5, 17, 33, 8, 60, 41]])
    trace = attnviz.trace_inputs(model, {"input_ids": ids})
    sent = model_figure(trace, None, "first").constants
    assert sent["row_names"] == [f"layer {layer}" for layer in trace.layers()]
    assert trace.layers() != tuple(range(len(trace.layers())))


def test_layers_may_have_different_numbers_of_heads_and_texts_of_tokens():
    model = tiny_models.build("bart")
    ids, target = torch.tensor([[5, 17, 33, 8, 2]]), torch.tensor([[2, 9, 11]])
    trace = attnviz.trace_inputs(model, {"input_ids": ids, "decoder_input_ids": target})
    for kind in trace.kinds:
        sent = model_figure(trace, kind, "entropy").constants
        assert len(sent["tile_head"]) == sum(trace.n_heads(n, kind) for n in trace.layers(kind))
        export.to_svg(attnviz.model_view(trace, kind))
    assert model_figure(trace, "cross", "distance").constants["tile_distance"] == [None] * 4


def test_a_filter_is_seen_and_said(sentence_trace):
    less = filters.hide_special(sentence_trace)
    sent = model_figure(less, None, "special").constants
    assert sent["note"] == ["special tokens hidden"]
    assert sent["tile_special"] == [None] * 72
    shown = pixels(model_figure(sentence_trace, None, "special").constants["thumbnails"])
    assert not np.array_equal(pixels(sent["thumbnails"]), shown)


def test_twelve_layers_of_twelve_heads_at_512_tokens_are_sent_in_less_than_1_mb():
    model = tiny_models.build(
        "bert", num_attention_heads=4, num_hidden_layers=3, max_position_embeddings=512
    )
    ids = torch.randint(5, 100, (1, 512), generator=torch.manual_seed(0))
    trace = attnviz.trace_inputs(model, {"input_ids": ids})
    n_bytes = len(attnviz.model_view(trace).to_json(indent=None))
    assert n_bytes * 12 < 1_000_000  # random weights, which nothing makes smaller


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"measure": "beauty"}, "There is no measure 'beauty'"),
        ({"layer": 0}, "A head is framed by its layer and its number"),
        ({"layer": 0, "head": 99}, "has no head 99"),
        ({"kind": "cross"}, "no attention of kind 'cross'"),
    ],
)
def test_what_is_not_there_is_refused(sentence_trace, wrong, said):
    with pytest.raises(attnviz.InputError, match=said):
        attnviz.model_view(sentence_trace, **wrong)


def test_what_is_to_be_seen_is_said_in_words(table):
    said = takeaway(table, heads.MEASURES[0])
    largest, smallest = table.loc[table["entropy"].idxmax()], table.loc[table["entropy"].idxmin()]
    assert said.startswith("Model view: 72 heads in 6 layers. The entropy is largest in layer")
    assert f"layer {largest['layer']}, head {largest['head']} " in said
    assert f"smallest in layer {smallest['layer']}, head {smallest['head']} " in said


def test_what_goes_to_no_token_is_a_strip_beside_the_keys():
    weights = np.array([[0.0, 0.0], [0.3, 0.2]], np.float32)
    picture = beside_sink(weights, 1 - weights.sum(axis=1), 60)
    assert picture.shape == (60, 60)
    assert (picture[:30, -7:] == 63).all()
    assert (picture[30:, -7:] == round(63 * 0.5**0.5)).all()
    assert (picture[:, 50:53] == 0).all()  # the gap
    assert (picture[30:, :25] == round(63 * 0.3**0.5)).all()
