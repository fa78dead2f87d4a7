"""Induction: what heads do with a random sequence that is repeated."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd
import torch

from attnviz.attention.call import LayerTrace
from attnviz.capture import inputs
from attnviz.capture.forward_pass import trace_inputs
from attnviz.capture.traceable import checked
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError
from attnviz.text.tokenizing import encode


def induction(
    model: Any, tokenizer: Any = None, *, n_tokens: int = 32, seed: int = 0
) -> pd.DataFrame:
    """The induction score of each head, from one pass: a table for `measures(induction=…)`.

    One row a head: `kind`, `layer`, `head` and `induction`, 0 to 1: the mean weight that the
    tokens of the second of two equal runs give to what followed them in the first. A run is
    `n_tokens` different random tokens, drawn with `seed`, none of them special; fewer where the
    model has no positions for two such runs. With a tokenizer, what it adds to a text stands
    around them. An encoder and a decoder are given the same; cross attention has no score (NaN),
    nor have layers that shorten the text.

    Raises InputError for numbers that are not possible and for a model with too few tokens or
    positions, and the errors of `attnviz.trace_inputs`.
    """
    model, _ = checked(model)
    _check_number("n_tokens", n_tokens, 2)
    _check_number("seed", seed, 0)
    before, after = _around(tokenizer)
    ordinary = _ordinary(model, tokenizer)
    positions = inputs.n_positions(model)
    room = n_tokens if positions is None else (positions - len(before) - len(after)) // 2
    n = min(n_tokens, room)
    if n < 2 or n > len(ordinary):
        raise InputError(
            f"{inputs.model_name(model)} has {len(ordinary):,} ordinary tokens and room for "
            f"{max(room, 0):,} of them twice; received n_tokens={n_tokens:,}."
            "\n\nHint: a run has at least 2 different tokens; choose a smaller n_tokens, or a "
            "model with a longer input."
        )
    inputs.check_room(model, len(before) + 2 * n + len(after))
    run = np.random.default_rng(seed).choice(ordinary, n, replace=False).tolist()
    ids = torch.tensor([[*before, *run, *run, *after]])
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if inputs.takes_target(model):
        given["decoder_input_ids"] = ids
    trace = trace_inputs(model, given)
    tables = [
        pd.DataFrame(
            {
                "kind": kind,
                "layer": layer,
                "head": np.arange(call.n_heads),
                "induction": _scores(kind, call, len(before), n, ids.shape[1]),
            }
        )
        for (kind, layer), call in trace.calls.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _scores(kind: str, call: LayerTrace, start: int, n: int, n_all: int) -> np.ndarray:
    if kind == "cross" or (len(call.query_tokens), len(call.key_tokens)) != (n_all, n_all):
        return np.full(call.n_heads, np.nan, np.float32)
    second_run = call.own_weights_of(slice(start + n, start + 2 * n))
    places = np.arange(n)
    scores: np.ndarray = second_run[:, places, start + 1 + places].mean(axis=-1)
    return scores


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before a text and after it."""
    if tokenizer is None:
        return [], []
    encoded, text = encode(tokenizer, "a")
    ids = [(i, token.is_special) for i, token in zip(encoded["input_ids"], text, strict=True)]

    def specials(ids: Sequence[tuple[int, bool]]) -> list[int]:
        return [token_id for token_id, _ in takewhile(lambda one: one[1], ids)]

    return specials(ids), specials(ids[::-1])[::-1]


def _ordinary(model: Any, tokenizer: Any) -> np.ndarray:
    """The ids of the tokens that texts are made of, as far as it is known which are not."""
    n = inputs.n_known_ids(model)
    if tokenizer is not None:
        special = {*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", ())}
        return np.setdiff1d(np.arange(min(n, len(tokenizer))), list(special))
    named = model.config.get_text_config().to_dict()
    values = [value for name, value in named.items() if name.endswith("_token_id")]
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return np.setdiff1d(np.arange(n), [one for one in flat if isinstance(one, int)])


def _check_number(name: str, number: Any, least: int) -> None:
    if not isinstance(number, int | np.integer) or isinstance(number, bool) or number < least:
        raise InputError(
            f"{name} is {quoted(str(number))}.\n\nHint: a whole number from {least} on."
        )
