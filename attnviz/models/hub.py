"""Models from the Hub: what this machine has, what the Hub has, and the way from there to here.

A model is here once all its files have the checksums that the Hub lists. Until then a mark stands
beside them, and nobody, in this process or another, takes them for the model.
"""

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, constants, get_cached_repo_tree, snapshot_download
from huggingface_hub.errors import (
    CachedRepoTreeNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import filter_repo_objects, validate_repo_id
from huggingface_hub.utils import tqdm as hub_tqdm

from attnviz.models import hub_errors, memory
from attnviz.models.retry import SENDER, patiently
from attnviz.text.errors import ModelLoadError
from attnviz.text.phrases import size
from attnviz.text.version import VERSION

# What a model and its tokenizer are made of; nothing pickled, nothing in subfolders (other
# formats and precisions live there).
_WANTED: dict[str, Any] = {
    "allow_patterns": [
        *("*.json", "*.txt", "*.model", "*.jinja"),
        *("model.safetensors", "model-*.safetensors"),
    ],
    "ignore_patterns": ["*/*"],
}
_AGENT: dict[str, Any] = {"library_name": SENDER, "library_version": VERSION}
_SPARE = 50_000_000  # bytes of the disk that a download leaves free

T = TypeVar("T")


@dataclass(frozen=True)
class Remote:
    """What the Hub has of a model and this machine has not."""

    name: str
    revision: str  # the commit
    n_bytes: int  # still to download (0: all is here)
    n_parameters: int | None  # of the safetensors weights; None where the Hub does not say
    n_bytes_of_weights: int  # of all safetensors files


# Written to the disk, counted, and kept when the connection breaks, in pieces of this size; in the
# library's 10 MB a slow download seems to stand still for seconds.
constants.DOWNLOAD_CHUNK_SIZE = 2**20
# Large files come over HTTP, where waiting has an end and what went wrong is known.
constants.HF_HUB_DISABLE_XET = True


# What is here


def here(name: str, revision: str | None = None) -> Path | None:
    """The folder of a complete model in the local cache, or None; never asks the network."""
    try:
        check(name, revision)
        # Others who fill the cache leave out what they do not read: what must be here is known.
        wanted: dict[str, Any] = {"revision": revision, "allow_patterns": ["config.json"]}
        folder = Path(snapshot_download(name, local_files_only=True, **wanted))
        is_complete = _has_weights(folder) and _has_tokenizer(name, folder)
        return folder if is_complete and not _mark(name, folder.name).exists() else None
    except (ModelLoadError, LocalEntryNotFoundError, OSError):
        return None


def check(name: str, revision: str | None = None) -> None:
    """Raises ModelLoadError for what can be no name, or no revision, of a model."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise hub_errors.no_name(name) from None
    if revision is not None and (".." in revision or not re.fullmatch(r"\w[\w./-]*", revision)):
        raise hub_errors.no_revision(name, revision)


def _storage(name: str) -> Path:
    """The folder of the local cache that belongs to a model."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")


def _mark(name: str, commit: str) -> Path:
    """The file that exists while a download of this commit is not complete and checked."""
    return _storage(name) / f"{commit}.unverified"


def _has_weights(folder: Path) -> bool:
    """Whether a folder of the cache holds configuration and all weights."""
    try:
        weights = memory.files_of_weights(folder)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return all(path.is_file() for path in (folder / "config.json", *weights))


def _has_tokenizer(name: str, folder: Path) -> bool:
    """Whether a vocabulary is there, or the Hub is known to have none."""
    if any(any(folder.glob(files)) for files in _VOCABULARIES):
        return True
    try:
        listed = [file.path for file in get_cached_repo_tree(name, revision=folder.name)]
    except CachedRepoTreeNotFoundError:
        return any(folder.glob("tokenizer*"))
    return not any(fnmatch(path, files) for path in listed for files in _VOCABULARIES)


_VOCABULARIES = ("tokenizer.json", "vocab*", "merges*", "*.model")


# What the Hub has


def look(name: str, revision: str | None = None) -> Remote:
    """What the Hub has of a model: one request (two where it is gated), nothing downloaded.

    Raises ModelLoadError where there is no such model, it may not be read, it has no safetensors
    weights or no config.json, or the Hub does not answer.
    """
    return _ask(name, revision)[0]


def _ask(name: str, revision: str | None) -> tuple[Remote, Sequence[RepoSibling]]:
    """What the Hub has, and the files that are wanted of it, with their checksums."""
    check(name, revision)
    api = HfApi(**_AGENT)

    def ask() -> Any:
        info = api.model_info(name, revision=revision, files_metadata=True)
        if info.gated:
            api.auth_check(name)
        return info

    info = _from_hub(ask, name, revision)
    listed = info.siblings or []
    files = list(filter_repo_objects(listed, key=lambda file: file.rfilename, **_WANTED))
    names = {file.rfilename for file in files}
    if "config.json" not in names:
        raise ModelLoadError(
            f"{name} is not a model that attnviz can load: it holds no config.json."
            "\n\nHint: choose a model made for transformers."
        )
    if not any(file.endswith(".safetensors") for file in names):
        raise hub_errors.without_safetensors(name)
    remote = Remote(
        name=name,
        revision=info.sha,
        n_bytes=_n_missing_bytes(name, info.sha, files),
        n_parameters=info.safetensors.total if info.safetensors else None,
        n_bytes_of_weights=sum(
            file.size or 0 for file in files if file.rfilename.endswith(".safetensors")
        ),
    )
    return remote, files


def _n_missing_bytes(name: str, commit: str, files: Sequence[RepoSibling]) -> int:
    """The size of those files that are not in the local cache, as this commit's or another's."""
    storage = _storage(name)

    def is_here(file: RepoSibling) -> bool:
        blob = storage / "blobs" / (_checksum(file) or "none")
        return (storage / "snapshots" / commit / file.rfilename).exists() or blob.exists()

    return sum(file.size or 0 for file in files if not is_here(file))


# From there to here


def download(
    name: str,
    revision: str | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The folder of a model, after downloading what is not here and checking all of it.

    `on_progress` is called from worker threads with the bytes so far and in all; without it the
    bars of huggingface_hub are shown. Raises ModelLoadError.
    """
    check(name, revision)
    if (folder := here(name, revision)) is not None:
        return folder
    # By the revision's own name, so that the cache remembers which commit it stands for.
    resolved = _from_hub(
        lambda: HfApi(**_AGENT).resolve_revision(name, revision=revision), name, revision
    )
    remote, files = _ask(name, resolved.resolved)
    mark = _mark(name, remote.revision)

    def fetch() -> Path:
        bar = None
        if on_progress is not None:
            done = remote.n_bytes - _n_missing_bytes(name, remote.revision, files)
            bar = _bar_that_reports(done, remote.n_bytes, on_progress)
        return Path(snapshot_download(name, revision=resolved, tqdm_class=bar, **_AGENT, **_WANTED))

    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        if (folder := here(name, revision)) is not None:  # another process was quicker
            return folder
        mark.touch()
        _require_space(name, remote.n_bytes, mark.parent)
        folder = _from_hub(fetch, name, revision)
        _verify(folder, name, files)
        mark.unlink(missing_ok=True)
        if here(name, folder.name) is None:
            raise hub_errors.incomplete(name)
    except OSError as error:
        raise hub_errors.said(error, name, revision) from None
    return folder


def _require_space(name: str, n_bytes: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes + _SPARE:
        raise ModelLoadError(
            f"{name} does not fit on this machine's disk: {size(n_bytes)} are to be downloaded, "
            f"and {size(free)} are free."
            "\n\nHint: free some space, or choose a smaller model."
        )


def _bar_that_reports(done: int, total: int, report: Callable[[int, int], None]) -> type[hub_tqdm]:
    """A progress bar of huggingface_hub that draws nothing and reports its bytes."""
    lock = threading.Lock()

    class Bar(hub_tqdm):
        def __init__(self, *args: Any, name: str | None = None, **kwargs: Any) -> None:
            # Of its three bars, the one whose bytes add up to the files (not what was transferred
            # to make them, which may be compressed, and not the number of files).
            self.counts = name == "huggingface_hub.snapshot_download"
            super().__init__(*args, **kwargs | {"disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done
            if self.counts:
                with lock:
                    done += int(n or 0)
                    report(min(max(done, 0), total), total)
            return None

    report(done, total)
    return Bar


def _checksum(file: RepoSibling) -> str | None:
    """What the Hub says of a file's content: sha256 for large files, git's blob id for others."""
    return file.lfs.sha256 if file.lfs is not None else file.blob_id


def _verify(folder: Path, name: str, files: Sequence[RepoSibling]) -> None:
    """Deletes every file whose content is not what the Hub lists, and raises ModelLoadError."""
    wrong = [file.rfilename for file in files if not _is_right(folder / file.rfilename, file)]
    for file in wrong:
        path = folder / file
        path.resolve().unlink(missing_ok=True)  # what a link of the cache points to
        path.unlink(missing_ok=True)
    if wrong:
        raise ModelLoadError(
            f"{wrong[0]} of {name} arrived damaged: its checksum is not the one that the Hub "
            "lists. It was deleted.\n\nHint: try again; should it stay so, the Hub, or something "
            "on the way from it, is broken."
        )


def _is_right(path: Path, file: RepoSibling) -> bool:
    if not path.is_file():
        return False
    if (expected := _checksum(file)) is None:
        return True
    with path.open("rb") as content:
        if file.lfs is not None:
            return hashlib.file_digest(content, "sha256").hexdigest() == expected
        blob = content.read()
    header = f"blob {len(blob)}\0".encode()
    return hashlib.sha1(header + blob, usedforsecurity=False).hexdigest() == expected


def _from_hub(call: Callable[[], T], name: str, revision: str | None) -> T:
    """What a call of huggingface_hub returns; whatever it raises becomes one sentence."""
    try:
        return patiently(call)
    except Exception as error:
        raise hub_errors.said(error, name, revision) from None
