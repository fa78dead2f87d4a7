"""Why a model cannot be run on a text, or stopped while it ran, in a sentence of its own."""

import traceback
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, ProcessorMixin

from attnviz.capture.compat import stored_weights
from attnviz.capture.inputs import model_name
from attnviz.capture.modules import parameters_of
from attnviz.text.errors import AttnvizError, InputError, UnsupportedModelError, gist

_CAPTURE = Path(__file__).parent
_MEMORY = ("DefaultCPUAllocator", "not enough memory", "out of memory")
_OTHER_DTYPES = ("dtype", "scalar type", "should be the same", "data type")


# Before it runs


def check_reads_text(model: PreTrainedModel) -> None:
    """Raise UnsupportedModelError for a model that reads something else than tokens."""
    if "input_ids" in parameters_of(type(model).forward) or _passes_on(model):
        return
    reads = model.main_input_name
    raise UnsupportedModelError(
        f"{model_name(model)} (model type {model.config.model_type!r}) reads {reads}, not a text."
        f"\n\nHint: attnviz.trace_inputs(model, {{{reads!r}: …}}) with what its processor returns."
    )


def _passes_on(model: PreTrainedModel) -> bool:
    """Whether what it is given goes to a model that reads tokens (speech-encoder-decoder)."""
    return "**" in parameters_of(type(model).forward) and model.main_input_name == "input_ids"


def check_tokenizer(tokenizer: Any) -> None:
    """Raise InputError for something that is no tokenizer of transformers."""
    if callable(tokenizer) and hasattr(tokenizer, "convert_ids_to_tokens"):
        return
    name = type(tokenizer).__name__
    if tokenizer is None:
        said = "A text needs the model's tokenizer; received None."
        hint = "tokenizer = AutoTokenizer.from_pretrained(name), or attnviz.trace_inputs with ids"
    elif isinstance(tokenizer, str):
        said = f"A text needs the model's tokenizer, not its name; received {tokenizer[:80]!r}."
        hint = f"tokenizer = AutoTokenizer.from_pretrained({tokenizer[:80]!r})"
    elif type(tokenizer).__module__.partition(".")[0] == "tokenizers":
        said = f"attnviz reads tokenizers of transformers; received {name} of tokenizers."
        hint = "tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer)"
    elif isinstance(tokenizer, ProcessorMixin) or hasattr(tokenizer, "tokenizer"):
        said = f"attnviz reads tokenizers of transformers; received {name}, which holds one."
        hint = "attnviz.trace(model, tokenizer.tokenizer, text)"
    elif isinstance(tokenizer, PreTrainedModel):
        said = f"attnviz reads a model first and then its tokenizer; received {name} twice."
        hint = "attnviz.trace(model, tokenizer, text)"
    else:
        said = f"attnviz reads tokenizers of transformers; received {name}."
        hint = "tokenizer = AutoTokenizer.from_pretrained(name)"
    raise InputError(f"{said}\n\nHint: {hint}")


# While it runs


def is_of_memory(error: Exception) -> bool:
    """Whether there was no memory left, of a GPU or of the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in _MEMORY)


def because(model: PreTrainedModel, given: Collection[str], error: Exception) -> AttnvizError:
    """What kept a model from running, as far as it can be told; else the exception's own words."""
    if is_of_memory(error):
        where = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "this machine"
        return InputError(
            f"This text needs more memory than {where} has left."
            "\n\nHint: shorten it, or load the model in bfloat16 or on the CPU."
        )
    name = f"{model_name(model)} (model type {model.config.model_type!r})"
    said, hint = _told(model, given, error) or (
        f"stopped with {type(error).__name__}: {gist(error)}.",
        "see whether model(**inputs) runs; what its forward takes beside a text can be passed to "
        "attnviz.trace_inputs.",
    )
    return UnsupportedModelError(f"{name} {said}\n\nHint: {hint}")


def _told(
    model: PreTrainedModel, given: Collection[str], error: Exception
) -> tuple[str, str] | None:
    """What is wrong with the model or what it was given, and what fixes it."""
    own = {
        name: tensor
        for module_name, module in model.named_modules()
        if stored_weights(module) is None
        for name, tensor in _tensors_of(module_name, module)
    }
    empty = [name for name, tensor in own.items() if tensor.is_meta]
    if empty:
        return (
            f"has no weights in {len(empty)} of its {len(own)} tensors, among them {empty[0]}: "
            "they are on the meta device.",
            "model = type(model).from_pretrained(name, attn_implementation='eager')",
        )
    text = str(error)
    if missing := _missing(model, given, text):
        return (
            f"needs {missing}, which it was not given: {gist(error)}.",
            f"attnviz.trace_inputs(model, {{…, {missing!r}: …}}), or trace its text part alone.",
        )
    devices = _names(tensor.device for tensor in own.values())
    if "device" in text and len(devices) > 1:
        return (
            f"is on {' and '.join(devices)}, and nothing moves what goes from part to part.",
            f"model.to({devices[0]!r}), or attnviz.load(name, device_map='auto')",
        )
    dtypes = _names(t.dtype for t in own.values() if t.is_floating_point())
    if len(dtypes) > 1 and any(part in text for part in _OTHER_DTYPES):
        return (
            f"has weights in {' and '.join(dtypes)}, and its code does not turn one into the "
            f"other: {gist(error)}.",
            f"model.to(torch.{dtypes[0]})",
        )
    if "not implemented for" in text:
        return (
            f"cannot compute in {' and '.join(dtypes)} on {' and '.join(devices)}: {gist(error)}.",
            "model.float()",
        )
    if _is_captures(error):
        return (
            f"ran, but attnviz could not read it: {type(error).__name__}: {gist(error)}.",
            "please report this, with the model's name and transformers' version.",
        )
    return None


def _tensors_of(module_name: str, module: torch.nn.Module) -> Iterable[tuple[str, Tensor]]:
    dot = "." if module_name else ""
    for of in (module.named_parameters(recurse=False), module.named_buffers(recurse=False)):
        for name, tensor in of:
            yield f"{module_name}{dot}{name}", tensor


def _names(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value).removeprefix("torch.") for value in values))


def _missing(model: PreTrainedModel, given: Collection[str], text: str) -> str | None:
    """The input that an error is about because the model was not given it."""
    if not any(word in text for word in ("specify", "missing", "required", "provide", "None")):
        return None
    named = [one for one in parameters_of(type(model).forward) if one.startswith(_INPUTS)]
    absent = sorted((one for one in named if one not in given), key=len, reverse=True)
    is_about = (one for one in absent if one in text)
    main = (one for one in absent if one in _MEDIA and "None" in text)
    return next(is_about, None) or next(main, None)


_MEDIA = ("pixel_values", "input_features", "input_values", "bbox")
_INPUTS = ("pixel_", "input_features", "input_values", "decoder_", "encoder_", "bbox", "visual_")


def _is_captures(error: Exception) -> bool:
    """Whether it was raised by what reads a pass, not by the model that made it."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).parent == _CAPTURE
