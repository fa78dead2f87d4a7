"""How closely a head's replay agrees with what the model itself computed, in words."""

from attnviz.attention.explained.shares import head_norms
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.text.phrases import bound, escaped, ordinal, token_at

NOT_EXACT = (
    "The weights and the update shown are the model's own; the steps before them are replayed and "
    "do not lead there."
)


def check_line(head: HeadTrace) -> str:
    """How closely the replay agrees with what the model itself computed, as measured."""
    if not head.is_compared:
        return "Computed from the arrays that were given; there is no model to compare with."
    if head.is_filtered:
        return "The weights are what filters left of the model's own; they are not replayed."
    if head.compared_with == "weights":
        return _of_weights(head)
    if head.is_exact:
        relative = " of its largest value" if head.updated_error else ""
        return (
            f"Replayed weights equal the model's own {bound(head.weights_error)}, and the "
            f"update {bound(head.updated_error)}{relative}."
        )
    return (
        f"Replayed weights differ from the model's own by up to {head.weights_error:.0e}, and the "
        f"update by {head.updated_error:.0e} of its largest value: more than the "
        f"{head.tolerance:.0e} that counts as exact in {head.dtype}."
    )


def _of_weights(head: HeadTrace) -> str:
    """The same where the model's weights were given and its update was not."""
    given = "the weights that were given with the arrays"
    if head.is_exact:
        return f"Replayed weights equal {given} {bound(head.weights_error)}."
    return (
        f"Replayed weights differ from {given} by up to {head.weights_error:.0e}: more than the "
        f"{head.tolerance:.0e} that counts as exact in {head.dtype}."
    )


def not_shown(trace: Trace) -> str:
    """Which modules of a model have no matrix of weights, as Markdown; empty where all have one."""
    if not trace.not_shown:
        return ""
    return (
        f"Not shown: {escaped(', '.join(trace.not_shown))}, whose attention is sparse, or written "
        "in a way that could not be read."
    )


def check_of_output(trace: Trace, head: HeadTrace, query: int) -> str:
    """How closely all heads' shares add up to the module's own output, and this head's rank."""
    layer = trace.layer(head.layer, head.kind)
    error, norms = layer.output_error, head_norms(layer, query)
    assert error is not None
    assert norms is not None
    place = 1 + int((norms > norms[head.head]).sum())
    has_bias = not isinstance(layer.projection, str) and layer.projection.bias is not None
    bias = " and the projection's bias" if has_bias else ""
    relative = " of its largest value" if error else ""
    rank = (
        f"Of the {len(norms)} heads of this layer its share for "
        f"{token_at(head.query_tokens, query)} is the {ordinal(place)} largest."
    )
    if not (head.is_exact and error <= head.tolerance):
        return (
            f"{rank} All heads' shares{bias} do not equal the attention module's own output: they "
            f"are off by {max(error, head.updated_error):.0e} of its largest value."
        )
    return (
        f"{rank} All heads' shares{bias} equal the attention module's own output, before the "
        f"residual, {bound(error)}{relative}."
    )
