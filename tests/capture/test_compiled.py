"""torch.compile and torch.export work on any model before, while and after one is traced."""

import warnings

import pytest
import torch
from torch import nn

import attnviz
from attnviz.capture.calls import Recording
from attnviz.capture.modules import modules_of
from attnviz.capture.recording import recording
from tests.support import tiny_models
from tests.support.threads import in_another_thread
from tests.support.tracing import tiny_inputs


@pytest.fixture(autouse=True)
def dynamo():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about itself while it compiles
        torch._dynamo.reset()
        yield torch._dynamo
        torch._dynamo.reset()


def compiled(model):
    return torch.compile(model, backend="eager", fullgraph=True)


@torch.no_grad()
def run(model, inputs):
    return model(**inputs, use_cache=False)[0]


def n_graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def test_another_model_is_one_graph_after_a_trace(dynamo):
    model = tiny_models.build("bert")
    attnviz.trace_inputs(model, tiny_inputs(model))
    other, x = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), torch.randn(2, 4)
    torch.testing.assert_close(compiled(other)(x), other(x))
    torch.testing.assert_close(torch.export.export(other, (x,), strict=True).module()(x), other(x))
    dynamo.reset()
    assert dynamo.explain(other)(x).graph_break_count == 0


@pytest.mark.long
@pytest.mark.parametrize("model_type", ["bert", "llama", "bart", "bloom"])
def test_a_traced_model_that_was_compiled_is_not_compiled_again(model_type):
    model = tiny_models.build(model_type)
    inputs, fast = tiny_inputs(model), compiled(model)
    own = run(model, inputs)
    torch.testing.assert_close(run(fast, inputs), own)
    before = n_graphs()
    trace = attnviz.trace_inputs(model, inputs)
    assert trace.head(0, 0).is_exact
    torch.testing.assert_close(run(fast, inputs), own)
    assert n_graphs() == before
    attnviz.trace_inputs(model, inputs)
    torch.testing.assert_close(run(compiled(model), inputs), own)


@pytest.mark.long
@pytest.mark.parametrize("model_type", ["bert", "llama"])
def test_another_thread_compiles_the_very_model_that_is_being_recorded(model_type):
    model = tiny_models.build(model_type)
    inputs, early, late = tiny_inputs(model), compiled(model), compiled(model)
    own, made = run(early, inputs), Recording()
    with recording(modules_of(model), made):
        for one in (early, late):
            result = in_another_thread(run, one, inputs)
            assert type(result) is torch.Tensor
            torch.testing.assert_close(result, own)
    assert made.calls == []
    before = n_graphs()
    torch.testing.assert_close(run(early, inputs), own)
    assert n_graphs() == before


@pytest.mark.long
def test_a_model_that_was_compiled_in_place_is_traced_by_its_own_code():
    model = tiny_models.build("bert")
    inputs = tiny_inputs(model)
    alone = attnviz.trace_inputs(model, inputs)
    for module in (model.encoder.layer[1], model):
        module.compile(backend="eager")
        run(model, inputs)
        trace = attnviz.trace_inputs(model, inputs)
        for layer in alone.layers():
            assert (trace.layer(layer).own_weights == alone.layer(layer).own_weights).all()
            assert trace.layer(layer).origins == alone.layer(layer).origins
