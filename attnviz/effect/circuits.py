"""What a head looks for and what it writes, as tokens of the vocabulary: its weights alone."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from attnviz.attention.call import Projection
from attnviz.attention.head import HeadTrace
from attnviz.capture.forward_pass import Observed, observed
from attnviz.capture.inputs import takes_target
from attnviz.capture.traceable import checked
from attnviz.effect.following import Following, Made
from attnviz.effect.linear_way import LinearWay, refused
from attnviz.effect.tokens import id_in_vocabulary, names_of
from attnviz.text.errors import InputError, UnsupportedModelError

# Any text: which module norms what a layer's attention is given is seen in a pass over it.
_TEXT = "a"


def reads(
    model: Any,
    tokenizer: Any,
    layer: int,
    head: int,
    token: str | int,
    top: int = 10,
    *,
    side: Literal["query", "key"] = "query",
    kind: str | None = None,
) -> pd.DataFrame:
    """The `top` tokens that a head looks for when `token` is the query: token, id, score.

    With side="key" the queries that look for `token`. The score is q · k of the two embeddings,
    before scaling, W_E · W_Q · W_Kᵀ · W_Eᵀ: q is (e ⊙ γ) · W_Q + β · W_Q + b_Q, and k likewise,
    where e is the token's row of W_E (less its mean, where the norm is a LayerNorm) and γ and β are
    those of the norm before this attention. It is not divided by the norm's statistics. Left out
    are what makes positions (the score is that at a rotary distance of 0), a norm of q and k,
    whatever scales all embeddings alike, and what earlier layers add. `attrs` names the norm and
    what was left out.

    Raises InputError for a layer, head or token that there is not, and where q or k is no
    projection of the stream of this text.
    """
    seen = _seen(model, tokenizer, kind)
    one = seen.head(layer, head, kind)
    token_id = id_in_vocabulary(token, tokenizer, len(seen.embeddings))
    norm = seen.norm_before(one)
    asks, answers = ("q", "k") if side == "query" else ("k", "q")
    weight, bias = _projection(one, asks)
    vector = norm(seen.embeddings[token_id]) @ weight + norm.shift @ weight + bias
    weight, bias = _projection(one, answers)
    along, constant = weight @ vector, norm.shift @ (weight @ vector) + bias @ vector
    scores = seen.embeddings @ norm.back(along) + constant
    table = _strongest(scores, tokenizer, top)
    left_out = ["positions (rotary distance 0)"]
    if any(one.call.origins[letter].is_normed for letter in "qk"):
        left_out.append("the norm of q and k")
    about = dict(token=names_of(tokenizer, [token_id])[0], id=token_id, side=side, kind=one.kind)
    table.attrs.update(about, layer=layer, head=head, norm=norm.name, left_out=left_out)
    return table


def writes(
    model: Any,
    tokenizer: Any,
    layer: int,
    head: int,
    token: str | int,
    top: int = 10,
    *,
    down: bool = False,
    kind: str | None = None,
) -> pd.DataFrame:
    """The `top` tokens whose logits a head raises most where it reads `token`: token, id, score.

    With down=True those that it lowers most, lowest first. The score is (e ⊙ γ) · W_V · W_O · W_U,
    with e and γ as in `reads`, and without biases. On the way to W_U the gains of the norms behind
    W_O and of the final norm are folded in (centred, where they are LayerNorms), and all scales of
    the stream and of the logits; it is not divided by the norms' statistics, and a soft-cap is left
    out.

    Raises InputError, beside what `reads` raises, where something not linear stands before W_U, or
    the heads have no W_O of their own.
    """
    seen = _seen(model, tokenizer, kind)
    one = seen.head(layer, head, kind)
    token_id = id_in_vocabulary(token, tokenizer, len(seen.embeddings))
    norm = seen.norm_before(one)
    weight, _ = _projection(one, "v")
    scores = seen.to_logits(one, norm(seen.embeddings[token_id]) @ weight)
    table = _strongest(scores, tokenizer, top, down)
    about = dict(token=names_of(tokenizer, [token_id])[0], id=token_id, kind=one.kind)
    table.attrs.update(about, layer=layer, head=head, norm=norm.name)
    return table


@dataclass(frozen=True)
class _Norm:
    """What a norm makes of a vector, but for its statistics."""

    name: str | None  # of its class; None without one
    gain: Tensor  # (d_model,)
    shift: Tensor
    is_centred: bool

    def __call__(self, row: Tensor) -> Tensor:
        return (row - row.mean() if self.is_centred else row) * self.gain

    def back(self, direction: Tensor) -> Tensor:
        """The same, turned: direction · norm(row) = back(direction) · row."""
        turned = direction * self.gain
        return turned - turned.mean() if self.is_centred else turned


@dataclass(frozen=True, eq=False)
class _Seen:
    """One short pass, in which it is seen what stands before and behind a layer's heads."""

    observed: Observed
    following: Following
    embeddings: Tensor  # W_E, (vocabulary, d_model)

    def head(self, layer: int, head: int, kind: str | None) -> HeadTrace:
        one = self.observed.trace.head(layer, head, kind)
        if one.call.x_key is not one.call.x_query:
            raise InputError(
                f"The keys of {one.kind} attention are made of another text's states, not of "
                "embeddings.\n\nHint: choose another kind, or see the head in a text by Steps."
            )
        return one

    def norm_before(self, one: HeadTrace) -> _Norm:
        """The norm whose output this attention was given, measured by running it."""
        x = one.call.x_query
        assert x is not None
        d_model = self.embeddings.shape[1]
        if x.shape[-1] != d_model:
            raise InputError(
                f"Embeddings of {self.observed.trace.model_name} have {d_model} dimensions, and "
                f"what its attention reads has {x.shape[-1]}: one is no row of the other."
                "\n\nHint: see the head in a text by Steps."
            )
        made = self._made(x)
        plain = _Norm(None, torch.ones(d_model), torch.zeros(d_model), False)
        if made is None or not made.modules or list(made.modules[-1].children()):
            return plain
        module = made.modules[-1]
        signs = torch.ones(1, 1, d_model)
        signs[..., 1::2] = -1
        signs *= 1024  # beside which eps is nothing
        parameter = next(module.parameters(), None)
        if parameter is not None:
            signs = signs.to(parameter)
        with torch.no_grad():
            plus, minus, moved = (
                module(one).float().cpu()[0, 0] for one in (signs, -signs, signs + 4096)
            )
        return _Norm(
            name=type(module).__name__,
            gain=(plus - minus) / 2 * signs[0, 0].float().cpu().sign(),
            shift=(plus + minus) / 2,
            is_centred=torch.allclose(plus, moved, atol=1e-3 * float(plus.abs().max())),
        )

    def to_logits(self, one: HeadTrace, value: Tensor) -> Tensor:
        """What W_O and all behind it make of one head's value, (vocabulary,)."""
        projection = one.call.projection
        weights = None if isinstance(projection, str) else projection.weights
        if weights is None:
            raise InputError(
                f"The heads of layer {one.layer} have no W_O of their own: {projection}."
                "\n\nHint: reads shows what they look for."
            )
        assert isinstance(projection, Projection)
        logits = self.observed.outputs.get("logits")
        if logits is None:
            raise refused(f"{type(self.observed.model).__name__} has no head that gives logits")
        query = len(projection.own_output) - 1
        way = LinearWay(self.following, logits, None, query, is_folded=True)
        if way.no_sum_because is not None:
            raise refused(way.no_sum_because)
        own = torch.from_numpy(projection.own_output.copy())
        source = next(
            (
                made
                for made in way.sources
                if made.value is not None
                and made.value.numel() == own.numel()
                and torch.equal(made.value.detach().float().cpu().reshape(own.shape), own)
            ),
            None,
        )
        if source is None:
            raise refused(f"layer {one.layer} adds nothing to the stream that ends at the logits")
        assert source.value is not None
        row = (value @ torch.from_numpy(np.array(weights[one.head]))).to(source.value)
        return way.adds(source, row).float().cpu()

    def _made(self, x: np.ndarray) -> Made | None:
        """How the first tensor with these numbers was made."""
        for tensor, made in self.following.kept or ():
            if tensor.numel() == x.size and tensor.is_floating_point():
                numbers = tensor.detach().as_subclass(Tensor).float().cpu().numpy()
                if np.array_equal(numbers.reshape(x.shape), x):
                    return made
        return None


def _seen(model: Any, tokenizer: Any, kind: str | None) -> _Seen:
    inner, _ = checked(model)
    target = _TEXT if takes_target(inner) else None
    with Following(inner, of_all=True, keeps=True) as following:
        seen = observed(inner, tokenizer, _TEXT, target=target)
    try:
        table = inner.get_input_embeddings().weight
        assert isinstance(table, Tensor)
    except (NotImplementedError, AttributeError):
        raise UnsupportedModelError(
            f"{seen.trace.model_name} has no table of embeddings."
            "\n\nHint: see the head in a text by Steps."
        ) from None
    return _Seen(seen, following, table.detach().float().cpu())


def _projection(one: HeadTrace, letter: str) -> tuple[Tensor, Tensor]:
    """W and b of one head, of the key and value head that it reads."""
    weight, bias = getattr(one, f"w_{letter}"), getattr(one, f"b_{letter}")
    if weight is None:
        raise InputError(
            f"W_{letter.upper()} of layer {one.layer}, head {one.head} is not known: "
            f"{one.no_w_because[letter]}.\n\nHint: see the head in a text by Steps."
        )
    weight = torch.from_numpy(np.array(weight))
    return weight, torch.zeros(weight.shape[1]) if bias is None else torch.from_numpy(bias.copy())


def _strongest(scores: Tensor, tokenizer: Any, top: int, down: bool = False) -> pd.DataFrame:
    best = scores.topk(min(top, len(scores)), largest=not down)
    ids = best.indices.tolist()
    return pd.DataFrame(
        {
            "token": names_of(tokenizer, ids),
            "id": ids,
            "score": best.values.numpy(),
        }
    )
