"""A sample of what `python -m tests.coverage` does with every text architecture.

And that it can fail: that it tells a wrong mask, swapped heads, missed attention and a crash.
"""

import dataclasses
import os

import pytest
import torch

import attnviz
from tests import coverage
from tests.support import architectures, supported
from tests.support.own_numbers import own_numbers

OBSERVED = {
    "albert": {"self": 3},  # one module, called three times
    "bart": {"encoder": 3, "decoder": 2, "cross": 2},
    "bert": {"self": 3},
    "deepseek_v3": {"self": 3},  # values of another size than queries
    "deepseek_v32": {"self": 4},  # each query chooses its keys
    "gemma2": {"self": 3},  # soft-cap and window
    "gpt2": {"self": 3},
    "gpt_oss": {"self": 3},  # sinks
    "jamba": {"self": 1},  # a hybrid
    "llama": {"self": 3},
    "minimax": {"self": 2},  # returns the other layers' states among its attentions
    "modernbert": {"self": 3},
    "qwen3_next": {"self": 2},
    "t5": {"encoder": 3, "decoder": 2, "cross": 2},
    "t5gemma": {"encoder": 4, "decoder": 4, "cross": 4},
}
TRACED = {
    "bloom": {"self": 3},
    "deberta-v2": {"self": 3},
    "deberta-v2, absolute": {"self": 3},
    "falcon": {"self": 3},
    "funnel": {"self": 6},  # fewer queries than keys
    "gptj": {"self": 3},
    "mpnet": {"self": 3},
    "mvp": {"encoder": 3, "decoder": 2, "cross": 2},
    "openai-gpt": {"self": 3},  # hides a key by a product with zero
    "xlnet": {"self": 3},  # positions before the batch
}


@pytest.mark.parametrize(
    ("name", "layers", "how"),
    [
        *((name, layers, "observed") for name, layers in OBSERVED.items()),
        *((name, layers, "traced") for name, layers in TRACED.items()),
    ],
)
def test_what_is_captured_is_what_the_model_computes(name, layers, how):
    result = coverage.check(name)
    assert result.complaints == []
    assert result.how == how
    assert result.layers == layers
    assert result.largest_error < 1e-5
    assert result.sharpness > (0.25 if "deberta" in name else 0.35)


@pytest.mark.parametrize("broken", coverage.BREAKS)
@pytest.mark.parametrize("name", ["bert", "llama", "t5", "bloom", "falcon"])
def test_a_broken_mask_and_swapped_heads_are_told(name, broken):
    result = coverage.check(name, broken)
    assert not result.is_exact
    assert result.largest_error > 0.1


def test_a_missed_layer_is_told(monkeypatch):
    traced = attnviz.trace_inputs

    def without_a_layer(model, inputs):
        trace = traced(model, inputs)
        calls = {key: call for key, call in trace.calls.items() if key != ("self", 1)}
        return dataclasses.replace(trace, calls=calls)

    monkeypatch.setattr(attnviz, "trace_inputs", without_a_layer)
    complaints = coverage.check("bert").complaints
    assert complaints == ["missed: BertSelfAttention computes a softmax of shape (1, 4, 9, 9)"]


def test_a_model_without_softmax_attention_is_told_from_one_that_is_said_to_have_none(monkeypatch):
    result = coverage.check("mamba")
    assert (result.how, result.complaints) == ("nothing", [])

    def refuse(model, inputs):
        raise attnviz.NoAttentionError

    monkeypatch.setattr(attnviz, "trace_inputs", refuse)
    assert "but BertSelfAttention computes" in coverage.check("bert").complaints[0]


def test_a_type_that_fails_crashes_or_hangs_is_a_result(monkeypatch):
    def check(name, broken):
        torch.set_num_threads(1)
        if name == "gpt2":
            os._exit(3)
        if name == "bert":
            raise ValueError("no such thing")
        if name == "t5":
            torch.multiprocessing.Event().wait()
        return coverage.Result(name, "observed")

    monkeypatch.setattr(coverage, "check", check)
    monkeypatch.setattr(coverage, "SECONDS_A_TYPE", 1)
    names = ["gpt2", "bert", "t5", "llama"]
    results = {result.name: result for result in coverage.check_all(names)}
    assert results["gpt2"].complaints == ["its process ended with code 3"]
    assert results["bert"].complaints == ["ValueError in test_every_architecture.py: no such thing"]
    assert results["t5"].complaints == ["took more than 1 seconds"]
    assert results["llama"].is_exact


@pytest.mark.parametrize(
    ("is_exact", "is_listed", "status"), [(1, 0, 0), (1, 1, 1), (0, 0, 1), (0, 1, 0)]
)
def test_the_run_fails_where_the_list_is_not_what_was_found(
    monkeypatch, capsys, is_exact, is_listed, status
):
    monkeypatch.setattr(coverage, "NOT_EXACT", {"bert": "a reason"} if is_listed else {})
    result = coverage.Result("bert", "observed", complaints=[] if is_exact else ["wrong"])
    assert coverage.judge([result], ["bert"]) == status
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert last_line == f"{is_exact} of 1 text architectures exact, 0 without softmax attention"


def test_the_rule_tells_text_from_other_modalities():
    text = ["bert", "t5", "gemma3_text", "qwen2_vl_text", "t5gemma", "mpt", "mamba"]
    assert all(map(architectures.is_text_alone, text))
    other = ["vit", "clip", "gemma3", "whisper", "imagegpt", "musicgen", "gpt-sw3"]
    assert not any(map(architectures.is_text_alone, other))


def test_the_readme_lists_what_the_coverage_found():
    found = supported.found()
    assert sorted(found) == sorted(architectures.text_types())
    assert supported.in_document() == supported.part_of_document(found, coverage.NOT_EXACT)
    in_part = {name for name, way in found.items() if way in ("in part", "refused")}
    assert in_part == set(coverage.NOT_EXACT) - set(architectures.VARIANTS)


def test_the_models_own_numbers_are_seen_without_attnviz():
    model = architectures.build("bert")
    own = own_numbers(model, architectures.inputs_of(model, "left"))
    assert [len(own.attentions["self"]), len(own.softmaxes)] == [3, 3]
    for attention, softmax in zip(own.attentions["self"], own.softmaxes, strict=True):
        torch.testing.assert_close(attention, softmax.weights, rtol=0, atol=0)
        assert softmax.module == "BertSelfAttention"
        assert not attention[..., :3].any()
