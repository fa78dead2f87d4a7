"""A finished trace cannot change; it pickles, copies and goes elsewhere with everything in it."""

import copy
import io
import pickle
import subprocess
import sys
import threading

import joblib
import numpy as np
import peft
import pytest
import torch
from torch import nn

import attnviz
from tests.support import several_stacks, tiny_models
from tests.support.adapting import adapted
from tests.support.tracing import all_heads, tiny_inputs

STEPS = ("x_query", "q", "k", "v", "mask", "bias", "own_weights", "own_updated", "weights")


def arrays_of(head, *names):
    found = {name: getattr(head, name) for name in (*STEPS, *names)}
    return {name: one.copy() for name, one in found.items() if one is not None}


def assert_same(trace, expected, *names):
    for head, arrays in zip(all_heads(trace), expected, strict=True):
        now = arrays_of(head, *names)
        assert now.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(now[name], array, err_msg=name)
        assert head.is_exact


# By which means the parameters of a model are changed


def by_data(parameter):
    parameter.data += 0.1 * torch.ones_like(parameter)


def in_place(parameter):
    with torch.no_grad():
        parameter.mul_(3)


def by_another_tensor(parameter):
    parameter.data = torch.zeros_like(parameter)


def by_a_view(parameter):
    parameter.detach().view(-1)[::3].add_(1)


def by_numpy(parameter):
    parameter.detach().numpy()[...] *= -1


CHANGES = {
    "data": lambda model: [by_data(one) for one in model.parameters()],
    "in place": lambda model: [in_place(one) for one in model.parameters()],
    "another tensor": lambda model: [by_another_tensor(one) for one in model.parameters()],
    "a view": lambda model: [by_a_view(one) for one in model.parameters()],
    "NumPy": lambda model: [by_numpy(one) for one in model.parameters()],
    "load_state_dict": lambda model: model.load_state_dict(
        {name: torch.randn_like(one.float()).to(one) for name, one in model.state_dict().items()}
    ),
    "assigned": lambda model: model.load_state_dict(
        {name: torch.randn_like(one.float()).to(one) for name, one in model.state_dict().items()},
        assign=True,
    ),
    "an optimiser": lambda model: _stepped(model),
    "half": lambda model: model.half(),
    "to meta": lambda model: model.to("meta"),
    "exchanged": lambda model: [_exchanged(part) for part in model.modules()],
    "buffers": lambda model: [buffer.zero_() for buffer in model.buffers()],
    "training": lambda model: model.train(),
}


def _stepped(model):
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()


def _exchanged(part):
    for name, one in list(part.named_children()):
        if isinstance(one, nn.Linear):
            setattr(part, name, nn.Linear(one.in_features, one.out_features))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("family", ["bert", "t5", "gpt_oss"])
def test_whatever_becomes_of_the_model_a_trace_is_the_same_or_refuses_the_output(family, change):
    model = tiny_models.build(family)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    expected = [arrays_of(head) for head in all_heads(trace)]
    outputs = [head.output.copy() for head in all_heads(trace)]
    CHANGES[change](model)
    assert_same(trace, expected)
    n_refused = 0
    for head, output in zip(all_heads(trace), outputs, strict=True):
        if head.output is None:
            n_refused += 1
            assert head.no_output_because == "the model was changed after the trace"
            assert trace.layer(head.layer, head.kind).output_error is None
            assert trace.layer(head.layer, head.kind).outputs_of(slice(None)) is None
        else:
            np.testing.assert_array_equal(head.output, output)
    # What the trace holds is another than the model's only where that was written over.
    keeps = ("another tensor", "assigned", "half", "to meta", "exchanged", "buffers", "training")
    assert (n_refused == 0) == (change in keeps)


def test_a_bias_that_is_trained_on_stays_what_it_was():
    model = tiny_models.build("bert")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    bias = trace.layer(1).projection.bias.copy()
    with torch.no_grad():
        model.encoder.layer[1].attention.output.dense.bias.fill_(9)
    np.testing.assert_array_equal(trace.layer(1).projection.bias, bias)
    assert trace.layer(1).output_error < 1e-5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merged_and_unmerged_adapters_change_the_output_and_bring_it_back(dtype):
    model = tiny_models.build("bert", dtype=dtype)
    config = peft.LoraConfig(
        target_modules=["output.dense"], init_lora_weights=False, lora_alpha=64
    )
    held = adapted(model, config)
    held.merge_adapter()
    trace = attnviz.trace_inputs(held, tiny_inputs(model))
    merged = [head.output.copy() for head in all_heads(trace)]
    held.unmerge_adapter()
    assert all(head.output is None for head in all_heads(trace))
    held.merge_adapter()
    for head, output in zip(all_heads(trace), merged, strict=True):
        np.testing.assert_allclose(head.output, output, atol=1e-2 if dtype == "bfloat16" else 1e-5)


def test_what_a_hook_keeps_and_writes_into_is_not_the_traces():
    model, kept = tiny_models.build("llama"), []

    def keep(module, args, output):
        kept.extend(one for one in (*args, output) if isinstance(one, torch.Tensor))

    for part in model.modules():
        part.register_forward_hook(keep)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    names = ("output", "q_before_rotary", "k_before_rotary")
    expected = [arrays_of(head, *names) for head in all_heads(trace)]
    assert len(kept) > 50
    for tensor in kept:
        tensor.fill_(7)
    assert_same(trace, expected, *names)


class WritesIntoWhatItHad(nn.Module):
    """A projection that writes into what the layer before it was given, once that is recorded."""

    def __init__(self, base):
        super().__init__()
        self.base, self.earlier = base, []

    def forward(self, x):
        for tensor in self.earlier:
            tensor.mul_(5)
        self.earlier.clear()
        return self.base(x)


def test_what_a_model_writes_into_later_in_a_pass_is_shown_as_it_was():
    plain, model = tiny_models.build("llama"), tiny_models.build("llama")
    norm, last = model.layers[0].input_layernorm, model.layers[0].mlp
    last.down_proj = WritesIntoWhatItHad(last.down_proj).eval()
    own = norm.forward
    norm.forward = lambda states: (kept := own(states), last.down_proj.earlier.append(kept))[0]
    inputs = tiny_inputs(model)
    trace, other = attnviz.trace_inputs(model, inputs), attnviz.trace_inputs(plain, inputs)
    expected = [arrays_of(head) for head in all_heads(other)]
    assert_same(trace, expected)


def test_learned_queries_are_copied_from_the_model():
    model = several_stacks.build("blip-2")
    trace = attnviz.trace_inputs(model, several_stacks.inputs_of("blip-2"))
    expected = [arrays_of(head) for head in all_heads(trace)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0)
    assert_same(trace, expected)


# Elsewhere

WAYS = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    "pickle, protocol 2": lambda one: pickle.loads(pickle.dumps(one, protocol=2)),
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "joblib": lambda one: _through_joblib(one),
}


def _through_joblib(one):
    file = io.BytesIO()
    joblib.dump(one, file)
    file.seek(0)
    return joblib.load(file)


@pytest.mark.parametrize(
    ("family", "way"),
    [
        *((family, "pickle") for family in (*tiny_models.CONFIGS, *tiny_models.UNUSUAL)),
        *(("t5", way) for way in WAYS),
        ("qwen3_next", "joblib"),
    ],
)
def test_a_trace_arrives_with_everything_in_it_and_read_only(family, way):
    model = tiny_models.build(family)
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    names = ("output", "output_gate", "sink_logits", "q_before_rotary")
    expected = [arrays_of(head, *names) for head in all_heads(trace)]
    arrived = WAYS[way](trace)
    assert_same(arrived, expected, *names)
    assert (arrived.source, arrived.kinds, arrived.dtype) == (
        trace.source,
        trace.kinds,
        trace.dtype,
    )
    if "copy" not in way:  # a copy is the trace itself; what is sent is on its own
        for parameter in model.parameters():
            parameter.data.fill_(0)
    for head, own in zip(all_heads(arrived), all_heads(trace), strict=True):
        assert [step.name for step in head.steps] == [
            step.name for step in own.steps if step.name != "output"
        ] + ["output"] * ("output" in arrays_of(head, "output"))
        for name in STEPS:
            if (array := getattr(head, name)) is not None:
                assert not array.flags.writeable, name
    with pytest.raises(ValueError, match="read-only"):
        arrived.layer(arrived.layers()[0]).q[0] = 0


def test_heads_and_filtered_traces_pickle_too(sentence_trace):
    head = pickle.loads(pickle.dumps(sentence_trace.head(2, 3)))
    np.testing.assert_array_equal(head.output, sentence_trace.head(2, 3).output)
    changed = attnviz.what_if(sentence_trace.head(2, 3), scaling=1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(changed)).weights, changed.weights)
    for filtered in (
        attnviz.filters.hide_special(sentence_trace),
        attnviz.filters.with_lines(attnviz.filters.in_words(sentence_trace), top=2),
    ):
        arrived = pickle.loads(pickle.dumps(filtered))
        np.testing.assert_array_equal(arrived.head(1, 1).weights, filtered.head(1, 1).weights)
        assert arrived.head(1, 1).notes == filtered.head(1, 1).notes
    own = attnviz.from_arrays(head.q, head.k, head.v)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(own)).head(0, 0).weights, own.head(0, 0).weights
    )


def test_a_pickle_is_as_large_as_is_said(sentence_trace):
    n_bytes = len(pickle.dumps(sentence_trace))
    n, n_heads, d_model = 7, 12, 384
    said = sentence_trace.nbytes + 6 * 4 * (n * n * n_heads + 4 * d_model**2)
    assert said <= n_bytes <= 1.05 * said


def test_a_trace_of_a_changed_model_pickles_without_the_output():
    model = tiny_models.build("bert")
    trace = attnviz.trace_inputs(model, tiny_inputs(model))
    model.encoder.layer[1].attention.output.dense.weight.data += 1
    arrived = pickle.loads(pickle.dumps(trace))
    assert arrived.head(1, 0).output is None
    assert arrived.head(1, 0).no_output_because == "the model was changed after the trace"
    assert arrived.head(0, 0).output is not None


def test_traces_pickle_while_other_threads_trace():
    model = tiny_models.build("bert")
    inputs = tiny_inputs(model)
    trace, is_over = attnviz.trace_inputs(model, inputs), threading.Event()

    def keep_tracing():
        while not is_over.is_set():
            attnviz.trace_inputs(model, inputs)

    other = threading.Thread(target=keep_tracing)
    other.start()
    try:
        for _ in range(20):
            arrived = pickle.loads(pickle.dumps(trace))
            np.testing.assert_array_equal(arrived.head(2, 1).weights, trace.head(2, 1).weights)
    finally:
        is_over.set()
        other.join()


@pytest.mark.process
def test_another_process_reads_a_pickle_without_torch(tmp_path, sentence_trace):
    (tmp_path / "trace.pickle").write_bytes(pickle.dumps(sentence_trace))
    code = (
        "import pickle, sys; trace = pickle.load(open(sys.argv[1], 'rb')); "
        "head = trace.head(0, 8); assert head.is_exact and head.output is not None; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "trace.pickle"], check=True)
