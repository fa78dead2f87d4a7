"""The numbers behind a picture, as tables."""

from typing import Any

import numpy as np
import pandas as pd

from attnviz.attention.call import LayerTrace
from attnviz.attention.explained.shares import value_shares
from attnviz.attention.head import HeadTrace
from attnviz.attention.steps import Step
from attnviz.charts.parts.axes import axis_titles, labels_of
from attnviz.charts.parts.sink import LABEL, SINK_ROW


def step_table(head: HeadTrace, step: Step) -> pd.DataFrame:
    """A step's matrix, every value of it; a hidden one is empty."""
    values = step.array
    if step.is_hidden is not None:
        values = np.where(step.is_hidden, np.nan, values)
    rows, columns = (
        labels_of(head, axis, n) for axis, n in zip(step.axes, step.array.shape, strict=True)
    )
    is_named = step.axes[1] in ("query_pos", "key_pos")
    names = [f"{place} {name}" if is_named else name for place, name in enumerate(columns)]
    table = pd.DataFrame(values, columns=names)
    row_names = [f"{place} {name}" for place, name in enumerate(rows)]
    if step.sink is not None and step.axes[1] == "key_pos":
        table[LABEL] = step.sink
    elif step.sink is not None:
        table.loc[len(table)] = step.sink
        row_names.append(LABEL)
    table.insert(0, axis_titles(step)[0], row_names)
    return table


def query_table(head: HeadTrace, query: int) -> pd.DataFrame:
    """The numbers of one query, a row a key; before the softmax a hidden one is empty."""
    columns: dict[str, Any] = {"key token": head.key_tokens}
    if not head.is_of_words:
        columns |= {
            "q · k": head.scores[query],
            "scaled": head.scaled[query],
            "before softmax": np.where(head.is_masked[query], np.nan, head.masked[query]),
            "hidden": head.is_masked[query],
        }
    columns["weight"] = head.weights[query]
    if not head.is_of_words:
        shares = value_shares(head, query).sort_values("key")
        columns["‖w · v‖"] = shares["share_norm"].to_numpy()
    table = pd.DataFrame(columns)
    if head.sink_logits is None:
        return table
    of_sink = {"key token": SINK_ROW, "before softmax": head.sink_logits[query], "hidden": False}
    row = pd.DataFrame([of_sink | {"weight": head.sink[query]}])
    return pd.concat([table, row[[name for name in table if name in row]]], ignore_index=True)


def heads_table(call: LayerTrace, query: int) -> pd.DataFrame:
    """What one query gives to each key, a column a head."""
    own_weights = call.own_weights_of(slice(query, query + 1))
    columns = {f"head {head}": weights[0] for head, weights in enumerate(own_weights)}
    table = pd.DataFrame({"key token": call.key_tokens.labels} | columns)
    if call.sinks is not None:
        table.loc[len(table)] = [SINK_ROW, *call.sinks[:, query]]
    return table
