"""Models that are spread over several devices by accelerate: as exact as they are on one."""

import gc
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from accelerate import hooks
from transformers import AutoTokenizer

import attnviz
from attnviz.capture import accelerate_hooks
from attnviz.models import bundled, loader
from tests.support import architectures
from tests.support.tracing import all_heads

TEXT = "a text of several words, and some more of them"
# Observed and traced ones; xlnet's output projection is not a module of its own.
MODELS = ("bert", "gpt2", "llama", "t5", "bloom", "mpnet", "xlnet")
ARRAYS = ("x_query", "q", "k", "v", "q_before_rotary", "bias", "mask", "weights", "updated")
ON_DISK = {"": "disk"}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Where a tiny model of a type is saved."""
    root, saved = tmp_path_factory.mktemp("spread"), {}

    def folder(model_type):
        if model_type not in saved:
            tokenizer = AutoTokenizer.from_pretrained(bundled.folder())
            model = architectures.build(model_type, vocab_size=len(tokenizer))
            for part in (model, tokenizer):
                part.save_pretrained(root / model_type)
            saved[model_type] = str(root / model_type)
        return saved[model_type]

    return folder


def partly_on_disk(folder):
    """The last of the first layers is stored on disk, all else is in memory."""
    model, _ = attnviz.load(folder)
    modules = dict(model.named_modules())
    blocks = next(
        name for name, one in modules.items() if isinstance(one, torch.nn.ModuleList) and len(one)
    )
    last = f"{blocks}.{len(modules[blocks]) - 1}"
    beside = [
        name
        for name, module in modules.items()
        if list(module.parameters())
        and not f"{last}.".startswith(f"{name}.".lstrip("."))
        and not name.startswith(f"{last}.")
    ]
    return {name: "cpu" for name in beside if name.rpartition(".")[0] not in beside} | {
        last: "disk"
    }


def assert_same(trace, plain):
    assert trace.kinds == plain.kinds
    heads = all_heads(plain)
    assert len(all_heads(trace)) == len(heads)
    for head, expected in zip(all_heads(trace), heads, strict=True):
        where = (head.kind, head.layer, head.head)
        assert head.is_exact, where
        assert head.origins == expected.origins
        assert (head.output is None) == (expected.output is None), head.no_output_because
        assert head.no_w_because == expected.no_w_because
        for name in (*ARRAYS, "output", "w_q", "w_k", "w_v", "b_q", "q_projected"):
            ours, own = getattr(head, name), getattr(expected, name)
            assert (ours is None) == (own is None), (where, name)
            if own is not None:
                np.testing.assert_array_equal(ours, own, err_msg=f"{where} {name}")


@pytest.mark.parametrize(
    ("model_type", "where"),
    [
        *itertools.product(MODELS, ["auto", {"": "cpu"}, ON_DISK]),
        *itertools.product(MODELS[:-1], [partly_on_disk]),  # it is no tree of modules
    ],
)
def test_every_head_is_what_it_is_on_one_device(folder_of, model_type, where):
    folder = folder_of(model_type)
    plain = attnviz.trace(*attnviz.load(folder), TEXT)
    device_map = where(folder) if callable(where) else where
    model, tokenizer = attnviz.load(folder, device_map=device_map)
    is_stored = stored_names(model)
    assert bool(is_stored) == ("disk" in str(device_map))
    trace = attnviz.trace(model, tokenizer, TEXT)
    assert_same(trace, plain)
    assert stored_names(model) == is_stored
    assert plain.head(0, 0).output is not None


def stored_names(model):
    named = model.named_parameters(remove_duplicate=False)
    return {name for name, weight in named if weight.is_meta}


def test_half_precision_is_stored_and_read_as_such(folder_of):
    spread = attnviz.load(folder_of("llama"), device_map=ON_DISK, dtype="bfloat16")
    plain = attnviz.load(folder_of("llama"), dtype="bfloat16")
    trace = attnviz.trace(*spread, TEXT)
    assert trace.dtype == "bfloat16"
    assert_same(trace, attnviz.trace(*plain, TEXT))


def test_a_trace_holds_no_weights_that_come_and_go(folder_of):
    """They would fill the GPU as long as somebody looks at the trace."""
    model, tokenizer = attnviz.load(folder_of("bert"), device_map=ON_DISK)
    attnviz.trace(model, tokenizer, TEXT)
    gc.collect()
    before = n_weights_in_memory(model)
    trace = attnviz.trace(model, tokenizer, TEXT)
    gc.collect()
    assert n_weights_in_memory(model) == before
    assert trace.head(0, 0).output is not None
    assert trace.head(0, 0).no_w_because == {}


def n_weights_in_memory(model):
    shapes = {tuple(weight.shape) for weight in model.parameters() if weight.ndim == 2}
    shapes |= {shape[::-1] for shape in shapes}
    return sum(
        tuple(one.shape) in shapes and not one.is_meta
        for one in gc.get_objects()
        if issubclass(type(one), torch.Tensor)
    )


def test_two_threads_run_such_a_model_one_after_the_other(folder_of):
    model, tokenizer = attnviz.load(folder_of("bert"), device_map=ON_DISK)
    plain = attnviz.load(folder_of("bert"))
    texts = [f"{TEXT} {number}" for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        traces = list(pool.map(lambda text: attnviz.trace(model, tokenizer, text), texts))
    for text, trace in zip(texts, traces, strict=True):
        assert_same(trace, attnviz.trace(*plain, text))


def test_a_model_on_one_device_waits_for_nobody(minilm):
    with accelerate_hooks._running:
        done = threading.Thread(target=attnviz.trace, args=(*minilm, "hello"), daemon=True)
        done.start()
        done.join(30)
        assert not done.is_alive()


@pytest.mark.parametrize("model_type", ["bert", "llama", "t5", "bart", "bloom", "mpnet"])
def test_every_head_is_in_its_place_where_tensors_are_copied_between_devices(
    folder_of, model_type, monkeypatch
):
    """On two GPUs what a block is given, and what the model returns, are copies."""
    plain = attnviz.trace(*attnviz.load(folder_of(model_type)), TEXT)
    model, tokenizer = attnviz.load(folder_of(model_type), device_map=ON_DISK)
    assert isinstance(model._hf_hook.execution_device, torch.device | str)
    n_copies = 0

    def copied(tensor, device, non_blocking=False, skip_keys=None):
        nonlocal n_copies
        if isinstance(tensor, dict) or hasattr(tensor, "items"):
            return type(tensor)(
                {
                    key: value if key in (skip_keys or ()) else copied(value, device)
                    for key, value in tensor.items()
                }
            )
        if isinstance(tensor, tuple | list):
            return type(tensor)(copied(part, device) for part in tensor)
        if isinstance(tensor, torch.Tensor):
            n_copies += 1
            return tensor.clone()
        return tensor

    model._hf_hook.io_same_device = True
    monkeypatch.setattr(hooks, "send_to_device", copied)
    trace = attnviz.trace(model, tokenizer, TEXT)
    assert n_copies > 20
    for head, expected in zip(all_heads(trace), all_heads(plain), strict=True):
        assert (head.kind, head.layer, head.head) == (expected.kind, expected.layer, expected.head)
        np.testing.assert_array_equal(head.weights, expected.weights)
        assert head.is_exact


# What cannot be


def test_the_folder_for_what_is_on_disk_goes_with_the_model(folder_of, tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "TemporaryDirectory", made := Folders(tmp_path))
    model, _ = attnviz.load(folder_of("bert"), device_map=ON_DISK)
    (folder,) = made.names
    assert folder.is_dir()
    del model, _
    gc.collect()
    assert not folder.exists()


class Folders:
    def __init__(self, root):
        self.root, self.names = root, []

    def __call__(self, **options):
        made = TemporaryDirectory(dir=self.root, **options)
        self.names.append(Path(made.name))
        return made


def test_a_device_and_a_map_exclude_each_other(folder_of):
    with pytest.raises(attnviz.ModelLoadError, match="one device or spread.*\n\n.*leave one"):
        attnviz.load(folder_of("bert"), device="cuda", device_map="auto")


def test_without_accelerate_a_line_says_how_to_get_it(folder_of, monkeypatch):
    monkeypatch.setattr(loader, "is_accelerate_available", lambda: False)
    with pytest.raises(
        attnviz.ModelLoadError, match=r'accelerate.*\n\n.*pip install "attnviz\[large\]"'
    ):
        attnviz.load(folder_of("bert"), device_map="auto")
    attnviz.load(folder_of("bert"))


@pytest.mark.parametrize("device_map", ["nope", {"": "nope"}])
def test_a_map_to_nowhere_is_refused(folder_of, device_map):
    with pytest.raises(attnviz.ModelLoadError, match="bert cannot be loaded.*\n\n.*device_map"):
        attnviz.load(folder_of("bert"), device_map=device_map)
