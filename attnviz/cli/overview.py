"""Find and Compare in a terminal: what is found, and the strongest rows of its table."""

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from attnviz.attention.trace import Trace
from attnviz.charts.find import takeaway
from attnviz.cli.summary import wrapped
from attnviz.export.captions import caption
from attnviz.export.effect_words import found
from attnviz.export.screen import NOTHING_MORE, More, Screen, heads_compared, tabulated
from attnviz.heads.comparing import where_largest
from attnviz.heads.definitions import MEASURES
from attnviz.text.phrases import plain

MOST_ROWS = 10


@dataclass(frozen=True, eq=False)
class Overview:
    """What is said about a screen whose numbers are a table."""

    screen: Screen
    trace: Trace
    more: More = NOTHING_MORE

    def __str__(self) -> str:
        """As lines for people: the first rows of the table, the largest first."""
        table = tabulated(self.screen, self.trace, self.more)
        parts = [caption(self.screen, self.trace), self._found(table)]
        rows, shown = self._first(table), MOST_ROWS
        printed = rows.head(shown).to_string(index=False, float_format="{:.4f}".format, na_rep="")
        left = len(rows) - shown
        lines = [*("\n".join(wrapped(part)) for part in parts if part), printed]
        return "\n\n".join([*lines, *([f"… {left} more rows"] if left > 0 else [])])

    def to_json(self) -> str:
        """The whole table as a JSON document; null for what is not known."""
        from attnviz.export import data  # pyarrow, which no picture needs

        table = tabulated(self.screen, self.trace, self.more)
        document: dict[str, Any] = {
            "model": self.trace.model_name,
            "revision": self.trace.revision,
            "about": caption(self.screen, self.trace),
            "rows": data.rows(table),
        }
        if self.screen.view == "effect":
            document |= {"answer": dict(table.attrs)}
        return json.dumps(document, indent=2, allow_nan=False)

    def _found(self, table: pd.DataFrame) -> str:
        if self.screen.view == "compare":
            of = heads_compared(self.screen, self.trace, self.more)
            return plain(where_largest(of.difference))
        if self.screen.view == "effect":
            return "\n".join(map(plain, found(self.screen, self.trace, self.more)))
        return takeaway(table) if self.screen.find.by == "pair" else ""

    def _first(self, table: pd.DataFrame) -> pd.DataFrame:
        """What fits a terminal, what matters most first."""
        find = self.screen.find
        if self.screen.view == "compare":
            tokens = [name for name in map(str, table) if name.endswith("_token")]
            order = table["difference"].abs().sort_values(ascending=False, kind="stable").index
            return table.loc[order, [*tokens, "weight_a", "weight_b", "difference"]]
        if self.screen.view == "effect":
            if not self.screen.effect.all_heads:
                return table
            order = table["change"].abs().sort_values(ascending=False, kind="stable").index
            return table.loc[order]
        if find.by == "pair":
            return table
        known = {measure.name for measure in MEASURES}
        chosen = dict.fromkeys(n for n in (find.x, find.y, find.colour, find.size) if n in known)
        return table.sort_values(find.x, ascending=False)[["kind", "layer", "head", *chosen]]
