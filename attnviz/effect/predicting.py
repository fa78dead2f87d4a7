"""What a model says: its first choices at a position, with its own probabilities."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from attnviz.effect.answers import Question, asked, log_probabilities
from attnviz.effect.tokens import labels


def prediction(
    model: Any,
    tokenizer: Any,
    text: str,
    position: int | None = None,
    top: int = 10,
    *,
    pair: str | None = None,
    target: str | None = None,
) -> pd.DataFrame:
    """The `top` likeliest tokens, or classes: token, id, logit, probability; strongest first.

    Logits are those that the model's forward returns, after a soft-cap and a scale where it has
    them, and probabilities are their softmax over the whole vocabulary. `position` is the query
    whose output answers; None is the last token of a decoder, the masked token of a masked model,
    and the first of a decoder's target. `attrs` names what is said, and the position.

    Raises InputError where the model says nothing of tokens or classes, or not at this position.
    """
    seen, question = asked(model, tokenizer, text, position, pair, target)
    logits = question.logits(seen, seen.outputs)
    table = first_choices(question, seen.model, tokenizer, logits[0], top)
    table.attrs = {"what": question.what, "position": question.position}
    return table


def first_choices(
    question: Question, model: Any, tokenizer: Any, logits: torch.Tensor, top: int
) -> pd.DataFrame:
    """The likeliest, by one row of logits."""
    probabilities = log_probabilities(question, model, logits).exp()
    order = logits.argsort(descending=True)[:top]
    ids = order.tolist()
    return pd.DataFrame(
        {
            "token": labels(question, model, tokenizer, ids),
            "id": ids,
            "logit": np.asarray(logits[order].float().cpu()),
            "probability": np.asarray(probabilities[order].cpu()),
        }
    )
