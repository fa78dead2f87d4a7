"""Models in one GGUF file, as llama.cpp, Ollama and LM Studio have them, however quantised.

transformers reads a file once, in float32. What it makes of it, a folder of safetensors, is kept in
the cache under the checksum of the file, and is what is loaded from then on.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from attnviz.attention.free_memory import free_memory
from attnviz.models import checksums, compat, weights
from attnviz.models.kept import NoRoom, kept
from attnviz.text.errors import ModelLoadError, gist
from attnviz.text.phrases import size

ENDING = ".gguf"
_PACKAGES = ("gguf", "accelerate")  # that transformers reads such a file with
_TIMES_IN_MEMORY = 2  # that float32 weights take while a file is read


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its weights are read."""

    architecture: str  # as llama.cpp calls it
    quantization: str  # "Q4_1", "F16" …
    n_weights: int

    def n_bytes(self, dtype: str) -> int:
        """What the weights take, in bytes."""
        return weights.n_bytes_of_parameters(self.n_weights, dtype)


@dataclass(frozen=True)
class Opened:
    """A file as a folder that is loaded like any other."""

    folder: Path
    name: str  # "SmolLM2-135M-Instruct, Q4_1"
    revision: str  # by the checksum of the file


@contextmanager
def opened(file: Path, dtype: str, max_bytes: int | None, sha256: str | None) -> Iterator[Opened]:
    """The folder of safetensors that is made of a file, until it has been loaded.

    `sha256` is the beginning of the checksum that the file must have, `max_bytes` the most memory
    that its weights may take in `dtype`. Raises ModelLoadError for a file that cannot be read.
    """
    digest = _checksum(file)
    if not digest.startswith(sha256 or ""):
        raise ModelLoadError(
            f"{file.name} is not the file that was published: its sha256 is {digest[:12]}… instead "
            f"of {sha256}….\n\nHint: install its package again."
        )
    place, header, n_bytes = _place(digest), None, 0
    if not place.exists():
        header = _read_header(file)
        _check_fits(file, header, dtype, max_bytes)
        n_bytes = header.n_bytes("float32")
    with ExitStack() as stored:
        try:
            made = kept(place, n_bytes, lambda folder: _convert(file, header, folder))
            folder = stored.enter_context(made)
        except NoRoom as error:
            raise ModelLoadError(
                f"{file.name} does not fit on this machine's disk: as safetensors it takes "
                f"{size(n_bytes)}, and {size(error.free)} are free.{_DISK}"
            ) from None
        except OSError as error:
            raise _not_written(file, error) from error
        yield Opened(folder, _title(file, folder), f"sha256:{digest[:12]}")


_DISK = "\n\nHint: free some space, or set HF_HOME to a folder on another disk."


def n_bytes(file: Path, dtype: str) -> int | None:
    """What the weights of a file take once loaded, in bytes. Raises ModelLoadError."""
    place = _place(_checksum(file))
    return weights.n_bytes(place, dtype) if place.exists() else _read_header(file).n_bytes(dtype)


def quantization(config: Any) -> str | None:
    """What the weights of a model were stored as in GGUF; None for a model of another origin."""
    return getattr(config, _NOTED, None)


_NOTED = "dequantized_from"  # in config.json


def _place(digest: str) -> Path:
    """Where the conversion of a file is kept; another transformers may read it otherwise."""
    return compat.cache() / "gguf" / f"{digest}-transformers-{compat.version_of_transformers()}"


def _checksum(file: Path) -> str:
    try:
        return checksums.sha256(file)
    except OSError as error:
        raise ModelLoadError(
            f"The file {file.name} cannot be read ({error.strerror or gist(error)})."
            "\n\nHint: check that it is there and may be read."
        ) from error


def _title(file: Path, folder: Path) -> str:
    """The name of the file, and what its weights were stored as, once."""
    stored = json.loads((folder / "config.json").read_text())[_NOTED]
    bare = re.sub(rf"[-_. ]{stored}$", "", file.name.removesuffix(ENDING), flags=re.IGNORECASE)
    return f"{bare}, {stored}"


# What a file says of itself


def _read_header(file: Path) -> Header:
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise ModelLoadError(
            f"{file.name} is a GGUF file. Reading it needs {' and '.join(missing)}, which "
            f"{'are' if len(missing) > 1 else 'is'} not installed."
            '\n\nHint: pip install "attnviz[gguf]"'
        )
    import gguf

    try:
        reader = gguf.GGUFReader(file)
        n_parts = _value(reader, "split.count") or 1
        architecture = str(_value(reader, "general.architecture"))
        stored = _value(reader, "general.file_type")
        n_weights: Counter[str] = Counter()
        for tensor in reader.tensors:
            n_weights[tensor.tensor_type.name] += int(tensor.n_elements)
        [(most, _)] = n_weights.most_common(1)
    except Exception as error:  # what a file can hold raises many kinds
        raise ModelLoadError(
            f"{file.name} is damaged, or is no GGUF file ({gist(error)})."
            "\n\nHint: download it again."
        ) from error
    if n_parts > 1:
        raise ModelLoadError(
            f"{file.name} is one of {n_parts} parts of a model, and transformers reads whole files."
            "\n\nHint: join them: llama-gguf-split --merge FIRST_PART WHOLE"
        )
    return Header(architecture, _named(stored) or most, n_weights.total())


def _value(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _named(file_type: int | None) -> str | None:
    """What llama.cpp calls a type of files: "Q4_K_M"; None for one that is not known."""
    import gguf

    if file_type is None:
        return None
    try:
        return re.sub("^(MOSTLY|ALL)_", "", gguf.LlamaFileType(file_type).name)
    except ValueError:
        return None


def _check_fits(file: Path, header: Header, dtype: str, max_bytes: int | None) -> None:
    weights.check_fits(file.name, header.n_bytes(dtype), dtype, max_bytes, None)
    n_bytes, free = header.n_bytes("float32"), free_memory()
    if _TIMES_IN_MEMORY * n_bytes > free:
        raise ModelLoadError(
            f"{file.name} takes {size(n_bytes)} of memory in float32, and twice that while it is "
            f"read; {size(free)} are free on this machine.\n\nHint: choose a smaller model."
        )


# From a file to a folder


def _convert(file: Path, header: Header | None, folder: Path) -> None:
    """Write what transformers reads from a file as safetensors, configuration and tokenizer."""
    assert header is not None
    before = checksums.state(file)
    with compat.building:
        model, tokenizer = _read(file, header)
        setattr(model.config, _NOTED, header.quantization)
        try:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except (OSError, SafetensorError) as error:
            raise _not_written(file, error) from error
    if checksums.state(file) != before:
        raise ModelLoadError(f"{file.name} changed while it was read.\n\nHint: load it again.")


def _read(file: Path, header: Header) -> tuple[Any, Any]:
    """The model and its tokenizer, by transformers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    source: dict[str, Any] = dict(gguf_file=file.name, local_files_only=True)
    source["trust_remote_code"] = False
    try:
        config = AutoConfig.from_pretrained(file.parent, **source)
    except Exception as error:
        raise ModelLoadError(
            f"transformers does not read {file.name}, whose architecture is "
            f"{header.architecture!r} ({gist(error)}).\n\nHint: choose another model, or the same "
            "one as safetensors."
        ) from error
    auto_class: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    try:
        model, report = auto_class.from_pretrained(
            file.parent,
            config=config,
            dtype=torch.float32,
            output_loading_info=True,
            **source,
            **compat.whole_weights(),
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, config=config, **source)
    except Exception as error:
        raise ModelLoadError(
            f"transformers cannot read {file.name} ({type(error).__name__}: {gist(error)})."
            "\n\nHint: choose another file of this model, or the same model as safetensors."
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise ModelLoadError(
            f"{len(missing)} of the weights of {file.name} are missing from it, among them "
            f"{missing[0]}; they would be random.\n\nHint: choose a file that holds a whole model."
        )
    return model, tokenizer


def _not_written(file: Path, error: Exception) -> ModelLoadError:
    return ModelLoadError(
        f"{file.name} could not be written as safetensors ({gist(error)}).{_DISK}"
    )
