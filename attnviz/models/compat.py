"""What is used of huggingface_hub and transformers that their references do not promise.

tests/models/test_compat.py says for each name what breaks where an upgrade takes it away.
"""

import functools
import re
import threading
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # nothing of it is imported for models that are here
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

# While transformers builds a model it changes its own classes, so that of two that are built at
# once one may be found to miss the weights that it shares between its parts.
building = threading.Lock()

BAR_OF_BYTES = "huggingface_hub.snapshot_download"  # of its bars, the one that adds up to the files


def prepare_process() -> None:
    """Set how huggingface_hub downloads, for the whole process: only in one of attnviz's own."""
    from huggingface_hub import constants

    # Written to the disk and counted in pieces of this size; in the library's 10 MB a slow download
    # seems to stand still for seconds.
    constants.DOWNLOAD_CHUNK_SIZE = 2**20
    # Large files come over HTTP, where waiting has an end and what went wrong is known.
    constants.HF_HUB_DISABLE_XET = True


def cache_of(name: str) -> Path:
    """The folder of the local cache that belongs to a model, whether or not it is there."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")


def matching(files: Iterable["RepoSibling"], **patterns: list[str]) -> list["RepoSibling"]:
    """Those files of a model that `snapshot_download` takes with these patterns."""
    from huggingface_hub.utils import filter_repo_objects

    return list(filter_repo_objects(files, key=lambda file: file.rfilename, **patterns))


def seconds_to_reset(headers: Mapping[str, str]) -> int:
    """For how long a rate limit is used up, by the headers of an answer; 0 where it is not."""
    used_up = re.search(r"\br=0\b.*\bt=(\d+)", headers.get("ratelimit", ""))
    return int(used_up[1]) if used_up else 0


def resolved(api: "HfApi", name: str, revision: str | None) -> tuple[Any, str | None]:
    """A revision as `snapshot_download` takes it, and its commit.

    Before huggingface_hub 1.31 it is taken as it is, and its commit is asked for again.
    """
    if not hasattr(api, "resolve_revision"):
        return revision, revision
    found = api.resolve_revision(name, revision=revision)
    return found, found.resolved


def listed(name: str, commit: str) -> list[str] | None:
    """The files that the Hub is known to have of a commit; None where nobody kept a list.

    huggingface_hub keeps one since 1.31.
    """
    import huggingface_hub
    from huggingface_hub import errors

    if not hasattr(errors, "CachedRepoTreeNotFoundError"):
        return None
    try:
        return [file.path for file in huggingface_hub.get_cached_repo_tree(name, revision=commit)]
    except errors.CachedRepoTreeNotFoundError:
        return None


@functools.cache
def not_here() -> tuple[type[Exception], ...]:
    """What is raised where the Hub gives nothing, for whatever cause, and the cache has nothing."""
    from huggingface_hub import errors

    unresolved = getattr(errors, "RevisionResolutionError", errors.LocalEntryNotFoundError)
    return (errors.LocalEntryNotFoundError, unresolved)


def precision(config: Any, dtype: Any) -> dict[str, Any]:
    """The argument of `from_pretrained` by which weights are loaded in this precision.

    Before transformers 4.56 it has the name that configurations have for it, too.
    """
    return {"dtype" if hasattr(config, "dtype") else "torch_dtype": dtype}


def note_revision(config: Any, revision: str | None) -> None:
    """Write a model's revision into its configuration, which transformers then saves in no file."""
    config._commit_hash = revision


def cache() -> Path:
    """The folder for what attnviz keeps, beside what huggingface_hub keeps: it reads HF_HOME."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "attnviz"


def version_of_transformers() -> str:
    return version("transformers")


def whole_weights() -> dict[str, Any]:
    """Options of `from_pretrained` for GGUF: weights dequantised, by no code from the Hub.

    Of some architectures newer versions otherwise leave the weights packed and fetch kernels.
    """
    import transformers

    if not hasattr(transformers, "GgufConfig"):
        return {}
    return {"quantization_config": transformers.GgufConfig(dequantize=True)}
