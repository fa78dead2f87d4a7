"""Whose call it was: its kind, its layer, and the tokens of its queries and keys."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedModel

from attnviz.capture.calls import Call
from attnviz.capture.compat import layer_number
from attnviz.capture.given import CACHE, has_cross_keys
from attnviz.capture.inputs import Inputs, takes_target
from attnviz.capture.stacks import other_stacks, places_in
from attnviz.text.tokens import Tokens, numbered

# Kinds of attention to a text, in which order a model computes them; others stand behind them.
_OF_TEXT = ("encoder", "self", "decoder", "predict", "cross")


def by_kind_and_layer(
    model: PreTrainedModel, calls: list[Call], outputs: Mapping[str, Any], inputs: Inputs
) -> dict[tuple[str, int], Call]:
    """Each call under its kind and layer.

    Stacks beside the text's are kinds of their own. Of the text's, the weights that an attention
    function returned are the very tensors in the model's output, in `encoder_attentions` and its
    like; that tells the kind. Where they are not, the module's place in the model and what it was
    given tell it.
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
    stacks = other_stacks(model)
    of_encoder = set(model.get_encoder().modules() if is_encoder_decoder else ())

    def given_back(call: Call) -> str | None:
        kinds = (kind_of.get(id(weights)) for weights in call.weights_as)
        return next((kind for kind in kinds if kind), None)

    def kind(call: Call) -> str:
        if call.module in stacks and call.module not in of_encoder:
            return stacks[call.module] + (", cross" if call.is_cross else "")
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
    if _holds_more_than_text(inputs):
        for name in (own, "cross"):
            by_kind |= _by_place(model, name, by_kind.pop(name, []), inputs)
    return {
        (name, layer): call
        for name in sorted(by_kind, key=_order)
        for layer, call in zip(_layer_numbers(by_kind[name]), by_kind[name], strict=True)
    }


def _order(kind: str) -> tuple[int, str]:
    base = kind.partition(",")[0]
    return (_OF_TEXT.index(base) if base in _OF_TEXT else len(_OF_TEXT)), kind


def _holds_more_than_text(inputs: Inputs) -> bool:
    """Whether the model reads pictures or sounds as well, which may have layers of their own."""
    return any(name.startswith(_OF_NO_TEXT) for name in inputs.tensors)


_OF_NO_TEXT = ("pixel_", "input_features", "input_values", "visual_", "image_", "audio_")


def _by_place(
    model: PreTrainedModel, kind: str, calls: list[Call], inputs: Inputs
) -> dict[str, list[Call]]:
    """The calls of one kind by their place in the model, where that has several lists of layers.

    The place with more calls on as many positions as the text has than any other is the text's;
    others are called by themselves.
    """
    places = places_in(model)
    by_place: dict[str, list[Call]] = {}
    for call in calls:
        by_place.setdefault(places[call.module], []).append(call)
    if len(by_place) < 2:
        return {kind: calls} if calls else {}
    texts = inputs.source if inputs.target is None else inputs.target
    n = len(texts or ())
    fitting = Counter(places[call.module] for call in calls if call.q.shape[-2] == n)
    most = [*fitting.most_common(2), ("", 0), ("", 0)]
    texts_own = most[0][0] if most[0][1] > most[1][1] else None
    return {kind if place == texts_own else place: by_place[place] for place in by_place}


def _layer_numbers(calls: list[Call]) -> list[int]:
    """The modules' own numbers where they tell the calls apart, else the order of the calls.

    A hybrid model's softmax layers keep their places among all layers; a module that is called
    several times (albert) has one number for all its calls.
    """
    own = (layer_number(call.module) for call in calls)
    numbers = [number for number in own if number is not None]
    tell_apart = len(numbers) == len(calls) and numbers == sorted(set(numbers))
    return numbers if tell_apart else list(range(len(calls)))


def has_cached_keys(kind: str, inputs: Inputs) -> bool:
    """Whether keys of this kind were made in an earlier pass, of what is not there any more."""
    if kind == "cross":
        return has_cross_keys(inputs.tensors.get(CACHE))
    return kind in ("self", "decoder") and bool(inputs.earlier)


def tokens_of(kind: str, call: Call, inputs: Inputs) -> tuple[Tokens, Tokens]:
    """Whose tokens the queries of a call are, and whose the keys.

    Positions that are not those of a text (of a picture, of what a caller passed as encoder
    states, of memory that a model adds) are called by their numbers.
    """
    kind = kind.partition(",")[0]
    n_queries, n_keys = call.q.shape[-2], call.k.shape[-2]
    if kind not in _OF_TEXT:
        return numbered(n_queries), numbered(n_keys)
    is_of_source = inputs.target is None or kind == "encoder"
    queries = (inputs.source if is_of_source else inputs.target) or numbered(n_queries)
    if kind == "cross":
        is_of_no_text = inputs.target is None or has_cached_keys(kind, inputs)
        keys = inputs.source if inputs.source and not is_of_no_text else numbered(n_keys)
    elif kind == "encoder" or CACHE not in inputs.tensors:
        keys = queries
    else:
        keys = _with_earlier(inputs.earlier, queries, n_keys)
    return (
        queries if len(queries) == n_queries else numbered(n_queries),
        keys if len(keys) == n_keys else numbered(n_keys),
    )


def _with_earlier(earlier: Tokens, text: Tokens, n_keys: int) -> Tokens:
    """The keys of a layer with a cache, which may have a window, or room for more than there is."""
    n = len(earlier) + len(text)
    empty = numbered(n_keys).padded([True] * n_keys)[n:]
    return Tokens((*earlier, *text)[max(0, n - n_keys) :] + empty)
