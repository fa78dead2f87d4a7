"""How closely a head's replay agrees with what the model itself computed, in words."""

from attnviz.attention.explained.shares import head_norms
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.text.phrases import bound, escaped, ordinal, token_at

NOT_EXACT = (
    "The weights and the update shown are the model's own. The steps before them are recomputed "
    "and do not lead to these values."
)


def check_line(head: HeadTrace) -> str:
    """How closely the replay agrees with what the model itself computed, as measured."""
    if not head.is_compared:
        return "Computed from the given arrays; there is no model to compare with."
    if head.is_filtered:
        return "The weights are the model's own, filtered; they are not recomputed."
    if head.compared_with == "weights":
        return _of_weights(head)
    if head.is_exact:
        relative = " of its largest value" if head.updated_error else ""
        return (
            f"Recomputed weights match the model's own {bound(head.weights_error)}, and the "
            f"update {bound(head.updated_error)}{relative}."
        )
    return (
        f"Recomputed weights differ from the model's own by up to {head.weights_error:.0e}, and "
        f"the update by {head.updated_error:.0e} of its largest value: more than the "
        f"{head.tolerance:.0e} that counts as exact in {head.dtype}."
    )


def _of_weights(head: HeadTrace) -> str:
    """The same where the model's weights were given and its update was not."""
    given = "the weights given with the arrays"
    if head.is_exact:
        return f"Recomputed weights match {given} {bound(head.weights_error)}."
    return (
        f"Recomputed weights differ from {given} by up to {head.weights_error:.0e}: more than the "
        f"{head.tolerance:.0e} that counts as exact in {head.dtype}."
    )


def not_shown(trace: Trace) -> str:
    """Which modules of a model have no matrix of weights, as Markdown; empty where all have one."""
    if not trace.not_shown:
        return ""
    return (
        f"Not shown: {escaped(', '.join(trace.not_shown))}. Attention is sparse there, or "
        "computed in a way that attnviz cannot read."
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
        f"The norm of its share for {token_at(head.query_tokens, query)} ranks {ordinal(place)} of "
        f"the {len(norms)} heads of this layer."
    )
    if not (head.is_exact and error <= head.tolerance):
        return (
            f"{rank} The shares of all heads{bias} do not add up to the attention module's own "
            f"output: they are off by {max(error, head.updated_error):.0e} of its largest value."
        )
    return (
        f"{rank} The shares of all heads{bias} add up to the attention module's own output, before "
        f"the residual, {bound(error)}{relative}."
    )
