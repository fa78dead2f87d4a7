"""Which token of the vocabulary, or which class, somebody means, and what they are called."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from attnviz.effect.answers import CLASSES, Question
from attnviz.text import tokenizing
from attnviz.text.characters import quoted
from attnviz.text.errors import InputError

_FIRST = 10  # of the likeliest tokens, which are listed


def labels(
    question: Question, model: PreTrainedModel, tokenizer: Any, ids: Sequence[int]
) -> list[str]:
    """What people call these ids."""
    if question.what in CLASSES:
        names: dict[Any, str] = model.config.id2label or {}
        return [str(names.get(at, at)) for at in ids]
    return names_of(tokenizer, ids, of_target=question.what == "target token")


def names_of(tokenizer: Any, ids: Sequence[int], *, of_target: bool = False) -> list[str]:
    """What people call tokens of the vocabulary, each by itself: one beside another is no text."""
    return [tokenizing.of_ids(tokenizer, [at], of_target=of_target).labels[0] for at in ids]


def id_of(
    token: str | int | None,
    question: Question,
    model: PreTrainedModel,
    tokenizer: Any,
    logits: np.ndarray,
) -> int:
    """The id of a token or class; without one, the model's own first choice.

    A word may be a token with a space before it, and another one without: then the one that the
    model finds likelier here. One of its ten likeliest may be named as `labels` has it, too: "↵".
    Raises InputError for what is no single token.
    """
    if token is None:
        return int(logits.argmax())
    if isinstance(token, str):
        if question.what in CLASSES:
            found = _classes(model, token)
        else:
            first = logits.argsort()[::-1][:_FIRST].tolist()
            called = labels(question, model, tokenizer, first)
            found = _ids(tokenizer, token)
            found += [at for at, name in zip(first, called, strict=True) if name == token]
        if not found:
            raise InputError(_none(question, model, token))
        return max(found, key=lambda at: logits[at])
    return _known_id(token, len(logits))


def id_in_vocabulary(token: str | int, tokenizer: Any, n_ids: int) -> int:
    """The id of a token; of a word that is one with a space before it too, that one.

    Raises InputError for what is no single token.
    """
    if not isinstance(token, str):
        return _known_id(token, n_ids)
    found = _ids(tokenizer, token)
    if not found:
        raise InputError(_not_one(token))
    return found[-1]


def _known_id(token: int, n_ids: int) -> int:
    if isinstance(token, bool) or not isinstance(token, int | np.integer):
        raise InputError(
            f"A token is a text or an id; received {type(token).__name__}."
            "\n\nHint: token='Mary', or an id of the tokenizer."
        )
    if token not in range(n_ids):
        raise InputError(
            f"Ids run from 0 to {n_ids - 1:,}; received {token}."
            "\n\nHint: pass an id of this model's own tokenizer."
        )
    return int(token)


def _classes(model: PreTrainedModel, name: str) -> list[int]:
    return [int(at) for at, known in (model.config.id2label or {}).items() if known == name]


def _ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of one token that stand for this text, with and without a space before it."""
    special = tokenizer.get_vocab().get(text)
    found = [] if special is None else [special]
    for written in (text, f" {text}", text.replace("␣", " ")):
        ids = tokenizer(written, add_special_tokens=False)["input_ids"]
        if len(ids) == 1 and ids[0] != tokenizer.unk_token_id:
            found += ids
    return list(dict.fromkeys(found))


def _none(question: Question, model: PreTrainedModel, token: str) -> str:
    if question.what in CLASSES:
        names = ", ".join(map(str, (model.config.id2label or {}).values()))
        return f"There is no class {quoted(token)}.\n\nHint: the classes are {names}."
    return _not_one(token)


def _not_one(token: str) -> str:
    return (
        f"{quoted(token)} is not one token of this model's vocabulary."
        "\n\nHint: give a shorter word, a piece of it, or an id."
    )
