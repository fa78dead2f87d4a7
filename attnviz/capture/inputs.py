"""What a model is given: a text, a sentence pair or a source and a target, as tensors."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, PreTrainedModel

from attnviz.attention.free_memory import free_memory
from attnviz.capture.accelerate_hooks import device_of
from attnviz.capture.attention_code import calls_eager, writes_softmax
from attnviz.capture.compat import submodules
from attnviz.capture.given import CACHE, STATES, as_given, n_earlier, takes
from attnviz.capture.modules import modules_of, parameters_of
from attnviz.capture.writing import greedily
from attnviz.text import tokenizing
from attnviz.text.characters import quoted, shown
from attnviz.text.errors import InputError
from attnviz.text.phrases import size
from attnviz.text.tokens import Tokens, numbered, plain

MAX_DECODED_TOKENS = 32
MAX_CHARACTERS_A_TOKEN = 100  # on average; a text with more is not even split into tokens


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of one, and what its positions are called."""

    tensors: dict[str, Any]
    source: Tokens | None  # None: the model is given no text that could be counted
    target: Tokens | None = None
    target_is_decoded: bool = False
    earlier: Tokens = field(default_factory=Tokens)  # those before it whose keys a cache has


def from_text(
    model: PreTrainedModel,
    tokenizer: Any,
    text: str,
    pair: str | None,
    target: str | None,
    max_tokens: int | None,
) -> Inputs:
    """The inputs for a text. Raises InputError for one that the model cannot take."""
    if pair is not None and not tokenizing.takes_pair(tokenizer):
        raise InputError(
            f"{model_name(model)} takes one text, not a sentence pair: its tokenizer has no "
            f"separator; received {quoted(pair)} as the second."
            "\n\nHint: leave pair out, or choose a model such as bert-base-uncased."
        )
    if target is not None and not takes_target(model):
        raise InputError(
            f"{model_name(model)} takes no target text: it is not an encoder-decoder; received "
            f"{quoted(target)}.\n\nHint: leave target out, or choose a model such "
            "as google/flan-t5-small."
        )
    for part, what in ((text, "text"), (pair, "second text"), (target, "target text")):
        _check_characters(part, max_tokens, what)
    encoded, source = tokenizing.encode(tokenizer, text, pair)
    _check_length(model, len(source), max_tokens, "text")
    check_room(model, len(source))
    _check_known(model, encoded["input_ids"])
    device = device_of(model)
    tensors = {
        name: torch.tensor([ids], device=device)
        for name, ids in encoded.items()
        if name in ("input_ids", "attention_mask")
        or (name == "token_type_ids" and name in parameters_of(type(model).forward))
    }
    if not takes_target(model):
        return Inputs(tensors, source)
    decoder_ids = _written(model, tensors) if target is None else _given(model, tokenizer, target)
    target_tokens = tokenizing.of_ids(tokenizer, decoder_ids[0].tolist(), of_target=True)
    _check_length(model, len(target_tokens), max_tokens, "target text")
    _check_known(model, decoder_ids[0].tolist(), of_target=True)
    tensors["decoder_input_ids"] = decoder_ids
    return Inputs(tensors, source, target_tokens, target_is_decoded=target is None)


def from_tensors(
    model: PreTrainedModel,
    inputs: Any,
    tokens: Sequence[str] | None,
    target_tokens: Sequence[str] | None,
    tokenizer: Any = None,
) -> Inputs:
    """The inputs that a tokenizer returned. Raises InputError for anything but a batch of one."""
    given = as_given(model, inputs)
    n_cached = n_earlier(given.get(CACHE))
    if not takes_target(model):
        if model.main_input_name == "input_ids":
            _check_has_text(model, given, inputs, "")
        source, earlier = _named(model, given, inputs, tokenizer, tokens, n_cached)
        return Inputs(given, source, earlier=earlier)
    _check_has_text(model, given, inputs, "decoder_")
    if STATES not in given and model.main_input_name == "input_ids":
        _check_has_text(model, given, inputs, "")
    source, _ = _named(model, given, inputs, tokenizer, tokens)
    target, earlier = _named(model, given, None, tokenizer, target_tokens, n_cached, "decoder_")
    return Inputs(given, source, target, earlier=earlier)


def _check_has_text(model: PreTrainedModel, given: Mapping[str, Any], inputs: Any, of: str) -> None:
    """Raise InputError without ids, and without the embeddings that may stand for them."""
    needs = [name for name in (f"{of}input_ids", f"{of}inputs_embeds") if takes(model, name)]
    if any(name in given for name in needs):
        return
    is_decoders = " is an encoder-decoder, and" if of else ""
    hint = "the ids that the decoder is given, or call attnviz.trace with a text"
    if not of:
        hint = "what the tokenizer returns: tokenizer(text, return_tensors='pt')"
    raise InputError(
        f"{model_name(model)}{is_decoders} reads {' or '.join(needs)}; the inputs hold "
        f"{', '.join(given) or 'nothing'}.\n\nHint: pass {hint}."
    )


def _named(
    model: PreTrainedModel,
    given: Mapping[str, Any],
    encoding: Any,
    tokenizer: Any,
    names: Sequence[str] | None,
    n_cached: int = 0,
    of: str = "",
) -> tuple[Tokens | None, Tokens]:
    """The tokens of a text, and those before it whose keys a cache has; None without a text.

    `names` are those of the text, or of all. Positions count from the first that there ever was.
    """
    ids, embeddings = given.get(f"{of}input_ids"), given.get(f"{of}inputs_embeds")
    states = None if of else given.get(STATES)
    text = next((one for one in (states and states[0], ids, embeddings) if one is not None), None)
    argument = "target_tokens" if of else "tokens"
    if text is None:
        if names is not None:
            raise InputError(
                f"{argument} names the positions of a text, and the inputs hold none; received "
                f"{', '.join(given)}.\n\nHint: leave {argument} out."
            )
        return None, numbered(0)
    n = text.shape[1]
    if names is not None and len(names) not in (n, n_cached + n):
        raise InputError(
            f"{argument} has {len(names)} names for {n} positions."
            "\n\nHint: give one name for each position, or none at all."
        )
    _check_length(model, n_cached + n, None, "text")
    is_read = ids is not None and states is None
    listed = ids.flatten().tolist() if ids is not None and is_read else []
    if is_read:
        _check_known(model, listed, of_target=bool(of))
    before = [f"cache {place}" for place in range(n_cached)]
    if names is not None and len(names) > n:
        before, names = [shown(name) for name in names[:n_cached]], names[n_cached:]
    if listed and tokenizer is not None:
        whole = tokenizing.of_ids(
            tokenizer, listed, encoding if hasattr(encoding, "get") else None, of_target=bool(of)
        )
        if names is not None:
            whole = whole.relabelled([shown(name) for name in names])
        whole = whole.behind(plain(before))
    elif names is not None:
        whole = tokenizing.of_names(names).behind(plain(before))
    else:
        whole = numbered(n_cached + n)
    mask = given.get(f"{of}attention_mask")
    if isinstance(mask, Tensor) and states is None and takes(model, f"{of}attention_mask"):
        whole = _padded(whole, mask) if mask.shape == (1, len(whole)) else whole
    return Tokens(whole[n_cached:]), Tokens(whole[:n_cached])


def _padded(tokens: Tokens, attention_mask: Tensor | None) -> Tokens:
    """The tokens, with those that the mask leaves out known to be padding.

    A mask of another shape says something else.
    """
    if attention_mask is None or attention_mask.shape != (1, len(tokens)):
        return tokens
    return tokens.padded((attention_mask[0] == 0).tolist())


def model_name(model: PreTrainedModel) -> str:
    """What to call the model in front of people."""
    return model.config.name_or_path or type(model).__name__


def takes_target(model: PreTrainedModel) -> bool:
    """Whether the model has an encoder and a decoder, each with a text of its own."""
    takes_ids = "decoder_input_ids" in parameters_of(type(model).forward)
    return model.config.is_encoder_decoder and takes_ids


def n_positions(model: PreTrainedModel) -> int | None:
    """How many tokens the model has positions for, or None where there is no bound.

    A table of learned positions decides, less the rows that some models keep for padding
    (roberta, bart); a model without one, or one whose tables may be those of another modality,
    has the length that its configuration names.
    """
    config = model.config.get_text_config()
    learned = [
        part.num_embeddings - _rows_kept(part)
        for module in modules_of(model)
        if (parts := submodules(module)) and not _POSITION_TABLES.isdisjoint(parts)
        for name, part in parts.items()
        if name in _POSITION_TABLES and isinstance(part, nn.Embedding)
    ]
    if learned and config is model.config:
        return min(learned)
    named = getattr(config, "max_position_embeddings", None)
    return named if named is not None and named > 0 else None


_POSITION_TABLES = {
    *("position_embedding", "position_embeddings", "positional_embedding"),
    *("positional_embeddings", "embed_positions", "wpe"),
}


def _rows_kept(table: nn.Embedding) -> int:
    padding = 0 if table.padding_idx is None else table.padding_idx + 1
    return int(getattr(table, "offset", padding))


def _check_characters(text: str | None, max_tokens: int | None, what: str) -> None:
    """Refuse what is far too long before the tokenizer spends seconds on it."""
    if not isinstance(text, str) or max_tokens is None:
        return
    most = MAX_CHARACTERS_A_TOKEN * max_tokens
    if len(text) > most:
        raise InputError(
            f"The {what} has {len(text):,} characters, and at most {most:,} are read here."
            f"\n\nHint: shorten it by {len(text) - most:,} characters."
        )


def _check_length(model: PreTrainedModel, n_tokens: int, max_tokens: int | None, what: str) -> None:
    positions = n_positions(model)
    if positions is not None and n_tokens > positions:
        raise InputError(
            f"The {what} has {n_tokens:,} tokens, and {model_name(model)} has {positions:,} "
            f"positions for them.\n\nHint: shorten it by {_tokens(n_tokens - positions)}."
        )
    if max_tokens is not None and n_tokens > max_tokens:
        raise InputError(
            f"The {what} has {n_tokens:,} tokens, and at most {max_tokens:,} are shown here."
            f"\n\nHint: shorten it by {_tokens(n_tokens - max_tokens)}."
        )


def keeps_weights(model: PreTrainedModel, modules: Iterable[nn.Module]) -> bool:
    """Whether the weights of all layers have to be there until a pass is over.

    They tell whose a call was where there are several kinds, and what a module writes by hand is
    not computed again. All others are let go at once: they grow with the square of the text.
    """
    return (
        takes_target(model)
        or getattr(model.config, "add_cross_attention", False)
        or any(writes_softmax(one) and not calls_eager(one) for one in set(map(type, modules)))
    )


# While the weights of a head are computed they are there twice.
_BYTES_OF_A_WEIGHT = 8
_ALWAYS_FREE = 100_000_000  # bytes


def check_room(model: PreTrainedModel, n_tokens: int) -> None:
    """Raise InputError where the weights, of those heads whose are there at once, find no room."""
    config = model.config.get_text_config()
    named = (getattr(config, name, None) for name in ("num_attention_heads", "num_hidden_layers"))
    n_heads, n_layers = (count if isinstance(count, int) else 1 for count in named)
    n_bytes_of_head = n_tokens**2 * _BYTES_OF_A_WEIGHT
    if n_layers * n_heads * n_bytes_of_head <= _ALWAYS_FREE:
        return
    if keeps_weights(model, modules_of(model)):
        n_heads *= n_layers
    n_bytes, free = n_heads * n_bytes_of_head, free_memory()
    if n_bytes > max(_ALWAYS_FREE, free):
        raise InputError(
            f"The text has {n_tokens:,} tokens; for them the weights of {n_heads:,} heads take "
            f"{size(n_bytes)} of memory, and {size(free)} are free on this machine."
            "\n\nHint: shorten it, or choose a smaller model."
        )


def _check_known(model: PreTrainedModel, ids: Sequence[int], *, of_target: bool = False) -> None:
    n_known = n_known_ids(model, of_target=of_target)
    if not ids or not 0 <= min(ids) <= max(ids) < n_known:
        received = f"{min(ids)} to {max(ids)}" if ids else "none"
        reader = f"the decoder of {model_name(model)}" if of_target else model_name(model)
        raise InputError(
            f"Token ids of {reader} run from 0 to {n_known - 1}; received {received}."
            "\n\nHint: pass what this model's own tokenizer returns."
        )


def _tokens(n: int) -> str:
    return f"{n:,} token{'s' * (n > 1)}"


def n_known_ids(model: PreTrainedModel, *, of_target: bool = False) -> int:
    """How many token ids the model has embeddings for; any number where it hashes them (canine).

    Those of a target are what its decoder reads, which may be a vocabulary of its own.
    """
    decoder: Any = model.get_decoder() if of_target else None  # type: ignore[no-untyped-call]
    try:
        table = getattr(decoder, "embed_tokens", None) or model.get_input_embeddings()
        return int(table.weight.shape[0])  # type: ignore[index]
    except (NotImplementedError, AttributeError):  # hashed, or of something else than a text
        return getattr(model.config.get_text_config(), "vocab_size", sys.maxunicode + 1)


def _given(model: PreTrainedModel, tokenizer: Any, target: str) -> Tensor:
    """The target as the decoder is given it in training: as the model itself moves its labels."""
    labels = torch.tensor([tokenizing.target_ids(tokenizer, target)], device=device_of(model))
    with_head = MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING.get(type(model.config), type(model))
    for moves in (type(model), with_head):
        if (move := getattr(moves, "prepare_decoder_input_ids_from_labels", None)) is not None:
            with suppress(ValueError, TypeError):  # the configuration names no start
                moved: Tensor = move(model, labels)
                return moved
    config = model.config
    candidates = (config.decoder_start_token_id, config.bos_token_id, config.pad_token_id, 0)
    start = next(token_id for token_id in candidates if token_id is not None)
    return torch.cat([labels.new_tensor([[start]]), labels[:, :-1]], dim=1)


def _written(model: Any, tensors: dict[str, Tensor]) -> Tensor:
    """The target as the model writes it: greedily, at most 32 tokens, without the end token."""
    if not model.can_generate():
        raise InputError(
            f"{model_name(model)} was loaded as {type(model).__name__}, without the language-model "
            "head that could write a target text.\n\nHint: pass target='…', or load it with "
            "attnviz.load(name)."
        )
    n_new_tokens = min(MAX_DECODED_TOKENS, (n_positions(model) or MAX_DECODED_TOKENS + 1) - 1)
    ids = greedily(model, tensors, n_new_tokens)
    end = model.generation_config.eos_token_id
    ends = end if isinstance(end, list) else [end]
    written: Tensor = ids[:, :-1] if ids.shape[1] > 1 and ids[0, -1].item() in ends else ids
    return written
