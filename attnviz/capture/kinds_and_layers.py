"""Whose call it was: its kind, its layer, and the tokens of its queries and keys."""

from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from attnviz.capture.calls import Call
from attnviz.capture.compat import layer_number
from attnviz.capture.inputs import Inputs, takes_target
from attnviz.text.tokens import Tokens, numbered

# In which a model computes them.
_ORDER = ("encoder", "self", "decoder", "predict", "cross")


def by_kind_and_layer(
    model: PreTrainedModel, calls: list[Call], outputs: Mapping[str, Any]
) -> dict[tuple[str, int], Call]:
    """Each call under its kind and layer.

    The weights that an attention function returned are the very tensors in the model's output,
    in `encoder_attentions` and its like; that tells the kind. Where they are not, the module's
    place in the model and what it was given tell it.
    """
    is_encoder_decoder = takes_target(model)
    own = "decoder" if is_encoder_decoder else "self"
    fields = {
        "encoder_attentions": "encoder",
        "decoder_attentions": "decoder",
        "attentions": own,
        "cross_attentions": "cross",
        "decoder_ngram_attentions": "predict",  # of prophetnet's streams of future tokens
    }
    kind_of = {
        id(weights): kind
        for name, kind in fields.items()
        for weights in (outputs.get(name) or ())
        if weights is not None
    }
    of_encoder = set(model.get_encoder().modules() if is_encoder_decoder else ())

    def given_back(call: Call) -> str | None:
        kinds = (kind_of.get(id(weights)) for weights in call.weights_as)
        return next((kind for kind in kinds if kind), None)

    def kind(call: Call) -> str:
        kinds = [given_back(other) for other in (call, *call.beside)]
        if kinds[0] is not None:
            return f"{kinds[0]}, stream {call.stream + 1}" if call.stream else kinds[0]
        if any(kinds):  # lilt has an attention over the layout beside that over the text
            return f"{next(filter(None, kinds))}, second"
        if call.is_cross:
            return "cross"
        return "encoder" if call.module in of_encoder else own

    by_kind: dict[str, list[Call]] = {}
    for call in calls:
        by_kind.setdefault(kind(call), []).append(call)
    order = sorted(by_kind, key=lambda name: (_ORDER.index(name.partition(",")[0]), name))
    return {
        (name, layer): call
        for name in order
        for layer, call in zip(_layer_numbers(by_kind[name]), by_kind[name], strict=True)
    }


def _layer_numbers(calls: list[Call]) -> list[int]:
    """The modules' own numbers where they tell the calls apart, else the order of the calls.

    A hybrid model's softmax layers keep their places among all layers; a module that is called
    several times (albert) has one number for all its calls.
    """
    own = (layer_number(call.module) for call in calls)
    numbers = [number for number in own if number is not None]
    tell_apart = len(numbers) == len(calls) and numbers == sorted(set(numbers))
    return numbers if tell_apart else list(range(len(calls)))


def tokens_of(kind: str, call: Call, inputs: Inputs) -> tuple[Tokens, Tokens]:
    """Whose tokens the queries of a call are, and whose the keys.

    Positions that are not those of a text (what a caller passed as encoder states, memory that
    a model adds) are called by their numbers.
    """
    kind = kind.partition(",")[0]
    n_queries, n_keys = call.q.shape[-2], call.k.shape[-2]
    is_of_source = inputs.target is None or kind == "encoder"
    queries = inputs.source if is_of_source else inputs.target
    assert queries is not None
    keys = inputs.source if kind == "cross" else queries
    is_of_no_text = kind == "cross" and inputs.target is None
    return (
        queries if len(queries) == n_queries else numbered(n_queries),
        keys if len(keys) == n_keys and not is_of_no_text else numbered(n_keys),
    )
