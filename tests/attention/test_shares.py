"""What each value adds to an update, and each head to the output."""

import json
import re

import altair as alt
import numpy as np
import pytest

from attnviz import export
from attnviz.attention.explained.shares import head_norms, value_shares
from attnviz.charts.parts.values import three_digits
from attnviz.charts.shares import MAX_KEYS, OTHERS, SINK, SUM, shares_chart
from attnviz.text.phrases import number
from tests.support import hand_made, marks

SAID = three_digits("datum.v")


@pytest.fixture(params=range(4))
def head(request):
    return hand_made.random_head(n_keys=7, d_value=5, seed=request.param)


def test_every_number_is_recomputed_from_weights_and_values(head):
    table = value_shares(head, 3)
    assert sorted(table["key"]) == list(range(7))
    updated = head.weights[3] @ head.v
    norms = [np.linalg.norm(head.weights[3, j] * head.v[j]) for j in range(7)]
    for row in table.itertuples():
        v = head.v[row.key]
        assert row.token == head.key_tokens[row.key]
        assert row.weight == head.weights[3, row.key]
        assert row.value_norm == pytest.approx(np.linalg.norm(v), rel=1e-5)
        assert row.share_norm == pytest.approx(norms[row.key], rel=1e-5)
        assert row.share == pytest.approx(norms[row.key] / sum(norms), rel=1e-5)
        lengths = np.linalg.norm(v) * np.linalg.norm(updated)
        assert row.cosine == pytest.approx(v @ updated / lengths, rel=1e-4, abs=1e-6)
        assert row.distance == pytest.approx(np.linalg.norm(updated - v), rel=1e-5)
    assert (np.diff(table["share_norm"]) <= 0).all()
    assert table["share"].sum() == pytest.approx(1)


def test_a_value_of_zero_has_no_direction_and_is_no_error():
    head = hand_made.head(np.eye(2), np.eye(2), np.zeros((2, 3)))
    table = value_shares(head, 0)
    assert table["cosine"].isna().all()
    assert (table["share"] == 0).all()


def test_a_sink_has_a_large_weight_and_adds_little():
    v = np.array([[0.01, 0], [3, 4]])
    head = hand_made.head([[1.0]], [[3.0], [0.0]], v)
    table = value_shares(head, 0).set_index("key")
    assert table.loc[0, "weight"] > 0.9
    assert table.loc[0, "share"] < 0.1


def names_of(sent):
    """What each row is called, as the chart's own expression says."""
    others = {
        OTHERS: f"the other {sent['share_n_others']}",
        SINK: "sink: no token",
        SUM: "sum: x′",
    }
    return [
        others[row]
        if row < 0
        else ("▸ " if row == sent["share_marked"] else "") + sent["share_tokens"][row]
        for row in sent["share_rows"]
    ]


def test_the_rows_are_called_what_the_chart_says():
    head = hand_made.random_head(n_keys=12, sink_logit=1.0)
    figure = shares_chart(head, 2, key=int(head.weights[2].argmax()))
    svg = export.to_svg(figure.chart(), outlines=False)
    for name in names_of(figure.constants):
        assert name in svg


def test_a_number_beside_a_bar_is_written_as_in_the_sentences_and_the_order_is_said(head):
    svg = export.to_svg(shares_chart(head, 3).chart(), outlines=False)
    table = value_shares(head, 3)
    printed = re.findall(r">([^<>]+)</text>", svg)
    for field in ("value_norm", "share_norm", "cosine", "distance"):
        for value in table[field]:
            assert number(value) in printed
    assert [title for title in printed if "↓" in title] == ["‖w·v‖ ↓"]


@pytest.mark.parametrize(
    ("value", "written"),
    [(3.3, "3.30"), (-0.05, "−0.0500"), (999.6, "1000"), (12345.6, "12300"), (0, "0")],
)
def test_charts_and_sentences_write_three_digits_alike(value, written):
    drawn = alt.Chart(alt.sequence(1)).mark_text().transform_calculate(v=f"{value}", said=SAID)
    assert f">{written}</text>" in export.to_svg(drawn.encode(text="said:N"), outlines=False)
    assert number(value) == written


@pytest.mark.parametrize("n_keys", [5, MAX_KEYS, MAX_KEYS + 1, 40])
def test_the_bands_add_up_to_the_update(n_keys):
    head = hand_made.random_head(n_keys=n_keys)
    spec = shares_chart(head, 2, key=1).to_dict()
    bands = np.float64(next(p["value"] for p in spec["params"] if p["name"] == "share_bands"))
    names = names_of({p["name"]: p.get("value") for p in spec["params"]})
    np.testing.assert_allclose(bands[:-1].sum(axis=0), bands[-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bands[-1], head.updated[2], rtol=1e-6)
    assert names[-1] == "sum: x′"
    n_bands = n_keys if n_keys <= MAX_KEYS else MAX_KEYS + 1
    assert len(bands) == len(names) == n_bands + 1
    sent = {p["name"]: p.get("value") for p in spec["params"]}
    assert sent["share_tokens"] == list(head.key_tokens)  # the same for every head and pair
    if n_keys > MAX_KEYS:
        assert names[-2] == f"the other {n_keys - MAX_KEYS}"
    order = value_shares(head, 2)["key"].tolist()
    for place, key in enumerate(order[:MAX_KEYS]):
        assert names[place] == ("▸ " if key == 1 else "") + head.key_tokens[key]
        np.testing.assert_allclose(bands[place], head.weights[2, key] * head.v[key], rtol=1e-5)


@pytest.mark.parametrize("n_keys", [5, MAX_KEYS, 40])
@pytest.mark.parametrize("sink_logit", [None, 1.0])
def test_the_figure_knows_how_many_marks_it_has(n_keys, sink_logit):
    head = hand_made.random_head(n_keys=n_keys, d_value=64, sink_logit=sink_logit)
    figure = shares_chart(head, 2, key=0)
    assert figure.n_marks == pytest.approx(marks.count(figure.to_dict()), rel=0.1)


def test_what_a_row_says_is_worked_out_once_for_all_columns(head):
    structure = shares_chart(head, 2, key=1).structure
    assert structure["data"]["sequence"] == {"start": 0, "stop": 8, "as": "place"}
    written = json.dumps(structure)
    assert written.count("share_tokens") == written.count("share_weight[") == 1
    assert written.count('sequence":') == 1


def test_a_heads_norm_is_that_of_its_output(sentence_trace):
    norms = head_norms(sentence_trace.layer(2), 3)
    for place, norm in enumerate(norms):
        own = np.linalg.norm(sentence_trace.head(2, place).output[3])
        assert norm == pytest.approx(own, rel=1e-4)


def test_a_sink_has_a_row_with_its_weight_and_nothing_else():
    head = hand_made.random_head(sink_logit=1.0)
    sent = shares_chart(head, 2).constants
    place = names_of(sent).index("sink: no token")
    assert place == len(sent["share_rows"]) - 2
    assert sum(w for w in sent["share_weight"] if w is not None) == pytest.approx(1, rel=1e-5)
    assert sent["share_weight"][place] == pytest.approx(float(head.sink[2]))
    assert set(sent["share_bands"][place]) == {None}
    assert sent["share_share_norm"][place] is None
