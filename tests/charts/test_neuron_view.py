"""The neuron view: its numbers are the head's, and what it draws says what it is."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import attnviz
from attnviz import export
from attnviz.attention import filters
from attnviz.attention.explained.dimensions import dimension_shares, dimensions_sentence, n_enough
from attnviz.charts.dimensions import dimensions_chart
from attnviz.charts.neurons import neurons_figure, takeaway
from attnviz.charts.parts.window import strongest_outside, window, window_around
from tests.support import hand_made


@pytest.fixture(scope="module")
def head(sentence_trace):
    return sentence_trace.head(0, 8)


def figure_of(head, query=None, key=None, first_query=0, first_key=0, **options):
    shown = window(len(head.query_tokens), len(head.key_tokens), first_query, first_key)
    return neurons_figure(head, shown, query, key, **options)


def as_array(nested):
    return np.array(nested, dtype=np.float32)


def drawn(chart, display_mode="light"):
    """The texts of the chart, drawn."""
    svg = ElementTree.fromstring(export.to_svg(chart, display_mode, outlines=False))
    return [e.text for e in svg.iter() if e.tag.endswith(("}text", "}tspan")) and e.text]


def n_lines(chart):
    svg = ElementTree.fromstring(export.to_svg(chart, outlines=False))
    groups = [e for e in svg.iter() if "mark-rule role-mark" in (e.get("class") or "")]
    return sum(len(group) for group in groups)


# Numbers


def test_each_array_is_sent_once_and_exactly(head):
    sent = figure_of(head, 2).constants
    for name, array in (("Q", head.q), ("K", head.k), ("V", head.v)):
        np.testing.assert_array_equal(as_array(sent[name]), array)
    for name in ("scores", "masked", "weights"):
        np.testing.assert_array_equal(as_array(sent[name]), getattr(head, name))
    assert sent["query_names"] == list(head.query_tokens)
    assert (sent["pinned_query"], sent["pinned_key"]) == (2, -1)


def test_what_is_drawn_is_the_selected_querys(head):
    for query in range(7):
        texts = [text.replace("−", "-") for text in drawn(attnviz.neuron_view(head, query))]
        expected = [f"{weight:.3f}" for weight in head.weights[query]]
        numbers = [text for text in texts if re.fullmatch(r"[01]\.\d{3}", text)]
        assert numbers[: len(expected)] == expected
        assert numbers[len(expected)] == "1.000"
        for value in (*head.scores[query], *head.masked[query]):
            assert any(t == np.format_float_positional(0) or same(t, value) for t in texts), value


def same(text, value):
    try:
        return float(text) == pytest.approx(float(f"{value:.3g}"), rel=1e-6)
    except ValueError:
        return False


def test_colours_reach_as_far_as_the_head_and_are_centred_on_zero(head):
    specification = attnviz.neuron_view(head, 2).to_dict()
    sent = {p["name"]: p.get("value") for p in specification["params"]}
    expected = {
        "q": np.abs(head.q).max(),
        "k": np.abs(head.k).max(),
        "product": np.abs(head.q[:, None] * head.k[None]).max(),
        "scores": np.abs(head.scores).max(),
        "masked": np.abs(head.masked).max(),
        "value": np.abs(head.weights[:, :, None] * head.v[None]).max(),
    }
    expected["value"] = max(expected["value"], np.abs(head.updated).max())
    scales, legends = set(), set()
    for layer in specification["layer"]:
        for channel in ("color", "fill"):
            encoding = layer["encoding"].get(channel)
            if encoding is None:
                continue
            ends = [end["expr"] for end in encoding["scale"]["domain"]]
            assert ends[0] == f"-{ends[1]}"
            assert encoding["scale"]["domainMid"] == 0
            name = ends[1].removesuffix("_limit")
            assert sent[ends[1]] == pytest.approx(expected[name], rel=1e-6)
            scales.add(name)
            if encoding["legend"]:
                legends.add(name)
                assert ends[1] in encoding["legend"]["values"]["expr"]
    assert scales == legends == set(expected)


def test_the_columns_are_named_in_the_fields_words(head):
    texts = drawn(attnviz.neuron_view(head, 2))
    titles = ["query token", "query q", "weights", "key k", "q × k", "q · k", "scaled", "softmax"]
    assert {*titles, "key token", "w · v"} <= set(texts)


def test_what_is_added_before_the_softmax_is_in_the_title():
    masked = hand_made.random_head(causal=True, bias=np.ones((5, 5), np.float32))
    assert {"scaled", "+ bias", "+ mask"} <= set(drawn(attnviz.neuron_view(masked)))


def test_the_update_is_the_sum_of_all_values_shown_and_not(head):
    sent = figure_of(head, 2).constants
    assert sent["sum_names"] == ["sum"]
    products = head.weights[:, :, None] * head.v[None]
    np.testing.assert_allclose(as_array(sent["sum_values"][0]), products.sum(axis=1), atol=1e-6)


def test_keys_that_are_not_shown_are_added_up():
    head = hand_made.random_head(n_queries=100, n_keys=60)
    shown = window_around(70, 25, 100, 60)
    assert shown.note == "shown: queries 50 to 89 of 100, keys 5 to 44 of 60"
    sent = neurons_figure(head, shown, 70).constants
    assert sent["note"] == [shown.note]
    assert sent["sum_names"] == ["20 others", "sum"]
    np.testing.assert_array_equal(as_array(sent["weights"]), head.weights[50:90, 5:45])
    left = np.r_[0:5, 45:60]
    weights = head.weights[50:90, left]
    np.testing.assert_allclose(as_array(sent["sum_weights"])[:, 0], weights.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(as_array(sent["sum_weights"])[:, 1], 1, rtol=1e-5)
    np.testing.assert_allclose(as_array(sent["sum_values"][0]), weights @ head.v[left], atol=1e-6)
    assert sent["pinned_query"] == 20
    strongest = strongest_outside(head.weights[70], shown)
    assert strongest == sorted(left, key=lambda key: -head.weights[70, key])[:3]


@pytest.mark.parametrize("sink_logit", [None, 1.0])
def test_nothing_is_wider_than_the_chart_where_most_of_the_weight_is_not_shown(sink_logit):
    widths = []
    for n_keys in (40, 400):  # the sum of those that are not shown is many times the largest
        head = hand_made.random_head(n_queries=5, n_keys=n_keys, sink_logit=sink_logit)
        svg = ElementTree.fromstring(export.to_svg(attnviz.neuron_view(head), outlines=False))
        widths.append(float(svg.get("width")))
    assert widths[1] == pytest.approx(widths[0], abs=20)


def test_the_share_of_a_sink_has_a_row_of_its_own():
    head = hand_made.random_head(sink_logit=1.0)
    sent = figure_of(head).constants
    assert sent["sum_names"] == ["sink (no token)", "sum"]
    np.testing.assert_allclose(as_array(sent["sum_weights"])[:, 0], head.sink, rtol=1e-6)
    assert sent["sum_values"][0] is None
    assert sent["weight_limit"] == pytest.approx(max(head.weights.max(), head.sink.max()))


def test_padding_is_grey_and_a_hidden_key_says_why():
    is_padding = np.array([True, False, False, False, False])
    head = hand_made.random_head(causal=True, query_is_padding=is_padding)
    sent = figure_of(head, 1).constants
    assert sent["query_padding"] == [1, 0, 0, 0, 0]
    assert sent["because"] == head.hiding.codes.tolist()
    assert "hidden: after the query" in str(attnviz.neuron_view(head, 1).to_dict())


def test_a_hidden_key_says_so_instead_of_a_number():
    head = hand_made.random_head(causal=True)
    sent = figure_of(head, 0).constants
    assert sent["masked"][0][1:] == [None] * 4
    assert drawn(attnviz.neuron_view(head, 0)).count("hidden") == 4


# Lines


def test_every_line_has_its_weight_and_a_filter_leaves_the_strongest(sentence_trace):
    less = filters.with_lines(sentence_trace, top=2).head(0, 8)
    sent = figure_of(less, 2).constants
    np.testing.assert_array_equal(sent["has_line"], less.has_line)
    assert n_lines(attnviz.neuron_view(less, 2)) == 2
    assert n_lines(attnviz.neuron_view(sentence_trace.head(0, 8), 2)) == 7
    np.testing.assert_array_equal(as_array(sent["weights"]), less.weights)
    assert "lines: the 2 strongest of each query" in sent["note"]


def test_collapsed_all_lines_are_drawn_and_no_dimensions(head):
    chart = attnviz.neuron_view(head, 2, expanded=False)
    assert n_lines(chart) == int((head.weights > 0).sum())
    texts = drawn(chart)
    assert "query q" not in texts
    assert f"{head.weights[2, 0]:.3f}" in texts


def test_words_have_lines_and_no_dimensions(minilm):
    trace = attnviz.trace(*minilm, "dragonflies like arrows")
    merged = filters.in_words(trace).head(2, 7)
    texts = drawn(attnviz.neuron_view(merged, 1))
    assert "dragonflies" in texts
    assert "query q" not in texts
    assert any("merged into words" in text for text in texts)
    assert [f"{w:.3f}" for w in merged.weights[1]] == [
        text for text in texts if re.fullmatch(r"0\.\d{3}", text)
    ]


def test_what_a_filter_took_is_said_and_added_up(sentence_trace):
    less = filters.hide_special(sentence_trace).head(0, 8)
    sent = figure_of(less, 1).constants
    assert sent["note"] == ["special tokens hidden"]
    assert sent["sum_names"] == ["hidden tokens", "sum"]
    np.testing.assert_allclose(
        as_array(sent["sum_weights"])[:, 0],
        sentence_trace.head(0, 8).own_weights[1:-1, [0, -1]].sum(axis=1),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        as_array(sent["sum_values"][1]), less.own_weights @ less.v, atol=1e-6
    )


def test_who_attends_to_a_key_is_drawn_on_request(head):
    chart = attnviz.neuron_view(head, 2, 5, asked=True)
    texts = drawn(chart)
    assert "who attends" in texts
    assert {f"{weight:.3f}" for weight in head.weights[:, 5]} <= set(texts)
    assert n_lines(chart) == 7
    assert "who attends" not in drawn(attnviz.neuron_view(head, 2, 5))


# Dimensions


@pytest.mark.parametrize("d_head", [1, 4, 64, 65, 128, 256])
def test_any_number_of_dimensions_fits_the_row_and_each_has_a_cell(d_head):
    head = hand_made.random_head(n_queries=3, n_keys=2, d_head=d_head, d_value=3)
    svg = export.to_svg(attnviz.neuron_view(head, 0), outlines=False)
    n_cells = 3 * d_head + 2 * d_head + 2 * d_head + 2 * 3 + 3  # q, k, q × k, w · v, x′
    groups = ElementTree.fromstring(svg).iter()
    bands = [e for e in groups if re.search("(q|k|product|value|sum)_marks", e.get("class") or "")]
    cells = [cell for band in bands for cell in band]
    assert len(cells) == n_cells


def test_dimensions_are_sorted_by_their_share_of_the_pairs_score(head):
    sent = figure_of(head, 2, 5, is_sorted=True).constants
    product = head.q[2] * head.k[5]
    assert sent["dimensions"] == list(np.argsort(-product / head.scores[2, 5], kind="stable"))
    assert figure_of(head, 2, 5).constants["dimensions"] == list(range(32))
    with pytest.raises(attnviz.InputError, match="no key is given"):
        attnviz.neuron_view(head, 2, sort_dimensions=True)


def test_the_running_sum_says_how_many_dimensions_give_80_percent():
    q = np.array([[4, 2, 1, 1, -1, 3]], dtype=np.float32)
    head = hand_made.head(q, np.ones((1, 6)), np.ones((1, 2)))
    shares = dimension_shares(head, 0, 0)
    np.testing.assert_allclose(shares["product"], [4, 3, 2, 1, 1, -1])
    np.testing.assert_allclose(shares["running"], np.cumsum([4, 3, 2, 1, 1, -1]) / 10)
    assert n_enough(shares) == 3
    said = dimensions_sentence(head, 0, 0)
    cancel, enough = said.split(" So shares of the score can exceed 100\u00a0%. ")
    assert cancel.startswith("Positive and negative products cancel in q · k of ")
    assert cancel.endswith(": 5 raise the score and 1 lowers it, 11.0000 − 1.0000 = 10.0000.")
    assert enough == (
        "**3 of 6 dimensions** are enough for 80\u00a0% of the score: they give 90.0\u00a0%."
    )


def test_a_negative_score_is_shared_out_too():
    q = np.array([[-4, -2, 1]], dtype=np.float32)
    head = hand_made.head(q, np.ones((1, 3)), np.ones((1, 2)))
    shares = dimension_shares(head, 0, 0)
    assert list(shares["dimension"]) == [0, 1, 2]
    np.testing.assert_allclose(shares["share"], [0.8, 0.4, -0.2])
    assert n_enough(shares) == 1


def test_a_score_of_0_has_no_shares():
    head = hand_made.head([[1.0, -1.0]], [[1.0, 1.0]], [[1.0]])
    shares = dimension_shares(head, 0, 0)
    assert shares["share"].isna().all()
    assert n_enough(shares) is None
    assert "add up to 0" in dimensions_sentence(head, 0, 0)
    assert dimensions_chart(head, 0, 0).constants["shares_share"] == [None, None]
    export.to_svg(dimensions_chart(head, 0, 0).chart(), outlines=False)


def test_the_shares_are_drawn_as_they_are(head):
    figure = dimensions_chart(head, 2, 5)
    shares = dimension_shares(head, 2, 5)
    assert figure.constants["shares_share"] == shares["share"].tolist()
    assert figure.constants["shares_running"] == shares["running"].tolist()
    n = n_enough(shares)
    assert f"80 % after {n} of 32" in drawn(figure.chart())


# What is refused, said and sent


def test_a_token_that_is_not_shown_is_refused():
    head = hand_made.random_head(n_queries=100, n_keys=60)
    with pytest.raises(attnviz.InputError, match="Query 70 is not among the tokens shown, 0 to 39"):
        attnviz.neuron_view(head, 70)
    with pytest.raises(attnviz.InputError, match="Key 50 is not among the tokens shown, 0 to 39"):
        attnviz.neuron_view(head, 0, 50)
    with pytest.raises(attnviz.InputError, match="first_key is 60; there are 60 tokens"):
        attnviz.neuron_view(head, 0, first_key=60)


@pytest.mark.parametrize(
    ("position", "n", "start"), [(0, 7, 0), (0, 100, 0), (99, 100, 60), (50, 100, 30)]
)
def test_the_window_stays_inside_the_text(position, n, start):
    assert window_around(position, 0, n, 1).queries.start == start


def test_what_is_to_be_seen_is_said_in_words(head):
    said = takeaway(head, 2)
    assert said.startswith("Neuron view of layer 0, head 8: flies gives most of its attention to")
    assert f"[CLS] {100 * head.weights[2, 0]:.1f}" in said
    assert figure_of(head, 2).to_dict()["description"] == said


def test_seven_tokens_at_64_dimensions_are_sent_in_less_than_100_kb():
    head = hand_made.random_head(n_queries=7, n_keys=7, d_head=64, d_value=64)
    assert len(attnviz.neuron_view(head, 2).to_json(indent=None)) < 100_000


@pytest.mark.parametrize("d_head", [64, pytest.param(256, marks=pytest.mark.long)])
def test_any_number_of_tokens_is_sent_in_less_than_1_mb(d_head):
    head = hand_made.random_head(n_queries=512, n_keys=512, d_head=d_head, d_value=d_head)
    assert len(attnviz.neuron_view(head, 2).to_json(indent=None)) < 1_000_000


def test_no_colour_is_beyond_its_scale():
    v = np.r_[np.ones((40, 1)), -np.ones((40, 1))]
    head = hand_made.head(np.zeros((1, 1)), np.zeros((80, 1)), v)
    sent = figure_of(head).constants
    assert sent["value_limit"] == pytest.approx(np.abs(sent["sum_values"][0]).max())


def test_the_notebooks_chart_takes_the_keyboard_and_collapses(head):
    specification = attnviz.neuron_view(head, 2).to_dict()
    by_name = {parameter["name"]: parameter for parameter in specification["params"]}
    tokens = by_name["clicked"]["bind"]["query"]
    assert tokens["labels"] == [f"{at} {label}" for at, label in enumerate(head.query_tokens)]
    assert by_name["clicked"]["value"] == [{"query": 2}]
    assert by_name["is_expanded"]["bind"]["input"] == "checkbox"


def test_it_is_drawn_in_both_displays(head):
    light, dark = (
        export.to_svg(attnviz.neuron_view(head), mode, outlines=False) for mode in ("light", "dark")
    )
    assert "#ffffff" in light
    assert "#0e1117" in dark
