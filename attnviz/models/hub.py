"""Models from the Hub: what this machine has, what the Hub has, and the way from there to here.

A model is here once all its files have the checksums that the Hub lists. Until then a mark stands
beside them, and nobody, in this process or another, takes them for the model.
"""

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import tqdm as hub_tqdm
from huggingface_hub.utils import validate_repo_id

from attnviz.models import compat, hub_errors, vocabulary, weights
from attnviz.models.http_client import IS_REQUESTS
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
    if not re.fullmatch(r"[\w./-]+", name, re.ASCII):  # which older versions let through
        raise hub_errors.no_name(name)
    if revision is not None and (".." in revision or not re.fullmatch(r"\w[\w./-]*", revision)):
        raise hub_errors.no_revision(name, revision)


def _mark(name: str, commit: str) -> Path:
    """The file that exists while a download of this commit is not complete and checked."""
    return compat.cache_of(name) / f"{commit}.unverified"


def _list(name: str, commit: str) -> Path:
    """The file that says what of a commit was downloaded, for a huggingface_hub that does not."""
    return compat.cache_of(name) / f"{commit}.listed"


def _has_weights(folder: Path) -> bool:
    """Whether a folder of the cache holds configuration and all weights."""
    try:
        needed = [folder / "config.json", *weights.files(folder)]
    except ValueError:
        return False
    return all(path.is_file() for path in needed)


def _has_tokenizer(name: str, folder: Path) -> bool:
    """Whether a vocabulary is there, or the Hub is known to have none."""
    if vocabulary.is_in(folder):
        return True
    listed = compat.listed(name, folder.name)
    if listed is None and (kept := _list(name, folder.name)).is_file():
        listed = kept.read_text().splitlines()
    if listed is None:
        return any(folder.glob("tokenizer*"))
    return not any(fnmatch(path, files) for path in listed for files in vocabulary.FILES)


# What the Hub has


def look(name: str, revision: str | None = None) -> Remote:
    """What the Hub has of a model: one request (two where it is gated), nothing downloaded.

    Raises ModelLoadError where there is no such model, it may not be read, it has no safetensors
    weights or no config.json, or the Hub does not answer.
    """
    return _ask(name, revision)[0]


def _ask(name: str, revision: str | None) -> tuple[Remote, Sequence[RepoSibling]]:
    """What the Hub has, and the files that are wanted of it."""
    check(name, revision)

    def ask() -> tuple[ModelInfo, str]:
        info = _api().model_info(name, revision=revision, files_metadata=True)
        if info.sha is None:
            raise ValueError("a model has a commit")
        if info.gated:
            _api().auth_check(name)
        return info, info.sha

    info, commit = _from_hub(ask, name, revision)
    files = compat.matching(info.siblings or [], **_WANTED)
    names = {file.rfilename for file in files}
    if "config.json" not in names:
        raise ModelLoadError(
            f"{name} is not a model that attnviz can load: it holds no config.json."
            "\n\nHint: choose a model made for transformers."
        )
    if not any(file.endswith(".safetensors") for file in names):
        raise weights.none_as_safetensors(name)
    remote = Remote(
        name=name,
        revision=commit,
        n_bytes=_n_missing_bytes(name, commit, files),
        n_parameters=info.safetensors.total if info.safetensors else None,
        n_bytes_of_weights=sum(
            file.size or 0 for file in files if file.rfilename.endswith(".safetensors")
        ),
    )
    return remote, files


def _n_missing_bytes(name: str, commit: str, files: Sequence[RepoSibling]) -> int:
    """The size of those files that are not in the local cache, as this commit's or another's."""
    cache = compat.cache_of(name)

    def is_here(file: RepoSibling) -> bool:
        content = file.lfs.sha256 if file.lfs is not None else file.blob_id
        places = (f"snapshots/{commit}/{file.rfilename}", f"blobs/{content}")
        return any((cache / place).exists() for place in places)

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
    named, commit = _from_hub(lambda: compat.resolved(_api(), name, revision), name, revision)
    remote, files = _ask(name, commit)
    mark = _mark(name, remote.revision)

    def fetch() -> Path:
        bar = None
        if on_progress is not None:

            def n_here() -> int:
                return remote.n_bytes - _n_missing_bytes(name, remote.revision, files)

            bar = _bar_that_reports(n_here, remote.n_bytes, on_progress)
        return Path(snapshot_download(name, revision=named, tqdm_class=bar, **_AGENT, **_WANTED))

    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        if (folder := here(name, revision)) is not None:  # another process was quicker
            return folder
        mark.touch()
        _require_space(name, remote.n_bytes, mark.parent)
        folder = _from_hub(fetch, name, revision)
        _verify(folder, name, files)
        if compat.listed(name, folder.name) is None:
            _list(name, folder.name).write_text("\n".join(file.rfilename for file in files))
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


def _bar_that_reports(
    n_here: Callable[[], int], total: int, report: Callable[[int, int], None]
) -> type[hub_tqdm]:
    """A progress bar of huggingface_hub that draws nothing and reports its bytes.

    huggingface_hub 0.x has none of bytes for all files: it reports what is here after each file.
    """
    lock, done = threading.Lock(), n_here()

    class Bar(hub_tqdm):
        def __init__(self, *args: Any, name: str | None = None, **kwargs: Any) -> None:
            # Of its three bars, not what was transferred to make the files, which may be
            # compressed, and not the number of files.
            self.counts = name == compat.BAR_OF_BYTES
            kwargs["disable"] = True
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call, unused-ignore]

        def update(self, n: float | None = 1) -> bool | None:
            nonlocal done
            with lock:
                if IS_REQUESTS:
                    done = n_here()
                elif self.counts:
                    done += int(n or 0)
                else:
                    return None
                report(min(max(done, 0), total), total)
            return None

        def __iter__(self) -> Iterator[Any]:  # over files, in 0.x with an older tqdm
            for one in super().__iter__():
                yield one
                self.update()

    report(done, total)
    return Bar


def _verify(folder: Path, name: str, files: Sequence[RepoSibling]) -> None:
    """Deletes every file whose content is not what the Hub lists, and raises ModelLoadError."""
    wrong = [file.rfilename for file in files if not _is_as_listed(folder / file.rfilename, file)]
    for path in (folder / each for each in wrong):
        path.resolve().unlink(missing_ok=True)  # what a link of the cache points to
        path.unlink(missing_ok=True)
    if wrong:
        raise ModelLoadError(
            f"{wrong[0]} of {name} arrived damaged: its checksum is not the one that the "
            "Hub lists. It was deleted.\n\nHint: try again; should it stay so, the Hub, or "
            "something on the way from it, is broken."
        )


def _is_as_listed(path: Path, file: RepoSibling) -> bool:
    """Whether a file has the checksum of its content, or the one that Git gives it."""
    if not path.is_file():
        return False
    if file.lfs is not None:
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == file.lfs.sha256
    content_of_git = path.read_bytes()
    header = b"blob %d\0" % len(content_of_git)
    return hashlib.sha1(header + content_of_git).hexdigest() == file.blob_id


def _api() -> HfApi:
    return HfApi(**_AGENT)


def _from_hub(call: Callable[[], T], name: str, revision: str | None) -> T:
    """What a call of huggingface_hub returns; whatever it raises becomes one sentence."""
    try:
        return patiently(call)
    except Exception as error:
        raise hub_errors.said(error, name, revision) from None
