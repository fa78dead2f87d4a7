"""What heads do, in numbers that are known beforehand or counted again cell by cell."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import attnviz
from attnviz import heads
from attnviz.attention import filters
from attnviz.heads import measuring
from attnviz.heads.induction_score import induction
from attnviz.heads.measuring import MEASURED, PLACES, Places, measured, places_of
from attnviz.text.tokens import Tokens, plain
from tests.support import tiny_models

# Hand-made heads


def text(labels="abcd", special=(), padding=()):
    names = tuple(labels)
    made = Tokens(
        replace(token, is_special=place in special) for place, token in enumerate(plain(names))
    )
    return made.padded([place in padding for place in range(len(names))])


def of_head(weights, norms=None, of=None, **options):
    """The measures of one head, of a text of its size."""
    weights = np.array([weights], np.float32)
    n = weights.shape[-1]
    norms = np.ones((1, n), np.float32) if norms is None else np.array([norms], np.float32)
    of = text("abcdefgh"[:n]) if of is None else of
    numbers = measured(weights, norms, places_of("self", of, of), **options)
    return dict(zip(MEASURED, map(float, numbers[0]), strict=True))


UNIFORM, IDENTITY = np.full((4, 4), 1 / 4), np.eye(4)
PREVIOUS, NEXT = np.eye(4, k=-1) + np.diag([1, 0, 0, 0]), np.eye(4, k=1) + np.diag([0, 0, 0, 1])
FIRST, CAUSAL = np.eye(4)[[0] * 4], np.tri(4) / np.arange(1, 5)[:, None]
HALVES = (IDENTITY + FIRST) / 2

KNOWN = {
    "uniform": (
        UNIFORM,
        {
            **{"entropy": 2, "distance": 20 / 16, "offset": 0, "largest": 1 / 4, "agreement": 1},
            **{"self": 1 / 4, "previous": 3 / 16, "next": 3 / 16, "first": 1 / 4},
        },
    ),
    "identity": (
        IDENTITY,
        {
            **{"entropy": 0, "distance": 0, "offset": 0, "largest": 1},
            **{"self": 1, "previous": 0, "next": 0, "first": 1 / 4},
        },
    ),
    "previous": (
        PREVIOUS,
        {
            **{"entropy": 0, "distance": 3 / 4, "offset": -3 / 4, "largest": 1},
            **{"self": 1 / 4, "previous": 3 / 4, "next": 0, "first": 1 / 2},
        },
    ),
    "next": (
        NEXT,
        {
            **{"entropy": 0, "distance": 3 / 4, "offset": 3 / 4, "largest": 1},
            **{"self": 1 / 4, "previous": 0, "next": 3 / 4, "first": 0},
        },
    ),
    "first": (
        FIRST,
        {
            **{"entropy": 0, "distance": 6 / 4, "offset": -6 / 4, "largest": 1},
            **{"self": 1 / 4, "previous": 1 / 4, "next": 0, "first": 1},
        },
    ),
    "causal": (
        CAUSAL,
        {
            "entropy": (0 + 1 + math.log2(3) + 2) / 4,
            **{"distance": (0 + 1 / 2 + 1 + 3 / 2) / 4, "offset": -(0 + 1 / 2 + 1 + 3 / 2) / 4},
            **{"self": 25 / 48, "previous": 13 / 48, "next": 0, "first": 25 / 48},
            "largest": 25 / 48,
        },
    ),
    "half itself, half the first": (
        HALVES,
        {
            **{"entropy": 3 / 4, "distance": 3 / 4, "offset": -3 / 4, "largest": 5 / 8},
            **{"self": 5 / 8, "previous": 1 / 8, "next": 0, "first": 5 / 8},
        },
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_a_head_has_the_numbers_that_follow_from_its_pattern(name):
    weights, known = KNOWN[name]
    numbers = of_head(weights)
    assert {name: numbers[name] for name in known} == pytest.approx(known, abs=1e-6)


@pytest.mark.parametrize("name", KNOWN)
def test_values_of_one_size_change_nothing(name):
    numbers = of_head(KNOWN[name][0], norms=[3] * 4)
    for measure in ("entropy", *PLACES):
        assert numbers[f"wv_{measure}"] == pytest.approx(numbers[measure], abs=1e-6, nan_ok=True)


def test_a_query_moves_as_much_of_a_value_as_its_size_and_weight_say():
    numbers = of_head(UNIFORM, norms=[0, 1, 1, 2])  # shares 0, 1/4, 1/4, 1/2 in each row
    assert numbers["wv_entropy"] == pytest.approx(1.5)
    assert numbers["wv_first"] == 0
    assert numbers["wv_self"] == pytest.approx(1 / 4)
    assert numbers["wv_previous"] == pytest.approx((0 + 1 / 4 + 1 / 4) / 4)
    assert numbers["wv_next"] == pytest.approx((1 / 4 + 1 / 4 + 1 / 2) / 4)
    assert numbers["wv_offset"] == pytest.approx(1 / 4 + 2 / 4 + 3 / 2 - 6 / 4)
    assert numbers["entropy"] == pytest.approx(2)


def test_a_query_that_moves_nothing_is_left_out_of_what_is_moved():
    numbers = of_head(IDENTITY, norms=[0, 1, 1, 1])
    assert numbers["wv_self"] == pytest.approx(1)
    assert numbers["wv_first"] == 0
    nothing = of_head(IDENTITY, norms=[0] * 4)
    assert all(math.isnan(nothing[f"wv_{name}"]) for name in ("entropy", "offset", "first"))
    assert nothing["self"] == 1


def test_shares_go_to_special_tokens_and_to_punctuation():
    weights = np.full((4, 4), 0.25)
    numbers = of_head(weights, of=text(("[CLS]", "a", "##.", "␣—"), special={0}))
    assert numbers["special"] == pytest.approx(0.25)
    assert numbers["punctuation"] == pytest.approx(0.5)
    assert numbers["wv_punctuation"] == pytest.approx(0.5)


def test_what_a_text_does_not_have_is_not_a_number():
    numbers = of_head(UNIFORM)
    unknown = {name for name, number in numbers.items() if math.isnan(number)}
    assert unknown == {"special", "punctuation", "wv_special", "wv_punctuation", "output"}
    alone = of_head([[1]])
    assert {name for name in ("self", "previous", "next") if math.isnan(alone[name])} == {
        *("previous", "next")
    }
    assert (alone["self"], alone["first"], alone["entropy"]) == (1, 1, 0)


def test_rows_of_nothing_do_not_count():
    weights = UNIFORM.copy()
    weights[:2] = 0
    numbers = of_head(weights)
    assert numbers["entropy"] == pytest.approx(2)
    assert numbers["self"] == pytest.approx(1 / 4)
    assert numbers["largest"] == pytest.approx(1 / 4)
    nothing = of_head(np.zeros((4, 4)), output_norms=np.ones((1, 4), np.float32))
    assert all(math.isnan(number) for number in nothing.values())


def test_a_row_that_gives_less_than_1_counts_with_what_it_gives():
    weights = np.diag([1, 0.5, 0.5, 0.5])
    weights[3, 0] = 0.25
    numbers = of_head(weights)
    shares = np.array([2 / 3, 1 / 3])
    assert numbers["entropy"] == pytest.approx(-(shares * np.log2(shares)).sum() / 4)
    assert numbers["self"] == pytest.approx(2.5 / 4)
    assert numbers["distance"] == pytest.approx(0.25 * 3 / 2.75)


def test_heads_agree_with_their_mean_as_far_as_they_overlap():
    weights = np.stack([IDENTITY, IDENTITY, FIRST]).astype(np.float32)
    of = text()
    norms = np.ones((3, 4), np.float32)
    outputs = np.array([[1] * 4, [1] * 4, [2] * 4], np.float32)
    numbers = pd.DataFrame(
        measured(weights, norms, places_of("self", of, of), outputs), columns=MEASURED
    )
    assert list(numbers["agreement"]) == pytest.approx([3 / 4, 3 / 4, 1 / 2], abs=1e-6)
    assert list(numbers["output"]) == pytest.approx([1 / 4, 1 / 4, 1 / 2])


def test_the_first_token_is_the_first_that_is_not_padding():
    of = text(padding={0, 1})
    weights = np.zeros((4, 4))
    weights[2:, 2] = 1
    numbers = of_head(weights, of=of)
    assert (numbers["first"], numbers["self"], numbers["previous"]) == (1, 0.5, 0.5)
    assert math.isnan(numbers["special"])


def test_numpy_and_torch_measure_a_batch_with_padding_as_each_text_alone():
    rng = np.random.default_rng(0)
    lengths, longest = (5, 8, 1), 8
    weights = rng.random((3, 2, longest, longest), dtype=np.float32)
    norms = np.zeros((3, 2, longest), np.float32)
    is_read = (np.arange(longest) < np.array(lengths)[:, None])[:, None].astype(np.float32)
    outputs = rng.random((3, 2, longest), dtype=np.float32)
    of_all = {name: np.full((3, longest, longest), np.nan, np.float32) for name in PLACES}
    alone = []
    for row, n in enumerate(lengths):
        drawn = rng.random((2, n, n))
        weights[row, :, :n] = 0  # padding looks at something too
        weights[row, :, :n, :n] = drawn / drawn.sum(axis=-1, keepdims=True)
        norms[row, :, :n] = rng.random((2, n))
        of = text("ab.cdefg"[:n], special={1})
        places = places_of("self", of, of)
        for name in PLACES:
            if (place := getattr(places, name)) is not None:
                of_all[name][row] = 0
                of_all[name][row, :n, :n] = place
        part = row, slice(None), slice(n)
        alone.append(measured(weights[(*part, slice(n))], norms[part], places, outputs[part]))
    for library in (np.asarray, torch.from_numpy):
        places = Places(**{name: library(place) for name, place in of_all.items()})
        arrays = library(weights), library(norms), places, library(outputs), library(is_read)
        numbers = np.asarray(measured(*arrays))
        for column, name in enumerate(MEASURED):
            expected = np.array(alone)[..., column]
            np.testing.assert_allclose(numbers[..., column], expected, atol=1e-5, err_msg=name)


# Traces


def counted(trace, kind, layer, head):
    """Every measure but induction of one head, cell by cell, as the definitions say."""
    call = trace.layer(layer, kind)
    n_readers = call.n_heads // call.n_key_value_heads
    norms = [math.sqrt(sum(float(x) ** 2 for x in row)) for row in call.v[head // n_readers]]
    queries, keys = call.query_tokens, call.key_tokens
    all_weights = call.own_weights.astype(np.float64)
    weights = all_weights[head]
    read = [
        query
        for query in range(len(queries))
        if not call.is_meaningless[query] and weights[query].sum() > 0
    ]
    padding = {position for token in keys if token.is_padding for position in token.positions}
    first = min(set(range(len(padding) + 1)) - padding)
    is_such = {
        "self": lambda i, j: set(queries[i].positions) & set(keys[j].positions),
        "previous": lambda i, j: keys[j].positions[-1] + 1 == queries[i].positions[0],
        "next": lambda i, j: keys[j].positions[0] - 1 == queries[i].positions[-1],
        "first": lambda i, j: first in keys[j].positions,
        "special": lambda i, j: keys[j].is_special,
        "punctuation": lambda i, j: keys[j].is_punctuation,
    }

    def offset(i, j):
        return np.mean(keys[j].positions) - np.mean(queries[i].positions)

    def looking(given):
        n_given = {i: sum(row.values()) for i, row in given.items()}
        rows = [i for i in given if n_given[i] > 0]
        cells = [(i, j, given[i][j]) for i in rows for j in given[i]]
        if not rows:
            return dict.fromkeys(["entropy", *PLACES], math.nan)
        numbers = dict.fromkeys(PLACES, math.nan)
        numbers["entropy"] = -sum(
            w / n_given[i] * math.log2(w / n_given[i]) for i, j, w in cells if w > 0
        ) / len(rows)
        if kind != "cross":
            whole = sum(w for _, _, w in cells)
            numbers["distance"] = sum(w * abs(offset(i, j)) for i, j, w in cells) / whole
            numbers["offset"] = sum(w * offset(i, j) for i, j, w in cells) / whole
        for name, holds in is_such.items():
            if kind == "cross" and name in ("self", "previous", "next"):
                continue
            real = [
                (i, j)
                for i in range(len(queries))
                for j in range(len(keys))
                if not (keys[j].is_padding or (kind != "cross" and queries[i].is_padding))
            ]
            if any(holds(i, j) for i, j in real):
                numbers[name] = sum(
                    w for i, j, w in cells if not keys[j].is_padding and holds(i, j)
                ) / len(rows)
        return numbers

    numbers = looking({i: dict(enumerate(weights[i])) for i in read})
    moved = {i: {j: w * norms[j] for j, w in enumerate(weights[i])} for i in read}
    shares = {
        i: {j: x / sum(row.values()) for j, x in row.items()}
        for i, row in moved.items()
        if sum(row.values()) > 0
    }
    numbers |= {f"wv_{name}": number for name, number in looking(shares).items()}
    mean_head = all_weights.mean(axis=0)
    numbers["largest"] = np.mean([weights[i].max() for i in read])
    numbers["agreement"] = np.mean([np.minimum(weights[i], mean_head[i]).sum() for i in read])
    outputs = call.outputs_of(slice(None))
    numbers["output"] = math.nan
    if outputs is not None:
        sizes = [np.linalg.norm(output.astype(np.float64), axis=-1) for output in outputs]
        numbers["output"] = np.mean([sizes[head][i] / sum(size[i] for size in sizes) for i in read])
    return numbers


def tiny(model_type, *, padded=False):
    model = tiny_models.build(model_type)
    if padded:
        return attnviz.trace_inputs(model, tiny_models.padded_inputs(model))
    ids = {"input_ids": tiny_models.random_ids()}
    if model.config.is_encoder_decoder:
        ids["decoder_input_ids"] = tiny_models.random_ids(5, seed=1)
    return attnviz.trace_inputs(model, ids, tokens=["x", ".", *"abcdefg"])


TRACED = {
    "grouped queries": lambda: tiny("llama"),
    "a window": lambda: tiny("mistral"),
    "sinks": lambda: tiny("gpt_oss"),
    "encoder and decoder": lambda: tiny("t5"),
    "other heads in the decoder": lambda: tiny("bart"),
    "padding": lambda: tiny("llama", padded=True),
    "padding of a source": lambda: tiny("bart", padded=True),
    "no shares of the output": lambda: tiny("bitnet"),
}
FILTERED = {
    "the sentence": lambda trace: trace,
    "without special tokens": filters.hide_special,
    "renormalised": lambda trace: filters.hide_special(trace, renormalise=True),
    "without a key and a query": lambda trace: filters.hide_tokens(trace, keys=[2], queries=[3]),
}


def hold(trace):
    table = heads.measures(trace)
    assert table["induction"].isna().all()
    for row in table.to_dict("records")[:: max(1, len(table) // 8)]:
        expected = counted(trace, row["kind"], row["layer"], row["head"])
        assert set(expected) == set(MEASURED)
        for name in MEASURED:
            bound = 1e-5 * (len(trace.tokens) if "distance" in name or "offset" in name else 4)
            assert row[name] == pytest.approx(expected[name], abs=bound, nan_ok=True), name


@pytest.mark.parametrize("name", TRACED)
def test_measures_are_what_counting_every_cell_gives(name):
    hold(TRACED[name]())


@pytest.mark.parametrize("name", FILTERED)
def test_measures_of_a_filtered_trace_are_counted_from_what_is_left(sentence_trace, name):
    hold(FILTERED[name](sentence_trace))


def test_measures_of_words_are_counted_from_words(minilm):
    trace = attnviz.trace(*minilm, "unbelievably, bananafly likes arrows.")
    words = filters.in_words(trace)
    assert len(words.layer(0).key_tokens) < len(trace.tokens)
    hold(words)
    hold(filters.in_words(filters.hide_tokens(trace, keys=[2])))


@pytest.mark.parametrize("n_cells", [1, 12 * 7 * 2, 12 * 7 * 3])
def test_a_text_that_is_measured_in_parts_has_the_same_numbers(
    monkeypatch, sentence_trace, n_cells
):
    whole = heads.measures(sentence_trace)
    monkeypatch.setattr(measuring, "_N_CELLS", n_cells)
    parts = heads.measures(sentence_trace)
    np.testing.assert_allclose(parts[[*MEASURED]], whole[[*MEASURED]], atol=1e-5)


def test_cross_attention_is_measured_in_parts_too(monkeypatch):
    trace = filters.hide_tokens(tiny("t5"), keys=[0])  # nothing is left that has a place
    whole = heads.measures(trace, "cross")
    assert whole["entropy"].notna().all()
    assert whole[[*PLACES]].drop(columns="punctuation").isna().all(axis=None)
    monkeypatch.setattr(measuring, "_N_CELLS", 1)
    pd.testing.assert_frame_equal(heads.measures(trace, "cross"), whole, rtol=1e-4)


def test_shares_of_the_output_of_a_layer_sum_to_1(sentence_trace):
    of_layers = heads.measures(sentence_trace).groupby("layer")["output"].sum()
    np.testing.assert_allclose(of_layers, 1, atol=1e-5)


def test_every_number_is_in_the_range_of_its_measure(sentence_trace):
    table = heads.measures(sentence_trace, induction=heads.measures(sentence_trace))
    assert list(table.columns) == ["kind", "layer", "head", *(m.name for m in heads.MEASURES)]
    for measure in heads.MEASURES:
        known = table[measure.name].dropna()
        assert known.between(measure.lowest, measure.highest).all(), measure.name
        assert all((measure.title, measure.formula, measure.meaning, measure.source))
        base = next(one for one in heads.MEASURES if one.name == measure.name.removeprefix("wv_"))
        words = re.findall("[a-z]{2,}", measure.formula)
        assert words == re.findall("[a-z]{2,}", base.formula)


def test_one_kind_is_measured_alone_and_an_unknown_one_refused():
    trace = tiny("t5")
    assert set(heads.measures(trace, "cross")["kind"]) == {"cross"}
    with pytest.raises(attnviz.InputError, match="no attention of kind 'nothing'"):
        heads.measures(trace, "nothing")


# Induction


@torch.no_grad()
def moving_back(n_back):
    """A BERT of one head, whose tokens look at the one that stands `n_back` places before."""
    shape = dict(hidden_size=64, num_attention_heads=1, num_hidden_layers=1)
    model = tiny_models.build("bert", **shape)
    for name, parameter in model.named_parameters():
        parameter.fill_(1 if name.endswith("LayerNorm.weight") else 0)
    model.embeddings.position_embeddings.weight.copy_(torch.eye(64))
    attention = model.encoder.layer[0].attention.self
    attention.key.weight.copy_(torch.eye(64))
    attention.query.weight.copy_(10 * torch.eye(64).roll(-n_back, 0))
    return model


def test_a_head_that_looks_at_what_followed_has_an_induction_score_of_1():
    assert induction(moving_back(9), n_tokens=10)["induction"][0] == pytest.approx(1, abs=1e-4)
    for n_back in (10, 8):
        other = induction(moving_back(n_back), n_tokens=10)["induction"][0]
        assert other == pytest.approx(0, abs=1e-4)


def test_the_induction_score_of_even_attention_is_1_by_the_number_of_tokens(minilm):
    model = tiny_models.build("bert", vocab_size=len(minilm[1]))
    for layer in model.encoder.layer:
        torch.nn.init.zeros_(layer.attention.self.query.weight)
        torch.nn.init.zeros_(layer.attention.self.query.bias)
    alone = induction(model, n_tokens=10)
    assert list(alone.columns) == ["kind", "layer", "head", "induction"]
    assert len(alone) == 12
    np.testing.assert_allclose(alone["induction"], 1 / 20, rtol=1e-5)
    with_ends = induction(model, minilm[1], n_tokens=10)  # between [CLS] and [SEP]
    np.testing.assert_allclose(with_ends["induction"], 1 / 22, rtol=1e-5)


def test_a_run_is_shortened_to_what_the_model_has_positions_for(minilm):
    model = tiny_models.build("bert", vocab_size=len(minilm[1]))  # 64 positions
    assert induction(model, minilm[1], n_tokens=32).equals(induction(model, minilm[1], n_tokens=31))


def test_both_texts_of_an_encoder_decoder_are_repeated_and_cross_attention_has_no_score():
    table = induction(tiny_models.build("t5"), n_tokens=6)
    assert set(table["kind"]) == {"encoder", "decoder", "cross"}
    is_cross = table["kind"] == "cross"
    assert table["induction"][is_cross].isna().all()
    assert table["induction"][~is_cross].between(0, 1).all()


def test_measures_take_the_induction_scores_of_a_model(minilm, sentence_trace):
    scores = induction(*minilm)
    table = heads.measures(sentence_trace, induction=scores)
    np.testing.assert_array_equal(table["induction"], scores["induction"])
    assert scores["induction"].equals(induction(*minilm)["induction"])
    assert not scores["induction"].equals(induction(*minilm, seed=1)["induction"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_tokens=1), "n_tokens is '1'"),
        (dict(n_tokens="</script>"), "n_tokens is '</script>'"),
        (dict(n_tokens=True), "n_tokens is 'True'"),
        (dict(seed=-1), "seed is '-1'"),
        (dict(n_tokens=10**9), "117 ordinary tokens"),
    ],
)
def test_a_run_that_is_not_possible_is_refused(options, message):
    with pytest.raises(attnviz.InputError, match=message):
        induction(tiny_models.build("t5"), **options)


def test_what_is_no_model_is_refused():
    with pytest.raises(attnviz.UnsupportedModelError, match="received int"):
        induction(3)
