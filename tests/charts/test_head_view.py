"""The head view: every line is a weight of the model's own, and each head has its place."""

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import attnviz
from attnviz import export
from attnviz.attention import filters
from attnviz.charts.heads import INVISIBLE, heads_figure, takeaway
from attnviz.charts.parts.window import window
from attnviz.page.views.heads import heads_on, who_links
from tests.support import tiny_models


@pytest.fixture(scope="module")
def call(sentence_trace):
    return sentence_trace.layer(2)


def whole(call):
    return window(len(call.query_tokens), len(call.key_tokens))


def described(chart, mark):
    """What is drawn for head, query and key: the label "head 3, flies to time: 0.6" in parts."""
    svg = ElementTree.fromstring(export.to_svg(chart, outlines=False))
    labels = [
        e.get("aria-label") or ""
        for group in svg.iter()
        if f"mark-{mark} role-mark" in (group.get("class") or "")
        for e in group
    ]
    parts = [re.fullmatch(r"head (\d+), (.+) to (.+): (.+)", label) for label in labels]
    return [
        {"head": int(p[1]), "query": p[2], "key": p[3], "weight": float(p[4])} for p in parts if p
    ]


def lines(chart):
    return described(chart, "rule")


def test_the_weights_sent_are_the_models_own(call):
    sent = heads_figure(call, 2, whole(call)).constants
    np.testing.assert_array_equal(np.float32(sent["weights"]), call.own_weights)
    assert sent["pinned_heads"] == list(range(12))
    assert sent["query_names"] == list(call.query_tokens.labels)


def test_there_is_a_line_for_every_query_key_and_head_that_can_be_seen(sentence_trace, call):
    shown = lines(attnviz.head_view(sentence_trace, 2))
    assert len(shown) == int((call.own_weights > INVISIBLE).sum())
    for line in shown:
        labels = call.query_tokens.labels
        query, key = labels.index(line["query"]), labels.index(line["key"])
        assert np.float32(line["weight"]) == call.own_weights[line["head"], query, key]


def test_a_line_is_as_opaque_as_its_weight_and_none_lies_on_another_heads(sentence_trace):
    svg = ElementTree.fromstring(
        export.to_svg(attnviz.head_view(sentence_trace, 2), outlines=False)
    )
    places = set()
    n_lines = 0
    for line in svg.iter():
        label = line.get("aria-label") or ""
        if line.tag.endswith("}line") and label.startswith("head "):
            weight = float(label.rsplit(": ")[1])
            assert float(line.get("opacity")) == pytest.approx(weight, rel=1e-4)
            places.add((line.get("transform"), line.get("x2"), line.get("y2")))
            n_lines += 1
    assert len(places) == n_lines > 0


@pytest.mark.parametrize("heads", [[3], [0, 11], range(12)])
def test_only_the_heads_that_are_on_have_lines(sentence_trace, heads):
    shown = lines(attnviz.head_view(sentence_trace, 2, heads=heads))
    assert {line["head"] for line in shown} == set(heads)


def test_a_query_alone_shows_its_lines_and_a_stripe_a_head_beside_every_key(sentence_trace, call):
    chart = attnviz.head_view(sentence_trace, 2, query=2)
    shown = lines(chart)
    assert {line["query"] for line in shown} == {"flies"}
    assert len(shown) == int((call.own_weights[:, 2] > 0).sum())
    stripes = described(chart, "rect")
    assert len(stripes) == 12 * 7
    for stripe in stripes:
        key = call.key_tokens.labels.index(stripe["key"])
        assert np.float32(stripe["weight"]) == call.own_weights[stripe["head"], 2, key]


def test_a_key_alone_shows_who_attends_to_it(sentence_trace, call):
    shown = lines(attnviz.head_view(sentence_trace, 2, key=1))
    assert {line["key"] for line in shown} == {"time"}
    assert len(shown) == int((call.own_weights[:, :, 1] > 0).sum())


@pytest.fixture(scope="module")
def with_sinks():
    model = tiny_models.build("gpt_oss")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("sinks"):
                parameter.fill_(1.5)
    return attnviz.trace_inputs(model, {"input_ids": tiny_models.random_ids()})


def test_what_goes_to_no_token_has_a_row_and_lines_of_its_own(with_sinks):
    call = with_sinks.layer(0)
    sent = heads_figure(call, 0, whole(call)).constants
    weights = np.float32(sent["weights"])
    np.testing.assert_array_equal(weights[..., :-1], call.own_weights)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-6)
    assert sent["key_names"] == [*call.key_tokens.labels, "sink (no token)"]
    shown = lines(attnviz.head_view(with_sinks, 0))
    to_sink = [line for line in shown if line["key"] == "sink (no token)"]
    assert len(to_sink) == int((call.sinks > INVISIBLE).sum()) > 0
    for line in to_sink:
        query = call.query_tokens.labels.index(line["query"])
        assert line["weight"] == pytest.approx(call.sinks[line["head"], query], rel=1e-5)
    less = filters.with_lines(with_sinks, top=1)
    assert any(line["key"] == "sink (no token)" for line in lines(attnviz.head_view(less, 0)))


def test_a_click_on_the_sink_chooses_no_key(with_sinks):
    specification = attnviz.head_view(with_sinks, 0).to_dict()
    clicked = next(p for p in specification["params"] if p["name"] == "clicked_key")
    assert clicked["select"]["on"] == "@keys_marks:click[datum && datum.key < 9]"


@pytest.mark.parametrize("padded", [slice(0, 3), slice(6, 9)])
def test_padding_gives_nothing_that_is_worth_a_line(padded):
    model = tiny_models.build("bert")
    ids = tiny_models.random_ids()
    mask = torch.ones_like(ids)
    mask[0, padded] = 0
    trace = attnviz.trace_inputs(model, {"input_ids": ids, "attention_mask": mask})
    names = {str(place) for place in range(9)[padded]}
    shown = lines(attnviz.head_view(trace, 0))
    assert not names & {line["query"] for line in shown}
    first = range(9)[padded][0]
    assert {line["query"] for line in lines(attnviz.head_view(trace, 0, query=first))} == {
        str(first)
    }
    sent = heads_figure(trace.layer(0), 0, whole(trace.layer(0))).constants
    assert [str(place) for place in np.flatnonzero(sent["key_padding"])] == sorted(names)


def test_no_hue_is_used_twice(sentence_trace):
    svg = ElementTree.fromstring(
        export.to_svg(attnviz.head_view(sentence_trace, 2), outlines=False)
    )
    squares = [e for e in svg.iter() if re.match(r"head \d+, on$", e.get("aria-label") or "")]
    assert len({square.get("fill") for square in squares}) == len(squares) == 12


@pytest.mark.parametrize(
    ("n_tokens", "most"), [(7, 100_000), pytest.param(512, 1_000_000, marks=pytest.mark.long)]
)
def test_what_is_sent_stays_small(n_tokens, most):
    model = tiny_models.build("bert", num_attention_heads=32, max_position_embeddings=512)
    ids = torch.randint(5, 100, (1, n_tokens), generator=torch.manual_seed(0))
    trace = attnviz.trace_inputs(model, {"input_ids": ids})
    assert len(attnviz.head_view(trace).to_json(indent=None)) < most


def test_it_is_said_where_every_weight_is_too_small_for_a_line(call):
    for weight, said in ((0.001, ["no line: no weight shown is above 0.002"]), (0.003, [])):
        even = dataclasses.replace(call, weights_from=np.full_like(call.own_weights, weight))
        assert heads_figure(even, 2, whole(call)).constants["note"] == said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"layer": 9}, "no self attention in layer 9"),
        ({"heads": [12]}, "Layer 0 has no head 12"),
        ({"query": 7}, "Query 7 is not among the tokens shown, 0 to 6"),
        ({"key": -1}, "Key -1 is not among the tokens shown"),
    ],
)
def test_what_is_not_there_is_refused(sentence_trace, wrong, said):
    with pytest.raises(attnviz.InputError, match=said):
        attnviz.head_view(sentence_trace, **wrong)


def test_what_is_to_be_seen_is_said_in_words(call):
    said = takeaway(call, 2, 2, 1)
    strongest = int(call.own_weights[:, 2, 1].argmax())
    assert said.startswith("Head view of layer 2, 12 heads. The largest weight from flies to time")
    assert f"head {strongest}: {100 * call.own_weights[strongest, 2, 1]:.1f}" in said
    said = who_links(call, 2, 2, 1, list(range(12)))
    assert said.index(f"head {strongest} ") < said.index("mean of all 12 heads")
    others = [head for head in range(12) if head != strongest]
    assert f"head {strongest} " not in who_links(call, 2, 2, 1, others)
    assert "No head is on" in who_links(call, 2, 2, 1, [])


@pytest.mark.parametrize(
    ("drawn_on", "toggled", "isolated", "expected"),
    [
        ((0, 1, 2), [], [], [0, 1, 2]),
        ((0, 1, 2), [1], [], [0, 2]),
        ((0, 2), [1], [], [0, 1, 2]),
        ((0, 1, 2), [], [1], [1]),
        ((0, 1, 2), [2], [1], [1, 2]),
    ],
)
def test_which_heads_are_on_after_clicks(drawn_on, toggled, isolated, expected):
    assert heads_on(drawn_on, toggled, isolated) == expected
