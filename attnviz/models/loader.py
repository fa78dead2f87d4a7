"""The only loader: a model and its tokenizer, from the installed package, a folder or the Hub.

Weights are always safetensors, attention is always eager, and code that comes with a model is
never run.
"""

import weakref
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import is_accelerate_available

from attnviz.attention.free_memory import free_memory
from attnviz.attention.tolerance import TOLERANCE
from attnviz.models import compat, gguf, local, vocabulary, weights, with_head
from attnviz.models.bundled import BUNDLED
from attnviz.models.local import Place
from attnviz.text import packages
from attnviz.text.errors import ModelLoadError, gist


def load(
    name: str = BUNDLED,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
    device_map: str | dict[str, Any] | None = None,
    allow_folder: bool = True,
    max_bytes: int | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model, eager and in evaluation mode, and its tokenizer.

    `name` is one of the installed models (the bundled one, or `bundled.DECODER`; no network), a
    folder, a GGUF file or a folder with one, or a Hub id: the local cache is asked first, then the
    Hub. Without `allow_folder` no folder of this machine is looked at, and a name says nothing
    about which there are. The model has the head that its configuration names, for tokens or
    classes, if its file has the weights of that. The revision is recorded in
    `model.config._commit_hash`: the Hub's commit, or the checksum of the weights in an installed
    model and in a GGUF file.

    A GGUF file, however quantised, is converted once, to safetensors in float32, and loaded from
    these as long as it stays the same; `model.config.dequantized_from` says what it was, "Q4_1".

    `dtype` is "float32", "float64", "bfloat16" or "float16", `device` one of `devices()`. A model
    larger than one device is spread over several by `device_map`, "auto" or parts of the model →
    devices, and "cpu" and "disk" for what fits on none of them; accelerate does that.

    `max_bytes` is the most memory that the weights may take in this precision; what is free on
    this machine is the limit all the same, unless the model is spread.

    Raises ModelLoadError, with one sentence and a hint, for anything that cannot be loaded.
    """
    if dtype not in TOLERANCE:
        raise ModelLoadError(
            f"attnviz cannot load a model in {dtype!r}."
            f"\n\nHint: choose one of {', '.join(TOLERANCE)}."
        )
    if device_map is not None:
        _check_spreading(device)
    place = local.find(name, revision, allow_folder=allow_folder)
    if place is None:
        from attnviz.models import hub  # not before: what is here is loaded without it

        folder = hub.download(name, revision)
        place = Place(folder, name, folder.name)
    with ExitStack() as opened:
        if place.gguf is not None:
            file = gguf.opened(place.gguf, dtype, max_bytes, place.sha256)
            made = opened.enter_context(file)
            place = replace(place, folder=made.folder, name=made.name, revision=made.revision)
        return _load(place, dtype, device, device_map, max_bytes)


def _load(
    place: Place,
    dtype: str,
    device: str,
    device_map: str | dict[str, Any] | None,
    max_bytes: int | None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    config = _load_config(place.folder, place.name)
    n_bytes = weights.n_bytes(place.folder, dtype)
    if n_bytes is not None:
        has_room = free_memory() if device_map is None else None
        weights.check_fits(place.name, n_bytes, dtype, max_bytes, has_room)
    with ExitStack() as stored:  # what is on disk goes with the model
        spread: dict[str, Any] = {}
        if device_map is not None:
            on_disk = TemporaryDirectory(prefix="attnviz-", ignore_cleanup_errors=True)
            spread = dict(device_map=device_map, offload_folder=stored.enter_context(on_disk))
        model = _load_model(place.folder, place.name, config, dtype, spread)
        weakref.finalize(model, stored.pop_all().close)
    if (place.is_folder or place.gguf is not None) and device_map is None:
        _own(model)
    tokenizer = _load_tokenizer(place.folder, place.name)
    model.config.name_or_path = place.name
    compat.note_revision(model.config, place.revision)
    if device_map is None:
        _move(model, place.name, device)
    return model.train(False), tokenizer


def devices() -> tuple[str, ...]:
    """Where a model can compute here: ("cpu",), ("cpu", "cuda"), ("cpu", "cuda:0", "cuda:1") …"""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ("cpu", "cuda") if n_gpus == 1 else ("cpu", *(f"cuda:{gpu}" for gpu in range(n_gpus)))


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
            f"({gist(error)}).\n\nHint: check the file, or choose another model."
        ) from error


def _load_model(
    folder: Path, name: str, config: Any, dtype: str, spread: dict[str, Any]
) -> PreTrainedModel:
    if not any(folder.glob("*.safetensors")):
        raise weights.none_as_safetensors(name)
    try:
        with compat.building:
            model, missing = _first_whole(folder, config, dtype, spread)
    except torch.OutOfMemoryError as error:
        raise _too_large(name) from error.with_traceback(None)
    except SafetensorError as error:
        raise ModelLoadError(
            f"The weights file of {name} is damaged ({gist(error)})."
            "\n\nHint: delete it and download or save it again."
        ) from error
    except Exception as error:
        hint = "check that its weights belong to its config.json."
        if spread:
            hint = f"check device_map; the devices here are {', '.join(devices())} and disk."
        raise ModelLoadError(f"{name} cannot be loaded ({gist(error)}).\n\nHint: {hint}") from error
    if missing:
        raise ModelLoadError(
            f"{len(missing)} of the weights of {name} are missing from its file, among them "
            f"{missing[0]}; they would be random.\n\nHint: save or download the model again."
        )
    return model


def _first_whole(
    folder: Path, config: Any, dtype: str, spread: dict[str, Any]
) -> tuple[PreTrainedModel, list[str]]:
    """The model, and which of its weights its file lacks.

    With the head that its configuration names, unless the file lacks weights of that: a random
    head predicts nothing. Several published encoders name one that they come without.
    """
    base: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModel
    for model_class in [*with_head.classes(config), base]:
        model: PreTrainedModel
        model, report = model_class.from_pretrained(
            folder,
            config=config,
            **compat.precision(config, getattr(torch, dtype)),
            attn_implementation="eager",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **spread,
        )
        # A pooler stands behind all attention, and several published encoders come without one.
        missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
        if not missing:
            break
    return model, missing


def _own(model: PreTrainedModel) -> None:
    """Take the weights into memory, one by one.

    Until then they are parts of their file, which somebody may write anew: other weights, or the
    end of the process where it has become shorter.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()


def _check_spreading(device: str) -> None:
    if device != "cpu":
        raise ModelLoadError(
            f"A model is on one device or spread over several; received device={device!r} and a "
            "device_map.\n\nHint: leave one of the two out."
        )
    if not is_accelerate_available():
        raise ModelLoadError(
            "A device_map needs the package accelerate, which is not installed or too old."
            '\n\nHint: pip install "attnviz[large]", or pip install --upgrade accelerate'
        )


def _move(model: PreTrainedModel, name: str, device: str) -> None:
    try:
        model.to(device)  # type: ignore[arg-type]
    except torch.OutOfMemoryError as error:
        raise _too_large(name) from error.with_traceback(None)
    except (RuntimeError, AssertionError) as error:
        raise ModelLoadError(
            f"There is no device {device!r} here ({gist(error)})."
            f"\n\nHint: the devices here are {', '.join(devices())}."
        ) from error


def _too_large(name: str) -> ModelLoadError:
    return ModelLoadError(
        f"{name} needs more memory than the GPU has left."
        "\n\nHint: load it with dtype='bfloat16', with device_map='auto', or on the CPU."
    )


def _load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        package = packages.missing(error)
        if package is not None and vocabulary.may_need(folder, package):
            raise ModelLoadError(packages.needed(f"The tokenizer of {name}", package)) from error
        if not vocabulary.is_in(folder):
            raise _without_tokenizer(name) from error
        raise ModelLoadError(
            f"The tokenizer of {name} cannot be loaded ({type(error).__name__}: {gist(error)})."
            "\n\nHint: save it again with tokenizer.save_pretrained(folder), or pass token ids to "
            "attnviz.trace_inputs."
        ) from error
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
