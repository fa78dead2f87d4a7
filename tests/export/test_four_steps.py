"""Four steps of plain PyTorch give the head's numbers, from its weights or from what was read."""

import dataclasses
import re

import numpy as np
import pytest
import torch

import attnviz
from attnviz.attention.head import HeadTrace
from attnviz.attention.what_if import Change
from attnviz.export.four_steps import four_steps
from attnviz.export.screen import Screen
from attnviz.models import bundled
from tests.support import architectures
from tests.support.running_code import in_a_process, loaded, run, traced

SENTENCE = "time flies like an arrow"
OURS = Screen(bundled.BUNDLED, SENTENCE, 0, 8)


def screen(**changes):
    return dataclasses.replace(OURS, **changes)


@pytest.fixture
def loads_once(monkeypatch):
    """Scripts find a model that another has loaded."""
    monkeypatch.setattr(attnviz, "load", loaded)


def check_steps(code, head: HeadTrace):
    """Run a script of four steps and compare it with the head, where that has a meaning."""
    names = run(code)
    rows = ~head.is_meaningless
    weights, updated = (names[name].numpy() for name in ("weights", "updated"))
    assert np.abs(weights - head.own_weights)[rows].max() <= head.tolerance
    largest = np.abs(head.own_updated).max()
    assert np.abs(updated - head.own_updated)[rows].max() <= head.tolerance * largest
    return names


def is_from_weights(code):
    return "attnviz.trace" not in code and "W_" not in code and ".weight[rows]" in code


@pytest.mark.usefixtures("loads_once")
@pytest.mark.parametrize(
    "one",
    [
        *(screen(layer=layer, head=head) for layer, head in ((0, 8), (0, 0), (3, 5), (5, 11))),
        screen(pair="fruit flies like a banana", layer=2, head=7),
        screen(text='שלום 👨‍👩‍👧 \\ "it\'s"', layer=1, head=1),
        screen(layer=4, dtype="float64"),
    ],
    ids=lambda one: f"{one.layer}.{one.head}",
)
def test_four_steps_from_the_models_own_weights_give_the_heads_numbers(one):
    model, trace = traced(one)
    head = trace.head(one.layer, one.head)
    from_weights, from_captured = four_steps(one, trace, model), four_steps(one, trace)
    assert is_from_weights(from_weights)
    assert not is_from_weights(from_captured)
    names = check_steps(from_weights, head)
    for name in ("x", "q", "k", "v", "scores"):
        of_trace = head.x_query if name == "x" else getattr(head, name)
        np.testing.assert_allclose(names[name].numpy(), of_trace, rtol=1e-4, atol=1e-4)
    check_steps(from_captured, head)


CHANGES = {
    "no scaling": Change(scaling=1.0),
    "another temperature": Change(temperature=2.5),
    "hidden keys": Change(hidden_keys=(0, 3)),
    "a causal mask": Change(is_causal=True),
    "no causal mask": Change(is_causal=False),
    "zeroed dimensions": Change(zeroed_dimensions=(1, 5)),
    "all of it": Change(0.5, 0.7, (5,), True, (0, 2)),
}


def check_changed(one, trace, codes):
    """Scripts print the weights of the changed head, which are not the model's own."""
    head = trace.head(one.layer, one.head, one.kind)
    changed = one.change(head)
    rows = ~changed.is_masked.all(axis=1)
    for code in codes:
        names = run(code)
        for name in ("weights", "updated"):
            expected = getattr(changed, name)[rows]
            error = np.abs(names[name].numpy()[rows] - expected).max()
            assert error <= head.tolerance * max(1, np.abs(expected).max())


@pytest.mark.usefixtures("loads_once")
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_four_steps_make_the_change_of_the_screen(change):
    one = screen(layer=5, head=11, change=change)
    model, trace = traced(one)
    from_weights, from_captured = four_steps(one, trace, model), four_steps(one, trace)
    assert is_from_weights(from_weights)
    check_changed(one, trace, (from_weights, from_captured))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("family", ["gpt2", "mistral", "gpt_oss"])  # causal, a window, a sink
def test_four_steps_of_other_masks_make_the_change_too(family, change, monkeypatch):
    model, inputs, trace = architecture(family)
    monkeypatch.setattr(attnviz, "load", lambda *_: (model, lambda *_, **__: inputs))
    monkeypatch.setattr(attnviz, "trace", lambda *_: trace)
    one = Screen(family, SENTENCE, 0, 0, change=change)
    check_changed(one, trace, [four_steps(one, trace, model)])


@pytest.mark.usefixtures("loads_once")
def test_a_model_in_bfloat16_is_within_its_tolerance():
    one = screen(layer=3, dtype="bfloat16")
    model, trace = traced(one)
    code = four_steps(one, trace, model)
    assert is_from_weights(code)
    check_steps(code, trace.head(3, 8))


def test_four_steps_are_twelve_lines_or_so_and_named(sentence_trace, minilm):
    for model in (minilm[0], None):
        lines = four_steps(OURS, sentence_trace, model).splitlines()
        assert sum(bool(line) and not line.startswith(("#", "import")) for line in lines) <= 14
        steps = [line for line in lines if re.match("# [1-4] ", line)]
        assert [line.split()[2].strip(":,") for line in steps] == [
            *("project", "score", "scale", "update")
        ]
        assert all(re.search(r"\(7, (7|32)\)", line) for line in steps)


@pytest.mark.process
def test_four_steps_run_in_a_process_of_their_own_and_print_the_weights(
    sentence_trace, minilm, tmp_path
):
    for model in (minilm[0], None):
        printed = in_a_process(four_steps(OURS, sentence_trace, model), tmp_path)
        numbers = re.findall(r"\d\.\d+(?:e-\d+)?", printed)
        weights = sentence_trace.head(0, 8).weights
        np.testing.assert_allclose([float(n) for n in numbers], weights.flatten(), atol=1e-4)


def architecture(family, **changes):
    """A tiny model, what it is given, and its trace."""
    model = architectures.build(family, **changes)
    inputs = architectures.inputs_of(model)
    return model, inputs, attnviz.trace_inputs(model, inputs)


def check_all(family, monkeypatch, **changes):
    """Check the first and the last head of every layer; the scripts, those from weights first.

    Ids instead of a text: what the scripts load and trace is given to them.
    """
    model, inputs, trace = architecture(family, **changes)
    monkeypatch.setattr(attnviz, "load", lambda *_: (model, lambda *_, **__: inputs))
    monkeypatch.setattr(attnviz, "trace", lambda *_: trace)
    written = []
    for kind in trace.kinds:
        for layer in trace.layers(kind):
            for number in (0, trace.n_heads(layer, kind) - 1):
                one = Screen(family, SENTENCE, layer, number, kind=kind)
                codes = four_steps(one, trace, model), four_steps(one, trace)
                for code in codes:
                    check_steps(code, trace.head(layer, number, kind))
                written.append(codes)
    return written


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "xlm-roberta", "camembert"])
def test_the_bert_family_is_read_from_its_weights(family, monkeypatch):
    for of_weights, of_captured in check_all(family, monkeypatch):
        assert is_from_weights(of_weights)
        assert not is_from_weights(of_captured)


OTHERS = {
    "gpt2": ["masked_fill(is_later, -torch.inf)"],
    "llama": ["masked_fill(is_later, -torch.inf)", "# q and k are already rotated"],
    "mistral": ["torch.tensor(head.mask)"],
    "gemma2": ["1.5 * torch.tanh(scaled / 1.5)", "# k and v are shared by heads 0 and 1"],
    "t5": ["torch.tensor(head.bias)"],
    "bart": ["masked_fill(is_later, -torch.inf)"],
    "gpt_oss": ["torch.tensor(head.sink_logits)"],
    "deepseek_v3": ["v (9, 6)"],
    "deberta": ["torch.tensor(head.bias)"],
    "deberta-v2": ["torch.tensor(head.bias)"],
    "roberta-prelayernorm": [],
    "megatron-bert": [],
    "mobilebert": [],
    "roformer": [],
    "distilbert": [],
    "mpnet": ["torch.tensor(head.bias)"],
    "albert": [],
    "bloom": ["torch.tensor(head.bias)", "masked_fill(is_later, -torch.inf)"],
}


@pytest.mark.parametrize("family", list(OTHERS))
def test_other_families_begin_with_what_the_model_made(family, monkeypatch):
    written = [code for codes in check_all(family, monkeypatch) for code in codes]
    assert not any(map(is_from_weights, written))
    for said in OTHERS[family]:
        assert any(said in code for code in written), said


@pytest.mark.parametrize("changes", [{"is_decoder": True}, {"layer_norm_eps": 1e-12}])
def test_a_bert_that_writes_is_not_read_from_weights_for_it_hides_keys(changes, monkeypatch):
    written = [code for codes in check_all("bert", monkeypatch, **changes) for code in codes]
    assert any(map(is_from_weights, written)) == ("is_decoder" not in changes)


def test_weights_that_do_not_make_the_heads_query_are_not_shown_as_if_they_did(minilm):
    model, trace = architecture("bert")[::2]
    one = Screen("bert", SENTENCE, 1, 2)
    assert is_from_weights(four_steps(one, trace, model))
    with torch.no_grad():
        model.encoder.layer[1].attention.self.query.bias[2 * 8] += 0.01
    assert not is_from_weights(four_steps(one, trace, model))
    assert not is_from_weights(four_steps(one, trace, minilm[0]))
    assert not is_from_weights(four_steps(one, trace, object()))


@pytest.mark.usefixtures("loads_once")
@pytest.mark.parametrize("target", [None, "the arrow"])
def test_four_steps_of_a_source_and_a_target_trace_both(target):
    one = Screen("t5", SENTENCE, 1, 2, kind="cross", target=target)
    model, trace = traced(one)
    check_steps(four_steps(one, trace, model), trace.head(1, 2, "cross"))


def test_a_replay_that_is_not_the_models_own_is_said(sentence_trace):
    head = sentence_trace.head(0, 8)
    wrong = dataclasses.replace(
        sentence_trace.layer(0), weights_from=sentence_trace.layer(0).own_weights * 0.9
    )
    calls = {**sentence_trace.calls, ("self", 0): wrong}
    code = four_steps(OURS, dataclasses.replace(sentence_trace, calls=calls))
    error = 0.1 * head.weights.max()
    assert f"# The model's own numbers are up to {error:.2g} away from these." in code
    assert "away from" not in four_steps(OURS, sentence_trace)
