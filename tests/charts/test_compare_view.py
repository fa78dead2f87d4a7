"""Two heads beside each other: each number drawn is theirs, in the same cell of all three."""

import json
import re

import numpy as np
import pytest
import vl_convert
from hypothesis import strategies as st

from attnviz.attention import filters
from attnviz.charts import compare, compare_layers
from attnviz.charts.alignment import alignment_figure
from attnviz.charts.compare import PICKED_PAIR, compare_figure, compare_view, takeaway
from attnviz.charts.compare_layers import SIDES
from attnviz.charts.parts.figure import MOST_CELLS_IN_SVG, NUMBERS
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import PALETTES
from attnviz.charts.parts.values import end_of_signed
from attnviz.export import figures
from attnviz.export.figures import to_svg
from attnviz.heads.aligning import Alignment, aligned
from attnviz.heads.comparing import difference, where_largest
from attnviz.text.errors import InputError
from attnviz.text.phrases import plain
from tests.support import hand_made, marks
from tests.support.hostile import cases, labels

TIME = ("[CLS]", "time", "flies", "like", "an", "arrow", "[SEP]")
FRUIT = ("[CLS]", "fruit", "flies", "like", "a", "banana", "[SEP]")


def as_array(nested):
    return np.array([[np.nan if v is None else v for v in row] for row in nested], np.float32)


def panels(figure):
    return dict(zip(SIDES, figure.to_dict()["hconcat"], strict=True))


def drawn(figure):
    """The marks of each layer of each panel, in the order in which they are drawn."""
    return [list(group) for _, group in marks.groups(figure.to_dict()) if len(group)]


def texts(group):
    return [mark.text for mark in group]


@pytest.fixture(scope="module")
def two(sentence_trace):
    return difference(sentence_trace.head(0, 8), sentence_trace.head(5, 11))


@pytest.fixture(scope="module")
def causal():
    """A hides later keys, B none; with a sink in A."""
    return difference(
        hand_made.random_head(causal=True, sink_logit=1.0), hand_made.random_head(seed=1)
    )


@pytest.fixture(scope="module")
def long():
    names = tuple(f"t{place}" for place in range(100))
    others = ("new", *names[:-1])
    return difference(
        hand_made.random_head(100, 100, queries=names, keys=names),
        hand_made.random_head(100, 100, seed=1, queries=others, keys=others),
    )


# Numbers


def test_every_cell_of_the_three_is_in_the_figure(two):
    sent = compare_figure(two).constants
    a, b = as_array(sent["a_cells"]), as_array(sent["b_cells"])
    np.testing.assert_array_equal(a, two.a.weights)
    np.testing.assert_array_equal(b, two.b.weights)
    np.testing.assert_array_equal(as_array(sent["difference_cells"]), b - a)
    assert 1 <= sent["limit"] / np.abs(b - a).max() < 1.1


def test_weights_share_one_scale_and_the_difference_is_centred_on_zero(two):
    colours = {
        side: panel["layer"][0]["encoding"]["color"]
        for side, panel in panels(compare_figure(two)).items()
    }
    assert [colours[side]["field"] for side in SIDES] == list(SIDES)
    assert (
        colours["a"]["scale"]
        == colours["b"]["scale"]
        == {
            "domain": [0, {"expr": "end"}],
            "interpolate": "rgb",
        }
    )
    assert colours["a"]["legend"]["title"] == "weight, in A and B"
    assert colours["b"]["legend"] is None
    assert colours["difference"]["scale"]["domain"] == [{"expr": "-limit"}, {"expr": "limit"}]
    assert colours["difference"]["scale"]["domainMid"] == 0
    assert colours["difference"]["legend"]["values"] == {"expr": "[-limit, 0, limit]"}


def test_small_weights_have_colours_that_end_sooner(two, long):
    for of in (two, long):
        largest = max(of.weights_a.max(), of.weights_b.max())
        end = compare_figure(of).constants["end"]
        assert end == (1 if largest > 0.5 else 0.5)
        assert largest <= end


@pytest.mark.parametrize(
    ("largest", "end"),
    [(0.4613, 0.47), (0.47, 0.47), (1, 1), (0.0995, 0.1), (6e-4, 6e-4), (0.00061, 0.00061)],
)
def test_the_end_of_the_differences_can_be_read_from_the_legend(largest, end):
    assert end_of_signed(largest) == end
    assert end == float(f"{end:.3g}")


def test_what_hardly_differs_is_not_painted_as_if_it_did(two):
    assert compare_figure(difference(two.a, two.a)).constants["limit"] == 1.0


def test_the_values_of_small_matrices_are_printed_and_agree(two):
    printed = [
        texts(group)
        for group in drawn(compare_figure(two))
        if group[0].text in {"0.678", "0.317", "−0.361"}
    ]
    a, b, differences = (
        np.array([float(text.replace("−", "-")) for text in group]).reshape(7, 7)
        for group in printed
    )
    np.testing.assert_allclose(a, two.a.weights, atol=0.00051)
    np.testing.assert_allclose(b, two.b.weights, atol=0.00051)
    np.testing.assert_allclose(differences, b - a, atol=1e-9)


def test_the_values_of_larger_ones_are_not():
    heads = (hand_made.random_head(9, 9, seed=seed) for seed in (0, 1))
    figure = compare_figure(difference(*heads))
    assert not re.search(r"printed", json.dumps(figure.structure))
    assert figure.n_marks == 3 * 81


def test_a_cell_says_both_weights_and_the_signed_difference(two):
    for panel in panels(compare_figure(two)).values():
        said = [tip["title"] for tip in panel["layer"][0]["encoding"]["tooltip"]]
        assert said == ["query token", "key token", "weight in A", "weight in B", "B − A"]
    cells = drawn(compare_figure(two))[0]
    spoken = [cell.get("aria-label") for cell in cells]
    assert len(spoken) == 49
    a, b = two.weights_a[2, 5], two.weights_b[2, 5]
    by = round(float(b), 4) - round(float(a), 4)
    assert spoken[2 * 7 + 5] == f"flies, arrow: A {a:.4f}, B {b:.4f}, B − A {by:+.4f}"


# Names


def test_each_is_labelled_with_its_own_tokens():
    a = hand_made.random_head(7, 7, queries=TIME, keys=TIME)
    b = hand_made.random_head(7, 7, seed=1, queries=FRUIT, keys=FRUIT)
    figure = compare_figure(difference(a, b), names=("time", "B"))
    sent = figure.constants
    assert sent["rows_a"] == sent["columns_a"] == list(TIME)
    assert sent["rows_b"] == sent["columns_b"] == list(FRUIT)
    both = ["[CLS]", "time / fruit", "flies", "like", "an / a", "arrow / banana", "[SEP]"]
    assert sent["rows_difference"] == sent["columns_difference"] == both
    assert sent["titles"] == ["A · time", "B", "B − A"]
    for side, panel in panels(figure).items():
        encoding = panel["layer"][0]["encoding"]
        assert encoding["x"]["axis"]["labelExpr"] == f"columns_{side}[datum.value]"
        assert encoding["y"]["axis"]["labelExpr"] == f"rows_{side}[datum.value]"
        assert encoding["y"]["axis"]["labels"] is (side != "difference")  # the rows beside it


@pytest.mark.parametrize("width", [228, 230, 232, 234, 236])
def test_no_column_loses_its_name_to_a_rounding_error(two, width, monkeypatch):
    """Vega draws no name outside of a scale, and 232 / 7 × 7 is a little more than 232."""
    monkeypatch.setitem(compare_layers.WIDTHS, "difference", width)
    compare._structure.cache_clear()
    drawn = vl_convert.vegalite_to_svg(compare_view(two).to_dict())
    compare._structure.cache_clear()
    assert drawn.count(">[CLS]</text>") == 5  # a row and a column of A and of B, a column of both


def test_it_says_in_words_where_the_difference_is_largest(two):
    figure = compare_figure(two, names=("one", "two"))
    assert figure.description == takeaway(two, ("one", "two"))
    assert figure.description.endswith(plain(where_largest(two, ("one", "two"))))
    assert "7 × 7 aligned tokens" in figure.description


def test_what_is_left_out_is_said(causal, long):
    assert compare_figure(causal).constants["note"] == [
        "left out: attention to the sink of A",
        "difference: a cell hidden in one of them counts as 0 there",
    ]
    assert compare_figure(long, 50, 60).constants["note"] == [
        "shown: queries 30 to 69 of 99, keys 40 to 79 of 99, of those that are aligned",
        "left out, without a partner: 1 query of A, 1 query of B, 1 key of A, 1 key of B",
        "the colours of A and B end at 0.5, not at 1",
    ]


# Hidden cells


def test_hidden_cells_are_grey_where_they_are_hidden_and_say_why(causal):
    sent = compare_figure(causal).constants
    later = ~np.tri(5, dtype=bool)
    np.testing.assert_array_equal(np.isnan(as_array(sent["a_cells"])), later)
    assert not np.isnan(as_array(sent["b_cells"])).any()
    differences = as_array(sent["difference_cells"])
    np.testing.assert_array_equal(differences[later], causal.b.weights[later])
    assert sent["because_a"] == causal.a.hiding.codes.tolist()
    crossed = [texts(group) for group in drawn(compare_figure(causal)) if group[0].text == "╲"]
    assert [len(group) for group in crossed] == [10]
    spoken = drawn(compare_figure(causal))[0][1].get("aria-label")
    assert spoken.startswith("q0, k1: A hidden: after the query, B 0.")


def test_where_both_hide_a_cell_there_is_no_difference():
    heads = (hand_made.random_head(causal=True, seed=seed) for seed in (0, 1))
    figure = compare_figure(difference(*heads))
    missing = np.isnan(as_array(figure.constants["difference_cells"]))
    np.testing.assert_array_equal(missing, ~np.tri(5, dtype=bool))
    crossed = [group for group in drawn(figure) if group[0].text == "╲"]
    assert [len(group) for group in crossed] == [10, 10, 10]
    assert figure.constants["note"] == []
    assert drawn(figure)[0][1].get("aria-label").endswith("B − A hidden in both")


# One pair in all three


def test_the_pair_that_is_chosen_is_framed_in_all_three(two):
    sent = compare_figure(two, 2, 5).constants
    assert (sent["framed_row"], sent["framed_column"]) == (2, 5)
    nothing = compare_figure(two).constants
    assert (nothing["framed_row"], nothing["framed_column"]) == (-1, -1)
    assert len(drawn(compare_figure(two, 2, 5))) == len(drawn(compare_figure(two))) + 6


def test_pointing_and_clicking_are_for_all_three_at_once(two):
    figure = compare_figure(two)
    names = [panel["layer"][0]["name"] for panel in panels(figure).values()]
    chosen = {p["name"]: p for p in figure.to_dict()["params"] if "select" in p}
    assert set(chosen) == {PICKED_PAIR, "pointed_pair"}
    for selection in chosen.values():
        assert selection["views"] == names
        assert selection["select"]["fields"] == ["row", "column"]
    assert chosen[PICKED_PAIR]["select"]["on"] == "click"


@pytest.mark.parametrize(("query", "key"), [(50, 60), (0, 98), (98, 0), (None, None)])
def test_of_a_long_text_one_part_is_shown_in_all_three(long, query, key):
    figure = compare_figure(long, query, key)
    sent = figure.constants
    rows, columns = (
        slice(sent[f"first_{what}"], sent[f"first_{what}"] + 40) for what in ("row", "column")
    )
    assert (query or 0) in range(rows.start, rows.stop)
    assert (key or 0) in range(columns.start, columns.stop)
    np.testing.assert_array_equal(as_array(sent["a_cells"]), long.weights_a[rows, columns])
    np.testing.assert_array_equal(as_array(sent["b_cells"]), long.weights_b[rows, columns])
    np.testing.assert_array_equal(as_array(sent["difference_cells"]), long.weights[rows, columns])
    assert 1 <= sent["limit"] / np.abs(long.weights).max() < 1.1
    first = rows.start
    assert sent["rows_a"][0] == f"{first} t{first}"
    assert sent["rows_b"][0] == f"{first + 1} t{first}"
    assert sent["rows_difference"][0] == f"{first}/{first + 1} t{first}"
    assert MOST_CELLS_IN_SVG < figure.n_marks <= 3 * 1600
    assert figure.to_dict()["usermeta"] == {"embedOptions": {"renderer": "canvas"}}


@pytest.mark.parametrize(("query", "key"), [(7, 0), (0, 7), (-1, 0), ("x", 0)])
def test_a_pair_that_is_not_there_is_refused(two, query, key):
    with pytest.raises(InputError, match=r"There is no (query|key) pair .*\n\nHint: 0 to 6"):
        compare_view(two, query=query, key=key)


# As a picture


def test_heads_that_look_alike_share_a_structure(sentence_trace):
    one, other = (
        compare_figure(difference(sentence_trace.head(0, 8), sentence_trace.head(5, head)), 1, 2)
        for head in (1, 2)
    )
    assert one.structure is other.structure


def test_the_page_draws_the_same_with_its_numbers_beside_it(causal):
    figure = compare_figure(causal, 1, 0)
    specification, numbers = figure.with_data()
    specification["datasets"] = {NUMBERS: [{"v": None if v != v else v} for v in numbers]}
    shown = [
        [mark.text for mark in group]
        for _, group in marks.groups(specification)
        if len(group) and group[0].text
    ]
    assert shown == [texts(group) for group in drawn(figure) if len(group) and group[0].text]


@pytest.mark.parametrize("display_mode", ["light", "dark"])
def test_it_is_drawn_in_the_colours_of_each_display(causal, display_mode):
    svg = to_svg(compare_view(causal, query=1, display_mode=display_mode), outlines=False)
    assert PALETTES[display_mode].background in svg
    assert "difference of weights, B − A" in svg
    with pytest.raises(InputError):
        compare_view(causal, display_mode="grey")


@cases(20, names=st.lists(labels(), min_size=4, max_size=4), called=st.tuples(labels(), labels()))
def test_no_token_and_no_name_is_part_of_an_expression(names, called):
    a, b = (
        hand_made.random_head(2, 2, seed=seed, queries=tuple(names[:2]), keys=tuple(names[2:]))
        for seed in (0, 1)
    )
    found = difference(a, b)
    figure = compare_figure(found, 0, 0, called)
    plain_figure = compare_figure(
        difference(*(hand_made.random_head(2, 2, seed=seed) for seed in (0, 1))), 0, 0
    )
    pattern = r'"(labelAngle|labelBaseline|minExtent)": ("\w+"|-?\d+)|"values": \[[\d, ]*\]'
    assert re.sub(pattern, "", json.dumps(figure.structure)) == re.sub(
        pattern, "", json.dumps(plain_figure.structure)
    )
    assert figures.figure(displayed(figure.chart(), "light"), ".svg", outlines=False).content


# The alignment


def test_a_line_joins_each_pair_and_what_has_no_partner_is_grey():
    labels_a, labels_b = list("abcd"), list("axybd")
    pairs = aligned(labels_a, labels_b)
    figure = alignment_figure(labels_a, labels_b, pairs)
    sent = figure.constants
    assert tuple(zip(sent["pair_a"], sent["pair_b"], strict=True)) == pairs.pairs
    assert (sent["is_paired_a"], sent["is_paired_b"]) == ([1, 1, 0, 1], [1, 0, 0, 1, 1])
    lines, above, _, below, _ = drawn(figure)
    assert len(lines) == 3
    assert (texts(above), texts(below)) == (labels_a, labels_b)
    colours = [[mark.get("fill") for mark in group] for group in (above, below)]
    assert [colour != colours[0][0] for colour in colours[0]] == [False, False, True, False]
    assert [colour != colours[0][0] for colour in colours[1]] == [False, True, True, False, False]
    assert figure.description == (
        "Alignment of 4 tokens of A and 5 tokens of B: 3 pairs, 3 of them alike; without a partner "
        "1 of A and 2 of B."
    )


def test_lines_stand_where_the_tokens_stand():
    pairs = Alignment(((0, 2), (2, 0)))
    lines, above, _, below, _ = drawn(alignment_figure("abc", "xyz", pairs))
    where = [
        [float(re.match(r"translate\(([\d.]+)", mark.get("transform"))[1]) for mark in group]
        for group in (above, below)
    ]
    for line, (a, b) in zip(lines, pairs.pairs, strict=True):
        start = float(re.match(r"translate\(([\d.]+)", line.get("transform"))[1])
        ends = {start, start + float(line.get("x2"))}
        assert ends == {where[0][a], where[1][b]}


def test_of_a_long_text_the_first_tokens_are_drawn_and_it_says_so():
    labels_a, labels_b = [f"t{n}" for n in range(60)], [f"t{n}" for n in range(1, 31)]
    figure = alignment_figure(labels_a, labels_b, aligned(labels_a, labels_b))
    assert figure.constants["note"] == ["shown: tokens 0 to 39 of 60 in A"]
    assert len(figure.constants["tokens_a"]) == 40
    assert len(figure.constants["pair_a"]) == 30
    assert figure.to_dict()["width"] <= 860


@pytest.mark.parametrize("names", [TIME, [f"a long token {n}" for n in range(30)], ["w" * 300]])
def test_tokens_stay_within_the_picture(names):
    figure = alignment_figure(names, names, aligned(names, names))
    assert figure.to_dict()["width"] <= 860
    to_svg(displayed(figure.chart(), "light"))


def test_without_any_pair_all_tokens_are_grey():
    figure = alignment_figure("ab", "cd", Alignment(()))
    above, _, below, _ = drawn(figure)
    assert len({mark.get("fill") for mark in (*above, *below)}) == 1
    assert figure.constants["is_paired_a"] == figure.constants["is_paired_b"] == [0, 0]


def test_filters_are_said_once_where_both_have_them(sentence_trace):
    words = filters.hide_special(sentence_trace)
    found = difference(words.head(0, 8), words.head(5, 11))
    assert compare_figure(found).constants["note"] == ["special tokens hidden"]
    found = difference(words.head(0, 8), sentence_trace.head(5, 11))
    assert compare_figure(found).constants["note"] == [
        "left out, without a partner: 2 queries of B, 2 keys of B",
        "A: special tokens hidden",
    ]


def test_an_alignment_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"\(3, 0\) names place 3 of A"):
        alignment_figure("abc", "abc", Alignment(((3, 0),)))
