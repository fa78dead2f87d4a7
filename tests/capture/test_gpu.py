"""Models on a GPU: as exact as on the CPU, and what they computed is moved off it."""

import gc

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

import attnviz
from attnviz.capture import forward_pass, inputs
from attnviz.models import bundled, loader
from tests.support import architectures
from tests.support.tracing import all_heads

# As long as the page takes: about 500 tokens.
LONG_TEXT = "The quick brown fox jumps over the lazy dog, and time flies like an arrow. " * 27
POSITIONS = 600


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Where a tiny model of a type, with positions for a long text, is saved."""
    root = tmp_path_factory.mktemp("gpu")

    def folder(model_type):
        tokenizer = AutoTokenizer.from_pretrained(bundled.folder())
        lengths = {} if model_type in ("t5", "bloom") else {"max_position_embeddings": POSITIONS}
        model = architectures.build(model_type, vocab_size=len(tokenizer), **lengths)
        for part in (model, tokenizer):
            part.save_pretrained(root / model_type)
        return str(root / model_type)

    return folder


DTYPES = ("float32", "bfloat16", "float16")
FAMILIES = ("bert", "llama", "t5", "mpnet")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_long_text_is_exact_in_every_precision(folder_of, model_type, dtype):
    assert_is_exact(attnviz.load(folder_of(model_type), dtype=dtype), dtype)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_long_text_is_exact_on_a_gpu(folder_of, model_type, dtype):
    loaded = attnviz.load(folder_of(model_type), dtype=dtype, device="cuda")
    assert loaded[0].device.type == "cuda"
    assert_is_exact(loaded, dtype)


def assert_is_exact(loaded, dtype):
    trace = attnviz.trace(*loaded, LONG_TEXT)
    assert trace.dtype == dtype
    assert 400 < len(trace.tokens) <= 512
    for head in all_heads(trace):
        if not_scaled_in_bfloat16(head):
            assert head.max_error <= 2 * head.tolerance
        else:
            assert head.is_exact, (head.kind, head.layer, head.head, head.max_error)
        if not head.is_exact:
            np.testing.assert_array_equal(head.weights, head.own_weights)
        assert head.q.dtype == head.own_weights.dtype == head.output.dtype == np.float32


def not_scaled_in_bfloat16(head):
    """Scores beyond 16, as t5 has, are rounded to eighths: the replay may be off by more."""
    return head.dtype == "bfloat16" and head.scaling == 1 and np.abs(head.scaled).max() > 12


@pytest.mark.gpu
@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_trace_keeps_nothing_on_the_gpu(folder_of, model_type):
    model, tokenizer = attnviz.load(folder_of(model_type), device="cuda")
    attnviz.trace(model, tokenizer, "hello")
    gc.collect()
    before = torch.cuda.memory_allocated()
    trace = attnviz.trace(model, tokenizer, LONG_TEXT)
    gc.collect()
    assert torch.cuda.memory_allocated() == before
    assert trace.head(0, 0).output is not None


# Without a GPU


def test_devices_are_the_cpu_and_the_gpus(monkeypatch):
    for n_gpus, expected in ((0, ("cpu",)), (1, ("cpu", "cuda")), (2, ("cpu", "cuda:0", "cuda:1"))):
        monkeypatch.setattr(torch.cuda, "is_available", lambda n=n_gpus: n > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda n=n_gpus: n)
        assert loader.devices() == expected


def test_a_model_that_does_not_fit_on_the_gpu_is_refused(folder_of, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "to", out_of_memory)
    with pytest.raises(attnviz.ModelLoadError, match="bert needs more memory than the GPU.*\n\n"):
        attnviz.load(folder_of("bert"), device="cuda")


def test_a_text_that_does_not_fit_on_the_gpu_is_refused_and_let_go(minilm, monkeypatch):
    monkeypatch.setattr(forward_pass, "as_arrays", out_of_memory)
    with pytest.raises(attnviz.InputError, match="text needs more memory than the GPU") as refused:
        attnviz.trace(*minilm, "hello")
    assert refused.value.__cause__.__traceback__ is None


def out_of_memory(*args, **kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


N_WEIGHTS = 7  # of each layer: W and b of the query, the key and the value; W_O


def test_what_a_trace_holds_of_a_model_is_its_own_weights(minilm, monkeypatch):
    """A tensor of the pass that it held would stay on the GPU, where no call is made again."""
    monkeypatch.setattr(inputs, "keeps_weights", lambda *_: True)  # as if it had been one
    model, tokenizer = minilm
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    trace = attnviz.trace(model, tokenizer, "hello there")
    held = tensors_in(trace)
    weights = [tensor for tensor in held if tensor.is_floating_point()]
    assert len(weights) == N_WEIGHTS * len(trace.layers())
    assert all(tensor.untyped_storage().data_ptr() in own for tensor in weights)


def test_on_a_cpu_it_holds_what_each_call_is_made_again_from_too(minilm):
    model, tokenizer = minilm
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    trace = attnviz.trace(model, tokenizer, "hello there")
    held = [tensor for tensor in tensors_in(trace) if tensor.is_floating_point()]
    others = [tensor for tensor in held if tensor.untyped_storage().data_ptr() not in own]
    assert len(held) - len(others) == N_WEIGHTS * len(trace.layers())
    given = [
        tensor
        for layer in trace.layers()
        for tensor in tensors_in(trace.layer(layer).weights_from)
        if tensor.untyped_storage().data_ptr() not in own
    ]
    assert {id(tensor) for tensor in others} == {id(tensor) for tensor in given}
    assert len(others) == 3 * len(trace.layers())  # q, k and v
    assert all(tensor.shape == (1, 12, 4, 32) for tensor in others)


def tensors_in(thing):
    """Every tensor that can be reached from a thing without going through a class or a module."""
    seen, found, waiting = set(), [], [thing]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type) or type(one).__name__ == "module":
            continue
        seen.add(id(one))
        if isinstance(one, torch.Tensor):
            found.append(one)
        elif not callable(one) or type(one).__name__ == "partial":
            waiting += gc.get_referents(one)
    return found
