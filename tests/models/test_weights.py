"""What a model will take in memory, and what is free, before anything is loaded."""

import json

import psutil
import pytest
import torch
from safetensors.torch import save_file

import attnviz
from attnviz.attention import free_memory as free_memory_module
from attnviz.attention.free_memory import free_memory
from attnviz.models import bundled, loader, weights


def test_the_bundled_model_takes_what_was_foreseen(minilm):
    model, _ = minilm
    foreseen = weights.n_bytes(bundled.folder(), "float32")
    positions = model.get_buffer("embeddings.position_ids")  # that stand in the file as well
    assert foreseen == sum(w.nbytes for w in model.parameters()) + positions.nbytes
    assert weights.n_bytes(bundled.folder(), "bfloat16") == pytest.approx(foreseen / 2, rel=0.001)


def test_weights_count_in_the_precision_they_are_loaded_in_and_other_numbers_as_they_are(tmp_path):
    tensors = {
        "half": torch.zeros(3, 5, dtype=torch.bfloat16),
        "full": torch.zeros(7, dtype=torch.float32),
        "places": torch.zeros(11, dtype=torch.int64),
    }
    save_file(tensors, tmp_path / "model-1.safetensors")
    save_file({"scalar": torch.zeros((), dtype=torch.float16)}, tmp_path / "model-2.safetensors")
    files = {
        name: f"model-{1 if name in tensors else 2}.safetensors" for name in (*tensors, "scalar")
    }
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    assert weights.n_bytes(tmp_path, "float32") == 4 * (3 * 5 + 7 + 1) + 8 * 11
    save_file({"other": torch.zeros(9)}, tmp_path / "consolidated.safetensors")  # nobody reads it
    assert weights.n_bytes(tmp_path, "float16") == 2 * (3 * 5 + 7 + 1) + 8 * 11


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"[]"])
def test_a_damaged_header_says_nothing(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert weights.n_bytes(tmp_path, "float32") is None


def test_what_does_not_fit_is_refused_with_both_numbers():
    weights.check_fits("m", 10**9, "float32", 10**9, 10**9)
    with pytest.raises(attnviz.ModelLoadError) as refused:
        weights.check_fits("m", 1_340 * 10**6, "float32", 1_200 * 10**6, None)
    assert str(refused.value).startswith(
        "m takes 1.3 GB of memory in float32, and a model may take 1.2 GB here.\n\nHint: "
    )
    with pytest.raises(attnviz.ModelLoadError, match="takes 500 kB .* 400 kB are free"):
        weights.check_fits("m", 500_000, "bfloat16", None, 400_000)


def test_a_model_too_large_is_refused_before_its_weights_are_read(monkeypatch):
    read = []
    monkeypatch.setattr(loader, "_load_model", lambda *given: read.append(given))
    with pytest.raises(attnviz.ModelLoadError, match="takes 91 MB of memory in float32"):
        attnviz.load(max_bytes=50 * 10**6)
    monkeypatch.setattr(loader, "free_memory", lambda: 60 * 10**6)
    with pytest.raises(attnviz.ModelLoadError, match="60 MB are free on this machine"):
        attnviz.load()
    assert not read


def test_what_is_free_is_what_the_machine_and_the_container_both_have(tmp_path, monkeypatch):
    on_machine = psutil.virtual_memory().available
    assert 0 < free_memory() <= on_machine * 1.1
    monkeypatch.setattr(free_memory_module, "_left_in_container", lambda root: 5)
    assert free_memory() == 5


def test_a_container_of_either_version_is_read(tmp_path):
    assert free_memory_module._left_in_container(tmp_path) is None
    second = tmp_path / "second"
    second.mkdir()
    (second / "memory.max").write_text("1000\n")
    (second / "memory.current").write_text("700\n")
    (second / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert free_memory_module._left_in_container(second) == 500
    (second / "memory.max").write_text("max\n")
    assert free_memory_module._left_in_container(second) is None
    first = tmp_path / "first" / "memory"
    first.mkdir(parents=True)
    (first / "memory.limit_in_bytes").write_text("1000")
    (first / "memory.usage_in_bytes").write_text("1200")
    (first / "memory.stat").write_text("total_inactive_file 100")
    assert free_memory_module._left_in_container(tmp_path / "first") == 0


def test_the_weights_are_the_files_that_transformers_reads(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safe"}}')
    with pytest.raises(ValueError, match="beside their index"):
        weights.files(tmp_path)
    for path in ("/dev/zero.safetensors", "../other.safetensors"):
        index = json.dumps({"weight_map": {"a": path}})
        (tmp_path / "model.safetensors.index.json").write_text(index)
        assert weights.n_bytes(tmp_path, "float32") is None
    (tmp_path / "model.safetensors").touch()  # which is read first, whatever an old index says
    assert weights.files(tmp_path) == [tmp_path / "model.safetensors"]
