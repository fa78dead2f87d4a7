"""The numbers of a grid of all heads, layers × heads, as its drawing is given them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

LETTER = 7  # px, of a row's name

Row = tuple[str, int]  # kind and layer


def row_names(rows: Sequence[Row]) -> list[str]:
    """What each row is called: by its kind too, where there are several."""
    is_of_many = len({kind for kind, _ in rows}) > 1
    return [f"{kind} {layer}" if is_of_many else f"layer {layer}" for kind, layer in rows]


def room_for_names(rows: Sequence[Row]) -> int:
    """The width of the rows' names, in px."""
    return 16 + LETTER * max(map(len, row_names(rows)))


def numbers_of(
    heads: pd.DataFrame,
    rows: Sequence[Row],
    columns: Sequence[str],
    framed: tuple[str | None, int | None, int | None],
) -> dict[str, Any]:
    """The place and the columns of every head, None what is not finite, and which is framed.

    That is the first with this kind (None: any), layer and head; −1 where there is none.
    """
    kind, layer, head = framed
    is_framed = (heads["layer"] == layer) & (heads["head"] == head)
    if kind is not None:
        is_framed &= heads["kind"] == kind
    places = np.flatnonzero(is_framed)
    return {
        "row_names": row_names(rows),
        "row_kinds": [of for of, _ in rows],
        "framed": int(places[0]) if len(places) else -1,
        "tile_row": [rows.index(at) for at in zip(heads["kind"], heads["layer"], strict=True)],
        **{
            f"tile_{name}": [one if np.isfinite(one) else None for one in heads[name].tolist()]
            for name in ("layer", "head", *columns)
        },
    }
