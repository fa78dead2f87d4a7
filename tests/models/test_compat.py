"""What is used of huggingface_hub and transformers beyond their references is still there."""

import importlib
import inspect
import sys

import pytest
from huggingface_hub import constants, file_download, snapshot_download
from huggingface_hub.hf_api import RepoSibling
from transformers import BertConfig

import attnviz
from attnviz.cli import main as cli
from attnviz.models import compat
from attnviz.page.service import process
from tests.support.tiny_models import save_tiny


def test_huggingface_hub_reads_what_is_set_for_the_process(monkeypatch):
    read = inspect.getsource(file_download)
    for name in ("DOWNLOAD_CHUNK_SIZE", "HF_HUB_DISABLE_XET"):
        monkeypatch.setattr(constants, name, getattr(constants, name))
        assert f"constants.{name}" in read
    compat.prepare_process()
    assert constants.DOWNLOAD_CHUNK_SIZE == 2**20
    assert not file_download.is_xet_available()


def test_the_page_and_the_shell_set_it_in_their_own_processes(monkeypatch, capsys):
    is_set = []
    monkeypatch.setattr(compat, "prepare_process", lambda: is_set.append(True))
    process.prepare.__wrapped__()
    assert is_set == [True]
    assert cli.main(["hello", "--model", "someone/nothing"]) == 1  # only for what is downloaded
    assert is_set == [True, True]


def test_a_models_part_of_the_cache_is_where_snapshot_download_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = compat.cache_of("someone/model") / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    assert snapshot_download("someone/model", revision="c" * 40, local_files_only=True) == str(
        snapshot
    )


def test_patterns_are_those_of_snapshot_download():
    files = [RepoSibling(rfilename=name) for name in ("a.json", "b.bin", "sub/c.json")]
    found = compat.matching(files, allow_patterns=["*.json"], ignore_patterns=["*/*"])
    assert [file.rfilename for file in found] == ["a.json"]


def test_a_rate_limit_is_read_from_its_headers():
    assert compat.seconds_to_reset({"ratelimit": '"api";r=0;t=9'}) == 9
    assert compat.seconds_to_reset({"ratelimit": '"api";r=1;t=9'}) == 0
    assert compat.seconds_to_reset({}) == 0


def test_the_bar_of_bytes_has_its_name():
    assert f'name="{compat.BAR_OF_BYTES}",' in inspect.getsource(
        sys.modules[snapshot_download.__module__]
    )


def test_a_revision_is_kept_in_a_configuration_and_saved_in_no_file():
    config = BertConfig()
    compat.note_revision(config, "c" * 40)
    assert config._commit_hash == "c" * 40
    assert "_commit_hash" not in config.to_json_string()


def test_what_is_on_this_machine_is_loaded_without_anything_that_only_downloads_need(
    tmp_path, monkeypatch
):
    """huggingface_hub's own newer names among it: its older versions read no less from here."""
    package = sys.modules["attnviz.models"]
    rooms = [name for name in sys.modules if name.startswith("attnviz.models.")]
    for name in rooms:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(package, name.rpartition(".")[2])
    for name in ("hub", "hub_errors", "retry"):
        monkeypatch.setitem(sys.modules, f"attnviz.models.{name}", None)
    load = importlib.import_module("attnviz.models.loader").load
    assert load()[0].config.name_or_path.endswith("all-MiniLM-L6-v2")
    assert load(str(save_tiny(tmp_path / "tiny")))[0].config.name_or_path == "tiny"
    with pytest.raises(attnviz.ModelLoadError, match="Folder not found"):
        load(str(tmp_path / "nothing"))
    with pytest.raises(ImportError):
        load("someone/model")
