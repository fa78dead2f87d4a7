"""What a model is asked: which of its outputs says something, and at which position."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from attnviz.attention.trace import Trace
from attnviz.capture.forward_pass import Observed, observed
from attnviz.capture.inputs import Inputs, model_name
from attnviz.capture.unwrapping import unwrapped
from attnviz.models.with_head import Said, said_by
from attnviz.text.errors import InputError

CLASSES: tuple[Said, ...] = ("class of text", "class of token")


@dataclass(frozen=True)
class Question:
    """What is asked of a model."""

    what: Said
    position: int | None  # the query whose output answers; None: all of them together

    def logits(self, seen: Observed, outputs: Mapping[str, Any]) -> Tensor:
        """The answer's logits, as the model itself gives them, (text, vocabulary or class)."""
        logits: Tensor = outputs["logits"]
        if logits.ndim == 3:
            logits = logits[:, 0 if logits.shape[1] == 1 else self.position]
        return logits.detach()


def usual_question(model: Any, tokenizer: Any, trace: Trace) -> Question | None:
    """What is asked of this text where no position is named, without a pass of its own.

    The position is None where none is usual: of a masked model, a text without a mask. No question
    where the model makes embeddings and says nothing.
    """
    own, _ = unwrapped(model)
    mask = tokenizer.mask_token
    mask_at = trace.tokens.index(mask) if mask in trace.tokens else None
    says = said_by(type(own).__name__, own.config.model_type)
    if not says:
        return None
    what = _one_of(says, has_mask=mask_at is not None)
    return Question(what, _usual_position(what, len(trace.tokens), mask_at))


def asked(
    model: Any,
    tokenizer: Any,
    text: str,
    position: int | None,
    pair: str | None,
    target: str | None,
) -> tuple[Observed, Question]:
    """One pass over a text, and the question that it answers.

    Raises InputError for a position that the text has not, and for a model that says nothing.
    """
    found: list[Question] = []

    def answers(inputs: Inputs) -> list[int]:
        found.append(_question(seen_model, tokenizer, inputs, position))
        return [-1 if found[0].position is None else found[0].position]

    seen_model, _ = unwrapped(model)
    seen = observed(model, tokenizer, text, pair, target, answers=answers)
    return seen, found[0]


def _question(
    model: PreTrainedModel, tokenizer: Any, inputs: Inputs, position: int | None
) -> Question:
    mask_at = _place_of_mask(tokenizer, inputs)
    what = _said_by(model, has_mask=mask_at is not None)
    tokens = inputs.target if what == "target token" else inputs.source
    n = len(tokens or ())
    if what == "class of text":
        if position is not None:
            raise InputError(
                f"{model_name(model)} says one thing of the whole text; received position "
                f"{position}.\n\nHint: leave position out."
            )
        return Question(what, None)
    if position is None:
        position = _usual_position(what, n, mask_at)
    if position is None:
        raise _none_usual(what, model, tokenizer, n)
    if not isinstance(position, int) or position not in range(n):
        raise InputError(
            f"The text's positions run from 0 to {n - 1}; received {position!r}."
            "\n\nHint: count tokens, not words; trace.tokens lists them."
        )
    return Question(what, position)


def _place_of_mask(tokenizer: Any, inputs: Inputs) -> int | None:
    ids: list[int] = inputs.tensors["input_ids"][0].tolist()
    return ids.index(tokenizer.mask_token_id) if tokenizer.mask_token_id in ids else None


def _usual_position(what: Said, n: int, mask_at: int | None) -> int | None:
    """Which of `n` positions answers where none is named; None where none is usual."""
    usual = {"target token": 0, "next token": n - 1, "masked token": mask_at}
    return usual.get(what)


def _none_usual(what: Said, model: PreTrainedModel, tokenizer: Any, n: int) -> InputError:
    if what == "masked token":
        return InputError(
            f"{model_name(model)} says what stands behind a mask, and the text has none."
            f"\n\nHint: write {tokenizer.mask_token} in place of a word, or name a position."
        )
    return InputError(
        f"{model_name(model)} says one thing of each token.\n\nHint: name a position, 0 to {n - 1}."
    )


def _said_by(model: PreTrainedModel, *, has_mask: bool) -> Said:
    name = type(model).__name__
    says = said_by(name, model.config.model_type)
    if says:
        return _one_of(says, has_mask=has_mask)
    raise InputError(
        f"{model_name(model)} was loaded as {name}, which makes embeddings and says nothing of "
        "tokens or classes.\n\nHint: load a model whose config names a head, as "
        "BertForMaskedLM or GPT2LMHeadModel, and whose file has the weights of it."
    )


def _one_of(says: list[Said], *, has_mask: bool) -> Said:
    if "masked token" in says and "next token" in says:  # one class for both (xlm)
        return "masked token" if has_mask else "next token"
    return says[0]


def log_probabilities(question: Question, model: PreTrainedModel, logits: Tensor) -> Tensor:
    """log p of each token or class, float64: the model's own softmax of its logits.

    Raises InputError for a model that gives numbers and no probabilities.
    """
    config: Any = model.config
    if question.what in CLASSES and getattr(config, "problem_type", None) == (
        "multi_label_classification"
    ):
        return torch.nn.functional.logsigmoid(logits.double())
    if logits.shape[-1] < 2 or getattr(config, "problem_type", None) == "regression":
        raise InputError(
            f"{model_name(model)} gives a number, which has no probability."
            "\n\nHint: choose a model that names a token or a class."
        )
    return logits.double().log_softmax(dim=-1)
