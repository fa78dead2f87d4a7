"""GGUF files: read as transformers reads them, once; what cannot be read is one sentence."""

import os
import sys
from collections import namedtuple

import pytest
import torch
from huggingface_hub import constants
from transformers import AutoModelForCausalLM, AutoTokenizer

import attnviz
from attnviz.models import compat, gguf, kept, local
from tests.house.test_process_untouched import state_here
from tests.support.tiny_gguf import TEXT, save_gguf


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "attnviz"


@pytest.fixture
def file(tmp_path):
    save_gguf(tmp_path / "tiny-q8_0.gguf", stored="Q8_0")
    return tmp_path / "tiny-q8_0.gguf"


def conversions(cache):
    return sorted((cache / "gguf").iterdir())


def must_not_be_read(monkeypatch):
    def read(*of):
        raise AssertionError("read again")

    monkeypatch.setattr(gguf, "_read", read)


# What is read


@pytest.mark.parametrize(
    ("model_type", "stored"),
    [
        *(("llama", stored) for stored in ("F32", "F16", "BF16", "Q8_0", "Q4_1")),
        ("qwen2", "Q8_0"),
        ("gpt2", "F16"),
    ],
)
def test_a_file_is_what_transformers_reads_from_it(tmp_path, model_type, stored):
    path = tmp_path / "tiny.gguf"
    written = save_gguf(path, model_type, stored)
    model, tokenizer = attnviz.load(str(path))
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, dtype=torch.float32, **compat.whole_weights()
    )
    expected = theirs.base_model.state_dict()
    own = model.base_model.state_dict()
    assert own.keys() == expected.keys() == written.state_dict().keys()
    for name, tensor in own.items():
        assert torch.equal(tensor, expected[name]), name
        if stored == "F32":
            assert torch.equal(tensor, written.state_dict()[name]), name
    their_tokenizer = AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name)
    text = f"{TEXT} <end> é 漢字 🙂\n\t 12"
    assert tokenizer(text).input_ids == their_tokenizer(text).input_ids
    trace = attnviz.trace(model, tokenizer, TEXT)
    assert trace.model_name == f"tiny, {stored}"
    assert all(trace.head(layer, head).is_exact for layer in trace.layers() for head in range(4))


def test_a_model_is_eager_evaluated_in_the_precision_asked_for_and_named(file):
    for dtype in (torch.float32, torch.bfloat16):
        model, _ = attnviz.load(str(file), dtype=str(dtype).removeprefix("torch."))
        assert {tensor.dtype for tensor in model.parameters()} == {dtype}
        assert model.config._attn_implementation == "eager"
        assert not model.training
        assert model.config.name_or_path == "tiny, Q8_0"
        assert model.config._commit_hash.startswith("sha256:")
        assert gguf.quantization(model.config) == "Q8_0"


def test_a_file_that_does_not_say_how_it_is_stored_is_named_by_most_of_its_weights(tmp_path):
    save_gguf(tmp_path / "own.gguf", stored=None)
    assert attnviz.load(str(tmp_path / "own.gguf"))[0].config.name_or_path == "own, F32"


def test_a_load_leaves_the_process_as_it_was(file, tmp_path):
    attnviz.load(str(file))  # whatever it imports
    save_gguf(tmp_path / "other.gguf", seed=1)
    before = state_here()
    attnviz.load(str(tmp_path / "other.gguf"))
    assert state_here() == before


def test_a_folder_with_one_file_is_that_file_and_safetensors_come_first(file, tmp_path):
    assert attnviz.load(str(tmp_path))[0].config.name_or_path == "tiny, Q8_0"
    (tmp_path / "model.safetensors").touch()
    assert local.find(str(tmp_path)).gguf is None


def test_a_folder_with_several_files_names_them(file, tmp_path):
    save_gguf(tmp_path / "b.gguf")
    with pytest.raises(attnviz.ModelLoadError, match=r"holds 2 GGUF files: b.gguf, tiny-q8_0.gguf"):
        attnviz.load(str(tmp_path))


def test_no_file_is_looked_at_where_no_folder_may_be(file):
    with pytest.raises(attnviz.ModelLoadError, match="is not the name of a model"):
        attnviz.load(str(file), allow_folder=False)


# What is kept


def test_a_file_is_read_once_for_all_precisions_and_places(file, cache, tmp_path, monkeypatch):
    first, _ = attnviz.load(str(file))
    must_not_be_read(monkeypatch)
    os.link(file, tmp_path / "copy.gguf")
    for name in (file, tmp_path / "copy.gguf"):
        again, _ = attnviz.load(str(name))
        for one, other in zip(first.parameters(), again.parameters(), strict=True):
            assert torch.equal(one, other)
    attnviz.load(str(file), dtype="float16")
    monkeypatch.setitem(sys.modules, "gguf", None)
    attnviz.load(str(file))
    assert len(conversions(cache)) == 1


def test_a_checksum_is_computed_again_for_a_changed_file_alone(file, monkeypatch):
    from attnviz.models import checksums

    monkeypatch.setattr(checksums, "_SETTLED", -1)
    known = checksums.sha256(file)
    monkeypatch.setattr(checksums.hashlib, "file_digest", None)
    assert checksums.sha256(file) == known
    file.touch()
    with pytest.raises(TypeError):
        checksums.sha256(file)


def test_a_file_that_may_change_within_its_clocks_tick_is_not_noted(file, cache):
    from attnviz.models import checksums

    checksums.sha256(file)
    assert not (cache / "checksums").exists()


def test_a_changed_file_is_read_anew(file):
    before, _ = attnviz.load(str(file))
    save_gguf(file, seed=1, stored="Q8_0")
    after, _ = attnviz.load(str(file))
    assert not torch.equal(*(model.get_input_embeddings().weight for model in (before, after)))


def test_a_file_that_changes_while_it_is_read_is_refused_and_not_kept(file, cache, monkeypatch):
    read = gguf._read

    def read_slowly(*of):
        made = read(*of)
        save_gguf(file, seed=1)
        return made

    monkeypatch.setattr(gguf, "_read", read_slowly)
    with pytest.raises(attnviz.ModelLoadError, match="changed while it was read"):
        attnviz.load(str(file))
    assert conversions(cache) == []


def test_what_is_stopped_on_its_way_leaves_nothing(file, cache, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda number: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        attnviz.load(str(file))
    assert conversions(cache) == []
    monkeypatch.undo()


def test_a_process_that_was_quicker_is_believed(tmp_path):
    def make(folder):
        (folder / "own").touch()
        place.mkdir(exist_ok=True)
        (place / "theirs").touch()

    place = tmp_path / "cache" / "whole"
    with kept.kept(place, 0, make) as folder:
        assert folder == place
    assert [path.name for path in place.iterdir()] == ["theirs"]
    assert [path.name for path in place.parent.iterdir()] == ["whole"]


def test_what_a_process_left_that_was_ended_goes_after_a_day(tmp_path):
    old, new = (tmp_path / f".under-way-{age}" for age in ("old", "new"))
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    with kept.kept(tmp_path / "whole", 0, lambda folder: None):
        assert not old.exists()
        assert new.exists()


def test_a_cache_that_cannot_be_written_loads_without_keeping(file, cache):
    cache.parent.mkdir()
    cache.touch()  # no folder can be made here
    model, tokenizer = attnviz.load(str(file))
    assert attnviz.trace(model, tokenizer, TEXT).head(0, 0).is_exact


def disks_with(free, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda path: usage(free(str(path))))


def test_a_full_cache_loads_without_keeping(file, cache, monkeypatch):
    disks_with(lambda path: 0 if path.startswith(str(cache)) else 10**12, monkeypatch)
    model, tokenizer = attnviz.load(str(file))
    assert attnviz.trace(model, tokenizer, TEXT).head(0, 0).is_exact
    assert conversions(cache) == []


def test_full_disks_are_one_sentence(file, monkeypatch):
    disks_with(lambda path: 1000, monkeypatch)
    said = r"^tiny-q8_0.gguf does not fit .*: as safetensors it takes \d+ kB, and 1 kB are free"
    with pytest.raises(attnviz.ModelLoadError, match=said):
        attnviz.load(str(file))


def test_a_disk_that_fills_up_meanwhile_is_one_sentence(file, cache, monkeypatch):
    def full(self, folder, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transformers.PreTrainedTokenizerBase.save_pretrained", full)
    with pytest.raises(attnviz.ModelLoadError, match="could not be written .*No space left"):
        attnviz.load(str(file))
    assert conversions(cache) == []


# What cannot be read


def overwrite(content):
    return lambda path: path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: os.truncate(path, path.stat().st_size // 2), "damaged, or is no GGUF file"),
        (overwrite(b""), "damaged, or is no GGUF file"),
        (overwrite(b"GGUF" + bytes(99)), "damaged, or is no GGUF file"),
        (overwrite(b"no such file" * 9), "damaged, or is no GGUF file"),
        (lambda path: save_gguf(path, architecture="own"), "architecture is 'own'"),
        (lambda path: save_gguf(path, split__count=3), "one of 3 parts of a model"),
        (lambda path: save_gguf(path, without=["blk.1.attn_q"]), "1 of the weights .* are missing"),
        (lambda path: path.unlink(), "File not found: tiny-q8_0.gguf"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(file, cache, damage, message):
    damage(file)
    with pytest.raises(attnviz.ModelLoadError, match=message) as refused:
        attnviz.load(str(file))
    statement, hint = str(refused.value).split("\n\nHint: ")
    assert "\n" not in statement
    assert hint
    assert str(file.parent) not in str(refused.value)
    assert not (cache / "gguf").exists() or conversions(cache) == []


@pytest.mark.parametrize("package", ["gguf", "accelerate"])
def test_a_missing_package_is_named_with_its_command(file, package, monkeypatch):
    found = gguf.find_spec
    monkeypatch.setattr(gguf, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(attnviz.ModelLoadError) as refused:
        attnviz.load(str(file))
    assert str(refused.value) == (
        f"tiny-q8_0.gguf is a GGUF file. Reading it needs {package}, which is not installed."
        '\n\nHint: pip install "attnviz[gguf]"'
    )


def test_memory_is_said_before_it_is_taken(file, monkeypatch):
    must_not_be_read(monkeypatch)
    with pytest.raises(attnviz.ModelLoadError, match=r"takes \d+ kB of memory in float32, and a"):
        attnviz.load(str(file), max_bytes=1000)
    monkeypatch.setattr(gguf, "free_memory", lambda: 1000)
    with pytest.raises(
        attnviz.ModelLoadError, match=r"\d+ kB of memory in float32, and twice that"
    ):
        attnviz.load(str(file))


def test_what_a_file_takes_is_known_before_and_after(file):
    place = local.find(str(file))
    foreseen = place.n_bytes("float32")
    model, _ = attnviz.load(str(file))
    assert foreseen == sum(tensor.nbytes for tensor in model.parameters())
    assert place.n_bytes("float32") == foreseen
    assert place.n_bytes("bfloat16") == foreseen // 2
