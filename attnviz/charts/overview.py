"""The whole head at a glance: the sentence with its weights, above every step's matrix, small.

What a click chooses is reported by two selections: CHOSEN, a token by its `position` and `side`,
and OPENED, a step by the `panel` that shows it, from the left.
"""

from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from attnviz.attention.head import HeadTrace
from attnviz.charts.overview_layers import Shape, layers
from attnviz.charts.overview_layout import (
    MOST_CHIPS,
    TOTAL,
    Chips,
    Panel,
    chips_of,
    height_of,
    panels_of,
    short,
    steps_shown,
)
from attnviz.charts.parts.figure import MAX_STRUCTURES, MOST_CELLS_IN_SVG, Figure, structure_of
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.pair import pair_of
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.values import nested
from attnviz.text.phrases import percent, plain, token_at


def overview(
    head: HeadTrace,
    query: int | None = None,
    key: int | None = None,
    *,
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """One head on one line: the text as the query weighs it, and all its steps' matrices.

    Each key stands on the colour of its weight, with the weight as a percentage below; the query
    is framed. Of a long text the tokens with the largest weights are shown. Below, each matrix
    that this head computes, with the row of the query and the row or column of the key framed,
    and what leads from one to the next. Every matrix has a scale of its own; a large one is drawn
    in blocks. `query` is by default the last token, `key` the one with its largest weight.
    `display_mode` is "light" (default) or "dark". Raises InputError for a position that the text
    does not have.
    """
    pair = pair_of(head, query, key)
    query = len(head.query_tokens) - 1 if pair.query is None else pair.query
    key = int(np.argmax(head.weights[query])) if pair.key is None else pair.key
    chart = overview_chart(head, query, key).chart().properties(width=TOTAL)
    shown: alt.LayerChart = displayed(chart, display_mode or "light")
    return shown


def overview_chart(
    head: HeadTrace,
    query: int,
    key: int,
    *,
    opened: str | None = None,
    reports_clicks: bool = False,
    has_matrices: bool = True,
    enlarged: float = 1.0,
) -> Figure:
    """The same as a figure of the page; the panels of the step with the number `opened` stand out.

    Without its matrices it is the sentence alone, which may be `enlarged` so many times, where it
    has so many times the layout's width.
    """
    chips = chips_of(head, query, key)
    panels = panels_of(head) if has_matrices else []
    blocks = [panel.blocks for panel in panels]
    n_cells = sum(block.values.size for block in blocks)
    has_hidden = any(bool(block.is_hidden.any()) for block in blocks)
    shape = Shape(
        has_two_rows=chips.has_two_rows,
        n_panels=len(panels),
        height=round(height_of(chips, bool(panels)) * enlarged),
        has_hidden=has_hidden,
        reports_clicks=reports_clicks,
    )
    constants = {
        "enlarged": enlarged,
        **_of_chips(head, chips, query, key),
        **(_of_panels(panels, opened) if panels else {}),
    }
    return Figure(
        _structure(shape),
        constants,
        takeaway(head, query, key),
        n_marks=n_cells,
        most_in_svg=MOST_CELLS_IN_SVG,
        is_rounded=True,
        width=TOTAL,
    )


def takeaway(head: HeadTrace, query: int, key: int) -> str:
    """What it shows, for those who do not see it."""
    names = token_at(head.query_tokens, query), token_at(head.key_tokens, key)
    weight = percent(float(head.weights[query, key]))
    return plain(f"Layer {head.layer}, head {head.head}: {names[0]} gives {names[1]} {weight}.")


def numbers_of_panels(head: HeadTrace) -> list[str]:
    """The number of the step that each panel shows, from left to right."""
    return [step.number for step in steps_shown(head)]


@lru_cache(MAX_STRUCTURES)
def _structure(shape: Shape) -> dict[str, Any]:
    chart = alt.LayerChart(layer=layers(shape)).properties(height=shape.height)
    return structure_of(chart.resolve_scale(color="independent"))


def _of_chips(head: HeadTrace, chips: Chips, query: int, key: int) -> dict[str, Any]:
    is_hidden = head.hiding.codes[np.ix_(chips.queries, chips.keys)] > 0
    weights = head.weights[np.ix_(chips.queries, chips.keys)].astype(np.float64)
    weights[is_hidden] = np.nan
    others = 1 - np.nansum(weights, axis=1)
    if head.sink_logits is not None:
        others -= head.sink[list(chips.queries)]
    columns = [weights]
    if chips.has_sink:
        columns.append(head.sink[list(chips.queries)][:, None])
    if chips.n_others:
        columns.append(np.maximum(others, 0)[:, None])
    given = np.concatenate(columns, axis=1).astype(np.float32)
    # Which tokens are shown of a long text changes with the pair. Places without a token keep
    # everything else where it is, so that the browser takes new numbers into its drawing.
    n_more = MOST_CHIPS - given.shape[1] if chips.n_others else 0
    n_less = MOST_CHIPS - len(given) if len(given) < len(head.query_tokens) else 0
    given = np.pad(given, ((0, n_less), (0, n_more)), constant_values=np.nan)
    n_queries = len(chips.queries) if chips.has_two_rows else 0

    def padded(values: list[Any]) -> list[Any]:
        upper = [*values[:n_queries], *[None] * (n_less if chips.has_two_rows else 0)]
        return [*upper, *values[n_queries:], *[None] * n_more]

    return {
        "query_names": [short(name) for name in head.query_tokens] if chips.has_two_rows else [],
        "key_names": [short(name) for name in head.key_tokens],
        "chip_left": padded(chips.left),
        "chip_right": padded(chips.right),
        "chip_position": padded(chips.positions),
        "given": [value for row in nested(given) for value in row],
        "n_others": chips.n_others,
        "n_query_chips": len(given) if chips.has_two_rows else 0,
        "query_at": chips.queries.index(query),
        "query_position": query,
        "key_position": key,
    }


def _of_panels(panels: list[Panel], opened: str | None) -> dict[str, Any]:
    limits = [panel.end.limit for panel in panels]
    cells = [
        value
        for panel, limit in zip(panels, limits, strict=True)
        for row in nested(np.clip(panel.blocks.values / np.float32(limit), -1, 1))
        for value in row
    ]
    sizes = [panel.blocks.values.size for panel in panels]
    return {
        "cells": cells,
        "panel_first": [sum(sizes[:place]) for place in range(len(sizes))],
        "panel_rows": [panel.blocks.values.shape[0] for panel in panels],
        "panel_columns": [panel.blocks.values.shape[1] for panel in panels],
        "panel_left": [panel.left for panel in panels],
        "panel_right": [panel.right for panel in panels],
        "panel_title": [panel.title for panel in panels],
        "panel_step": [panel.step.title for panel in panels],
        "panel_note": [f"; {panel.blocks.note}" if panel.blocks.note else "" for panel in panels],
        "panel_limit": limits,
        "panel_cut": [int(panel.end.is_cut) for panel in panels],
        "panel_size": [" × ".join(map(str, panel.step.array.shape)) for panel in panels],
        "panel_operator": [panel.operator for panel in panels],
        "panel_gap": [panel.gap for panel in panels],
        "panel_is_weights": [int(panel.step.name == "weights") for panel in panels],
        "panel_is_open": [int(panel.step.number == opened) for panel in panels],
        # How many of the text's rows and columns a drawn one stands for; 0 where it has none of
        # the query's or the key's.
        "query_rows": [panel.per("query_pos", 0) for panel in panels],
        "key_rows": [panel.per("key_pos", 0) for panel in panels],
        "key_columns": [panel.per("key_pos", 1) for panel in panels],
    }
