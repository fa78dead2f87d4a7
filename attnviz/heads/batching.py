"""The measures of many texts in few passes, where a batch gives the numbers of each text alone.

Whether it does is found out by doing both with the first texts. Where it does not, or a model's
attention can only be read in a pass of its own, every text has one.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from attnviz.attention.call import LayerTrace
from attnviz.attention.tolerance import TOLERANCE
from attnviz.attention.trace import Trace
from attnviz.capture import inputs
from attnviz.capture.accelerate_hooks import device_of, one_at_a_time
from attnviz.capture.calls import Call, Recording, for_each_head
from attnviz.capture.compat import hooked, revision
from attnviz.capture.forward_pass import trace
from attnviz.capture.modules import modules_of, parameters_of
from attnviz.capture.recording import recording
from attnviz.capture.traceable import dtype_name
from attnviz.heads.definitions import MEASURED
from attnviz.heads.measuring import Places, measured, measures
from attnviz.heads.statistics import Head, Statistics, Survey, Surveyed
from attnviz.text.errors import InputError, UnsupportedModelError
from attnviz.text.tokenizing import of_ids

N_SPARE = 2  # columns of padding in the trial, where the model has positions for them

NOT_A_STRING, BLANK, NOT_UNICODE = "not a string", "blank", "not valid Unicode"
NOT_SPLIT = "the tokenizer cannot split it"
UNKNOWN = "nothing in it that the tokenizer knows"
NOT_EMBEDDED = "token ids that the model does not know"
TOO_LONG, TOO_LARGE = "too long", "too large for the memory"
NOT_READ = "the model's attention cannot be read on it"


def surveyed(model: Any, max_tokens: int | None) -> Surveyed:
    """What a survey with this model is of."""
    return Surveyed(
        inputs.model_name(model),
        revision(model),
        dtype_name(model),
        _digest(model),
        max_tokens,
    )


def _digest(model: Any) -> str:
    """A digest of every parameter's name, shape and first numbers; of none that is stored away."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        if parameter.device.type != "meta":
            digest.update(parameter.detach().flatten()[:8].float().cpu().numpy().tobytes())
    return digest.hexdigest()


class Encoded(NamedTuple):
    """A text and what the tokenizer made of it."""

    text: str
    ids: list[int]
    segments: list[int] | None  # what the model is given as token_type_ids


@dataclass(frozen=True, eq=False)
class Plan:
    """What the batches of one model have in common."""

    heads: tuple[Head, ...]
    # Of each layer, and None where heads have no shares of an output: an R of each head with
    # R · Rᵀ = W_O · W_Oᵀ, (head, d_value, d_value), by which ‖u · R‖ = ‖u · W_O‖.
    roots: tuple[Tensor | None, ...]


@dataclass(eq=False)
class Passes:
    """The passes of one survey; `over` gives what a few texts add to it, part by part."""

    model: Any
    tokenizer: Any
    of: Surveyed
    batch_tokens: int
    plan: Plan | None = None  # None: each text has a pass of its own
    is_tried: bool = False
    most_tokens: int | None = field(init=False)
    n_known_ids: int | None = field(init=False)
    # Of each token id: -1 as long as it is not known, else whether it is a special token, and
    # punctuation.
    known: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int8))

    def __post_init__(self) -> None:
        bounds = (inputs.n_positions(self.model), self.of.max_tokens)
        self.most_tokens = min((one for one in bounds if one is not None), default=None)
        self.n_known_ids = _n_known_ids(self.model)

    def over(self, texts: Sequence[Any]) -> Iterator[Survey]:
        """The surveys of parts of these texts; the order is that of their lengths."""
        encoded, skipped = self._encoded(texts)
        yield Survey(self.of, skipped=skipped)
        if encoded and not self.is_tried:
            self._try([encoded[0], encoded[-1]])
        if self.plan is None:
            yield from map(self._alone, encoded)
            return
        for batch in _batches(encoded, self.batch_tokens):
            yield from self._together(self.plan, batch)

    # What the model is given

    def readable(self, texts: Iterable[Any]) -> tuple[list[str], dict[str, int]]:
        """The texts that can be split into tokens, and how many were skipped and why."""
        kept, skipped = [], Counter[str]()
        for text in texts:
            if reason := _unreadable(text, self.most_tokens):
                skipped[reason] += 1
            else:
                kept.append(text)
        return kept, dict(skipped)

    def _encoded(self, texts: Sequence[Any]) -> tuple[list[Encoded], dict[str, int]]:
        """The texts that the model can take, shortest first, and how many were skipped and why."""
        kept, unreadable = self.readable(texts)
        encoded, skipped = [], Counter(unreadable)
        for one in self._split(kept):
            reason = NOT_SPLIT if one is None else self._unfit(one.ids)
            if one is None or reason:
                skipped[reason] += 1
            else:
                encoded.append(one)
        return sorted(encoded, key=lambda one: len(one.ids)), dict(skipped)

    def _split(self, texts: list[str]) -> Iterator[Encoded | None]:
        """Each text's tokens, if it has any; neither padded nor cut, which would be state."""
        if not texts:
            return
        try:
            encodings = self.tokenizer(texts)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a panic of a fast tokenizer is no Exception
            if len(texts) == 1:
                yield None
                return
            half = len(texts) // 2
            yield from self._split(texts[:half])
            yield from self._split(texts[half:])
            return
        segments = itertools.repeat(None)
        if "token_type_ids" in parameters_of(type(self.model).forward):
            segments = encodings.get("token_type_ids", segments)
        for one in zip(texts, encodings["input_ids"], segments, strict=False):
            yield Encoded(*one)

    def _unfit(self, ids: list[int]) -> str:
        """Why the model cannot take these; "" where it can."""
        if self.most_tokens is not None and len(ids) > self.most_tokens:
            return TOO_LONG
        if not ids:
            return UNKNOWN
        if self.n_known_ids is not None and max(ids) >= self.n_known_ids:
            return NOT_EMBEDDED
        return UNKNOWN if self._about(np.array(ids))[:, 0].all() else ""

    def _about(self, ids: np.ndarray) -> np.ndarray:
        """Of each token whether it is special, and whether it is punctuation, (..., 2)."""
        n_more = ids.max(initial=0) + 1 - len(self.known)
        if n_more > 0:
            more = np.full((n_more, 2), -1, np.int8)
            self.known = np.concatenate([self.known, more])
        new = np.unique(ids[self.known[ids, 0] < 0])
        if len(new):
            read = of_ids(self.tokenizer, new.tolist())
            self.known[new] = [(token.is_special, token.is_punctuation) for token in read]
        about: np.ndarray = self.known[ids]
        return about

    # One pass for each text

    def _alone(self, one: Encoded) -> Survey:
        try:
            table = measures(trace(self.model, self.tokenizer, one.text))
        except InputError:  # it fits the model, so what is left is the memory
            return Survey(self.of, skipped={TOO_LARGE: 1})
        except UnsupportedModelError:  # others could be read
            return Survey(self.of, skipped={NOT_READ: 1})
        return _survey(self.of, _heads_in(table), _values_in(table))

    # One pass for many

    def _try(self, few: list[Encoded]) -> None:
        """Find out whether a batch gives the numbers that each text has alone.

        Raises UnsupportedModelError where none of them can be read.
        """
        traces, refusals = [], []
        for one in few:
            try:
                traces.append(trace(self.model, self.tokenizer, one.text))
            except InputError:  # of the memory: the next texts may be shorter
                return
            except UnsupportedModelError as error:
                refusals.append(error)
        if not traces:
            raise refusals[0]
        self.is_tried = True
        if not refusals and all(_may_be_batched(self.model, one) for one in traces):
            self.plan = self._proven(_plan(self.model, traces[0]), few, list(map(measures, traces)))

    def _proven(self, plan: Plan, few: list[Encoded], alone: list[pd.DataFrame]) -> Plan | None:
        """The plan, if by it a padded batch of these texts gives the numbers of each."""
        bounds = (len(few[-1].ids) + N_SPARE, inputs.n_positions(self.model))
        n_tokens = min(bound for bound in bounds if bound is not None)
        try:
            together = self._values(plan, few, n_tokens)
        except Exception:  # of code that was not made for batches
            return None
        each = np.concatenate(list(map(_values_in, alone)))
        tolerance = 10 * TOLERANCE[self.of.dtype]
        is_same = together.shape == each.shape and np.allclose(
            together, each, rtol=tolerance, atol=tolerance, equal_nan=True
        )
        return plan if is_same else None

    def _together(self, plan: Plan, batch: list[Encoded]) -> Iterator[Survey]:
        try:
            values = self._values(plan, batch, len(batch[-1].ids))
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                yield Survey(self.of, skipped={TOO_LARGE: 1})
                return
        else:
            yield _survey(self.of, plan.heads, values)
            return
        half = len(batch) // 2
        yield from self._together(plan, batch[:half])
        yield from self._together(plan, batch[half:])

    def _values(self, plan: Plan, batch: list[Encoded], n_tokens: int) -> np.ndarray:
        """The measures of each text, (text, head, measure), from one pass for all."""
        model = self.model
        lengths = np.array([len(one.ids) for one in batch])
        is_real = np.arange(n_tokens) < lengths[:, None]

        def padded(rows: Sequence[list[int]]) -> np.ndarray:
            array = np.zeros(is_real.shape, np.int64)
            array[is_real] = np.concatenate(rows)
            return array

        ids = padded([one.ids for one in batch])
        given = {"input_ids": ids, "attention_mask": is_real.astype(np.int64)}
        if batch[0].segments is not None:
            given["token_type_ids"] = padded([one.segments or [] for one in batch])
        about = (self._about(ids) * is_real[..., None]).astype(np.float32)
        device = device_of(model)
        is_read = torch.from_numpy(is_real.astype(np.float32)).to(device)
        modules = modules_of(model)
        made = _Measuring(
            finds_projections=False,
            ends_early=not hooked(modules),
            roots=plan.roots,
            places=_places(about, is_read),
            is_real=is_read,
        )
        tensors = {name: torch.from_numpy(array).to(device) for name, array in given.items()}
        with one_at_a_time(modules), recording(modules, made), suppress(_AllRead):
            model(**tensors, **_options(model))
        return torch.cat(made.numbers, dim=1).cpu().numpy()


class _AllRead(Exception):
    """Ends a pass after its last attention: what follows it says nothing about a head."""


@dataclass
class _Measuring(Recording):
    """A recording of a batch that keeps the measures of each call and nothing else."""

    roots: tuple[Tensor | None, ...] = ()
    places: Places = field(default_factory=Places)
    is_real: Tensor = field(
        default_factory=lambda: torch.empty(0)
    )  # (text, position): 0 is padding
    ends_early: bool = False  # not where hooks of accelerate put weights away after a pass
    numbers: list[Tensor] = field(default_factory=list)  # of each call, (text, head, measure)

    def add(self, call: Call) -> None:
        assert call.weights is not None
        weights, is_read = call.weights.float(), self.is_real[:, None]
        norms = for_each_head(call.v.float().norm(dim=-1), weights.shape[1]) * is_read
        root = self.roots[len(self.numbers)]
        of_output = None if root is None else _output_norms(call.updated.float(), root)
        self.numbers.append(measured(weights, norms, self.places, of_output, is_read))
        if self.ends_early and len(self.numbers) == len(self.roots):
            raise _AllRead


def _output_norms(updated: Tensor, root: Tensor) -> Tensor:
    """‖u · W_O‖ of each head's update u, (text, head, query_pos)."""
    n_texts, n_queries = updated.shape[:2]
    by_head = updated.flatten(0, 1).transpose(0, 1) @ root
    norms: Tensor = by_head.norm(dim=-1).reshape(-1, n_texts, n_queries)
    return norms.transpose(0, 1)


# What is known before any pass


def _unreadable(text: Any, most: int | None) -> str:
    """Why a text is not even split into tokens; "" where it is."""
    if not isinstance(text, str):
        return NOT_A_STRING
    if not text.strip():
        return BLANK
    if most is not None and len(text) > most * inputs.MAX_CHARACTERS_A_TOKEN:
        return TOO_LONG
    try:
        text.encode()
    except UnicodeEncodeError:
        return NOT_UNICODE
    return ""


def _n_known_ids(model: Any) -> int | None:
    """How many token ids the model has embeddings for; None where it hashes them."""
    try:
        return int(model.get_input_embeddings().weight.shape[0])
    except (NotImplementedError, AttributeError):
        return None


def _batches(encoded: list[Encoded], batch_tokens: int) -> Iterator[list[Encoded]]:
    """Texts of about the same length, as many as have so many tokens when they are padded."""
    batch: list[Encoded] = []
    for one in encoded:
        if batch and (len(batch) + 1) * len(one.ids) > batch_tokens:
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch


def _places(about: np.ndarray, is_real: Tensor) -> Places:
    """Those of texts that stand side by side from the first position on; NaN what one has not."""
    position = torch.arange(is_real.shape[1], device=is_real.device)
    offset = position - position[:, None]
    is_query = is_real[..., None]
    has_two = torch.where(is_real.sum(dim=1) > 1, 1.0, torch.nan)[:, None, None]
    is_there = about.max(axis=1, keepdims=True) > 0
    of_key = (about * np.where(is_there, np.float32(1), np.float32(np.nan)))[:, None]
    special, punctuation = torch.from_numpy(of_key).to(is_real.device).unbind(dim=-1)
    return Places(
        distance=offset.abs() * is_query,
        offset=offset * is_query,
        self=(offset == 0) * is_query,
        previous=(offset == -1) * is_query * has_two,
        next=(offset == 1) * is_query * has_two,
        first=(position == 0) * is_query,
        special=special * is_query,
        punctuation=punctuation * is_query,
    )


def _options(model: Any) -> dict[str, Any]:
    """What keeps a pass from more than it is for."""
    parameters = parameters_of(type(model).forward)
    options = {"return_dict": True, "use_cache": False, "logits_to_keep": 1}
    return {name: value for name, value in options.items() if name in parameters}


# What can be batched


def _may_be_batched(model: Any, of_one: Trace) -> bool:
    """Whether each call can be read as it happens, and is one of the text's own attention."""
    takes_mask = "attention_mask" in parameters_of(type(model).forward)
    return takes_mask and of_one.kinds == ("self",) and all(map(_is_plain, of_one.calls.values()))


def _is_plain(call: LayerTrace) -> bool:
    is_gated = not isinstance(call.projection, str) and call.projection.gate is not None
    return call.captured == "observed" and call.sink_logits is None and not is_gated


def _plan(model: Any, of_one: Trace) -> Plan:
    roots = (_root(call, device_of(model)) for call in of_one.calls.values())
    return Plan(_heads_in(measures(of_one)), tuple(roots))


def _root(call: LayerTrace, device: torch.device) -> Tensor | None:
    if isinstance(call.projection, str):
        return None
    weights = call.projection.weights
    if weights is None:
        return None
    known = weights.astype(np.float64)
    squares, turned = np.linalg.eigh(known @ known.swapaxes(1, 2))
    roots = turned * np.sqrt(np.maximum(squares, 0))[:, None]
    return torch.from_numpy(roots.astype(np.float32)).to(device)


# What comes back


def _heads_in(table: pd.DataFrame) -> tuple[Head, ...]:
    return tuple(
        (str(kind), int(layer), int(head))
        for kind, layer, head in zip(table["kind"], table["layer"], table["head"], strict=True)
    )


def _values_in(table: pd.DataFrame) -> np.ndarray:
    return table[list(MEASURED)].to_numpy(np.float64)[None]


def _survey(of: Surveyed, heads: tuple[Head, ...], values: np.ndarray) -> Survey:
    return Survey(of, heads, Statistics.of(values), len(values))
