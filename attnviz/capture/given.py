"""What a caller gives a model beside a text: tensors of any kind, caches, an encoder's states."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache, DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from attnviz.capture.accelerate_hooks import device_of
from attnviz.capture.modules import modules_of, parameters_of
from attnviz.text.errors import InputError

CACHE, STATES, SEGMENTS = "past_key_values", "encoder_outputs", "token_type_ids"
_ROWS = {  # of texts, with how many axes one batch of them has
    **dict.fromkeys(("input_ids", "attention_mask", SEGMENTS, "position_ids"), 2),
    **dict.fromkeys(("decoder_input_ids", "decoder_attention_mask", "decoder_position_ids"), 2),
    **dict.fromkeys(("inputs_embeds", "decoder_inputs_embeds", "encoder_hidden_states"), 3),
    "encoder_attention_mask": 2,
}
_TEXTS = ("input_ids", "inputs_embeds", "decoder_input_ids", "decoder_inputs_embeds")


def as_given(model: PreTrainedModel, inputs: Any) -> dict[str, Any]:
    """What a model is given, by the names of its forward; nothing in it is the caller's own.

    Lists and arrays are tensors, of a batch of one and where the model computes. Whatever else
    the forward names is passed on as it is. Raises InputError for what it does not name, and for
    more than one text.
    """
    given = {name: value for name, value in _named(model, inputs).items() if value is not None}
    if not takes(model, SEGMENTS):  # tokenizers return them for such models, too
        given.pop(SEGMENTS, None)
    _check_names(model, given)
    made = {name: _made(model, name, value) for name, value in given.items()}
    for name, tensor in made.items():
        if name in _ROWS and isinstance(tensor, Tensor) and _n_rows(name, tensor) != 1:
            raise InputError(
                f"A trace shows one text; {name} is a batch of {len(tensor)}."
                f"\n\nHint: pass one row: {name}[:1]."
            )
    return made


def _named(model: PreTrainedModel, inputs: Any) -> Mapping[str, Any]:
    """The inputs by name; ids or embeddings alone are those of the text."""
    if isinstance(inputs, Mapping):
        return inputs
    if isinstance(inputs, str | bytes):
        raise InputError(
            f"The inputs are what a tokenizer returns; received the text {inputs[:80]!r}."
            "\n\nHint: attnviz.trace(model, tokenizer, text)"
        )
    tensor = _tensor(inputs)
    if tensor is None:
        raise InputError(
            "The inputs are names with tensors, as a tokenizer returns them; received "
            f"{type(inputs).__name__}.\n\nHint: tokenizer(text, return_tensors='pt')"
        )
    reads = model.main_input_name
    if reads == "input_ids" and tensor.is_floating_point() and tensor.ndim > 1:
        reads = "inputs_embeds"
    return {reads: tensor}


def _check_names(model: PreTrainedModel, given: Mapping[str, Any]) -> None:
    """Refuse by its name what the model would not read.

    But for the mask that tokenizers return, which some models take and pass over (cpmant).
    """
    passed_over = {"attention_mask"} if "**" in parameters_of(type(model).forward) else set()
    unknown = [name for name in given if name not in passed_over and not takes(model, name)]
    if unknown:
        raise InputError(
            f"{type(model).__name__} takes no {' and no '.join(unknown)}; received "
            f"{', '.join(given)}.\n\nHint: leave out what its forward does not name."
        )


def takes(model: PreTrainedModel, name: str) -> bool:
    """Whether a model reads an input of this name, or a model in it to which it is handed on."""
    own = parameters_of(type(model).forward)
    if name in own or "**" not in own:
        return name in own
    inner = name.removeprefix("decoder_").removeprefix("encoder_")
    return any(
        {name, inner} & set(parameters_of(type(part).forward))
        for part in modules_of(model)
        if isinstance(part, PreTrainedModel)
    )


def _made(model: PreTrainedModel, name: str, value: Any) -> Any:
    if name == CACHE:
        return _cache(value)
    if name == STATES:
        return _states(value, device_of(model))
    made = None if isinstance(value, bool | int | float | str) else _tensor(value)
    if made is None:
        if name in _ROWS:
            raise InputError(
                f"{name} is not a table of numbers; received {type(value).__name__}."
                f"\n\nHint: one row, as a tensor, an array or a list of numbers."
            )
        return _moved(value, device_of(model))
    tensor = made.detach().to(device_of(model), copy=True)
    if name.endswith("input_ids"):
        tensor = _whole(name, tensor)
    elif tensor.is_floating_point() and "mask" not in name:
        tensor = tensor.to(model.dtype)
    return tensor[None] if tensor.ndim == _ROWS.get(name, 0) - 1 else tensor


def _n_rows(name: str, tensor: Tensor) -> int:
    """How many texts a tensor is of; some position ids have another axis before that."""
    return len(tensor) if tensor.ndim == _ROWS[name] or name in _TEXTS else 1


def _whole(name: str, ids: Tensor) -> Tensor:
    """Ids as whole numbers, which somebody may hold as others."""
    whole = ids.long()
    if not torch.equal(whole.to(ids.dtype), ids):
        raise InputError(
            f"{name} holds numbers that are not token ids; received {ids.dtype} with "
            f"{ids.flatten()[0].item():g} first.\n\nHint: pass embeddings as inputs_embeds."
        )
    return whole


def _tensor(value: Any) -> Tensor | None:
    """A tensor of numbers, however they are held; None where they are none."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, list | tuple) and value and all(isinstance(x, Tensor) for x in value):
        is_stack = len({x.shape for x in value}) == 1
        return torch.stack(list(value)) if is_stack else None
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):  # of rows of different lengths
        return None
    if array.dtype.kind not in "biuf":
        return None
    if array.dtype.byteorder == ">" or (array.dtype.kind == "u" and array.dtype.itemsize > 1):
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float64)
    return torch.from_numpy(np.ascontiguousarray(array).copy())


def _moved(value: Any, device: torch.device) -> Any:
    """The same, with every tensor in it the trace's own and on one device."""
    if isinstance(value, Tensor):
        return value.detach().to(device, copy=True)
    if isinstance(value, Mapping):
        return type(value)(**{name: _moved(part, device) for name, part in value.items()})
    if type(value) in (list, tuple):
        return type(value)(_moved(part, device) for part in value)
    return value


# What an encoder or an earlier pass made


def _states(value: Any, device: torch.device) -> Any:
    """An encoder's states, as models hand them to their decoders."""
    if isinstance(value, Mapping):
        moved: Any = _moved(value, device)
        return BaseModelOutput(**moved) if type(value) is dict else moved
    states = value
    if isinstance(value, list | tuple):
        states = value[0]
    made = _tensor(states)
    if made is None:
        raise InputError(
            f"{STATES} is what the model's encoder returns; received {type(value).__name__}."
            f"\n\nHint: {STATES}=model.get_encoder()(**inputs)"
        )
    states = made.detach().to(device, copy=True)
    return BaseModelOutput(last_hidden_state=states[None] if states.ndim == 2 else states)


def _cache(value: Any) -> Cache:
    """Earlier keys and values, as a cache; a pass writes into a copy of it."""
    if isinstance(value, Cache):
        return value
    if isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple):
        layers = [tuple(None if part is None else _tensor(part) for part in one) for one in value]
        both = all(len(one) == 4 for one in layers)
        return EncoderDecoderCache(layers) if both else DynamicCache(layers)
    raise InputError(
        f"{CACHE} is a cache, or a key and a value for each layer; received "
        f"{type(value).__name__}.\n\nHint: model(**inputs, use_cache=True).{CACHE}"
    )


def copied(cache: Cache) -> Cache:
    """A cache that a pass may write into; tensors that were computed cannot be copied as they are.

    Where a pass ran with gradients they hold how they were made.
    """
    tensors: dict[int, Any] = {}
    _find_tensors(cache, tensors, set())
    return copy.deepcopy(cache, {at: tensor.detach().clone() for at, tensor in tensors.items()})


def _find_tensors(value: Any, found: dict[int, Any], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        found[id(value)] = value
    elif isinstance(value, Mapping):
        for part in value.values():
            _find_tensors(part, found, seen)
    elif isinstance(value, list | tuple):
        for part in value:
            _find_tensors(part, found, seen)
    elif hasattr(value, "__dict__") and not isinstance(value, type):
        _find_tensors(vars(value), found, seen)


def n_earlier(cache: Any) -> int:
    """How many positions a cache has seen; 0 without one, and of layers that keep no keys."""
    if not isinstance(cache, Cache):
        return 0
    try:
        return int(cache.get_seq_length())
    except ValueError:  # no layer of it keeps keys
        return 0


def has_cross_keys(cache: Any) -> bool:
    """Whether a cache has the keys of another text, which are then not computed again."""
    return isinstance(cache, EncoderDecoderCache) and any(cache.is_updated.values())
