"""A head's arrays as tables, and what is known about them, for other programs to read."""

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from attnviz.attention.head import HeadTrace
from attnviz.attention.masks import REASONS, SEEN
from attnviz.attention.trace import Trace
from attnviz.text import packages
from attnviz.text.characters import shown
from attnviz.text.tokens import Tokens
from attnviz.text.version import VERSION

if TYPE_CHECKING:
    import pyarrow

_REASONS = ["", *(REASONS[code] for code in sorted(REASONS))]  # by their codes


def written(ending: str, trace: Trace, head: HeadTrace, **texts: Any) -> bytes:
    """A head as ".npz", ".csv", ".parquet" or ".json", by this ending; `texts` as in `about`."""
    if ending == ".csv":
        return to_csv(head)
    if ending == ".parquet":
        return to_parquet(head)
    said = about(trace, head, **texts)
    return to_json(said) if ending == ".json" else to_npz(head, said)


def written_table(ending: str, numbers: pd.DataFrame) -> bytes:
    """A table as ".csv", ".parquet" or ".json", by this ending; in JSON as `rows`.

    In CSV text has an apostrophe before it where `to_csv` has one.
    """
    if ending == ".json":
        return to_json(rows(numbers))
    pa = _arrow()
    out, columns = io.BytesIO(), pa.Table.from_pandas(numbers, preserve_index=False)
    if ending == ".csv":
        pa.csv.write_csv(_not_run(columns), out)
    else:
        pa.parquet.write_table(columns, out, compression="zstd")
    return out.getvalue()


def rows(numbers: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as plain values, with all their digits; None for what is not known."""
    known = numbers.astype(object).where(numbers.notna(), None)
    return [dict(zip(known.columns, row, strict=True)) for row in known.to_numpy().tolist()]


def table(head: HeadTrace) -> pd.DataFrame:
    """Every array of the head's steps, one row a value.

    `step` and `number` (its place: "2", "3a") name the step; `row_axis`, `row` (from 0) and
    `row_token`, `column_axis`, `column` and `column_token` say where the value stands, the tokens
    empty where an axis has none; `value` is float32. Where a mask hides a cell, or it has no
    meaning, `value` is NaN and `hidden` says why; elsewhere that is empty. The steps `sink_logits`
    and `sink` have a single column, for a key that is no token.
    """
    written: pd.DataFrame = _table(head).to_pandas()
    return written


def to_csv(head: HeadTrace) -> bytes:
    """The `table` as CSV in UTF-8; numbers have all their digits, and hidden cells are empty.

    A token may be "=1+1", which a spreadsheet would run. Text that begins so, or with + - @ or an
    apostrophe, has an apostrophe before it here: `column.str.removeprefix("'")` takes it away from
    every column of text. A token may be "NA", too: let pandas read it with
    `keep_default_na=False`.
    """
    pa, written = _arrow(), io.BytesIO()
    pa.csv.write_csv(_not_run(_table(head)), written)
    return written.getvalue()


def weights_to_csv(head: HeadTrace) -> bytes:
    """The weights as CSV in UTF-8: a header of key tokens, and a row for each query token.

    Names have their positions, for a token may be there twice; the sink, where there is one, has
    the last column. Text is guarded as in `to_csv`; a hidden weight is empty.
    """
    pa = _arrow()
    [weights] = (step for step in head.steps if step.name == "weights")
    names = [f"{place} {shown(label)}" for place, label in enumerate(head.key_tokens)]
    hidden = weights.is_hidden
    columns = {
        name: pa.array(weights.array[:, place], mask=None if hidden is None else hidden[:, place])
        for place, name in enumerate(names)
    }
    if weights.sink is not None:
        columns["sink"] = pa.array(weights.sink)
    rows = [f"{place} {shown(label)}" for place, label in enumerate(head.query_tokens)]
    written = io.BytesIO()
    pa.csv.write_csv(_not_run(pa.table({"query token": rows} | columns)), written)
    return written.getvalue()


def to_parquet(head: HeadTrace) -> bytes:
    """The `table` as Parquet; values of hidden cells are missing."""
    pa, written = _arrow(), io.BytesIO()
    pa.parquet.write_table(_table(head), written, compression="zstd")
    return written.getvalue()


def to_npz(head: HeadTrace, about: Mapping[str, Any] | None = None) -> bytes:
    """The head as NPZ, as `HeadTrace.to_npz` writes it."""
    written = io.BytesIO()
    head.to_npz(written, about)
    return written.getvalue()


def about(trace: Trace, head: HeadTrace, **more: Any) -> dict[str, Any]:
    """What is known about a trace and one of its heads, without their arrays, as plain values.

    `more` is added where it is not None: text, pair, target. How exact a replay is, is None where
    it was not compared: of filtered and changed heads, and without a model.
    """
    target = {} if trace.target is None else _tokens(trace.target, "target_")
    return {
        "attnviz": VERSION,
        "model": trace.model_name,
        "revision": trace.revision,
        "dtype": trace.dtype,
        "kinds": list(trace.kinds),
        "layers": {kind: _layers(trace, kind) for kind in trace.kinds},
        "not_shown": list(trace.not_shown),
        **_tokens(trace.source),
        **target,
        "target_is_decoded": trace.target_is_decoded,
        "head": _head(head),
        **{name: value for name, value in more.items() if value is not None},
    }


def to_json(about: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> bytes:
    """What `about` says, or `rows`, as JSON in UTF-8."""
    text = json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace")  # half of a pair, as JSON writes it


def _arrow() -> Any:
    """pyarrow with the parts that are used here."""
    with packages.of_extra("data", "A table as a file"):
        import pyarrow
        import pyarrow.compute
        import pyarrow.csv
        import pyarrow.parquet
    return pyarrow


def _table(head: HeadTrace) -> "pyarrow.Table":
    return _arrow().Table.from_batches(_batches(head)).unify_dictionaries()


# What begins a formula, also in full width, and the apostrophe, so that each can be taken away.
_RUN = r"^(\s*['=+\-@\t\r＝＋－＠])"


def _not_run(table: "pyarrow.Table") -> "pyarrow.Table":
    """The table, where an apostrophe keeps spreadsheets from running its text."""
    pa = _arrow()

    def guarded(text: "pyarrow.Array") -> "pyarrow.Array":
        if pa.types.is_dictionary(text.type):
            return pa.DictionaryArray.from_arrays(text.indices, guarded(text.dictionary))
        return pa.compute.replace_substring_regex(text, pattern=_RUN, replacement=r"'\1")

    def is_text(of: "pyarrow.DataType") -> bool:
        of = of.value_type if pa.types.is_dictionary(of) else of
        return bool(pa.types.is_string(of) or pa.types.is_large_string(of))

    for place, field in enumerate(table.schema):
        if is_text(field.type):
            chunks = [guarded(chunk) for chunk in table.column(place).chunks]
            table = table.set_column(place, field.name, pa.chunked_array(chunks, field.type))
    return table


def _batches(head: HeadTrace) -> Iterator["pyarrow.RecordBatch"]:
    for step in head.steps:
        codes = step.hidden_because
        yield _batch(head, step.name, step.number, step.axes, step.array, codes)
        if step.sink is not None:
            name = "sink" if step.name == "weights" else "sink_logits"
            because = np.where(head.is_meaningless, head.hiding.codes[:, 0], SEEN)
            column, axes = step.sink[:, None], ("query_pos", "sink")
            yield _batch(head, name, step.number, axes, column, because[:, None])


def _batch(
    head: HeadTrace,
    name: str,
    number: str,
    axes: tuple[str, str],
    array: np.ndarray,
    codes: np.ndarray | None,
) -> "pyarrow.RecordBatch":
    pa = _arrow()
    n_rows, n_columns = array.shape
    rows = np.repeat(np.arange(n_rows, dtype=np.int32), n_columns)
    columns = np.tile(np.arange(n_columns, dtype=np.int32), n_rows)
    codes = np.zeros(array.shape, np.uint8) if codes is None else codes
    nowhere = np.zeros(array.size, np.int32)

    def tokens(axis: str, places: np.ndarray) -> "pyarrow.Array":
        labels = {"query_pos": head.query_tokens, "key_pos": head.key_tokens}.get(axis)
        if labels is None:
            return _named(nowhere, [""])
        names = [shown(label) for label in labels]
        known = {label: place for place, label in enumerate(dict.fromkeys(names))}
        return _named(np.array([known[label] for label in names], np.int32)[places], list(known))

    return pa.record_batch(
        {
            "step": _named(nowhere, [name]),
            "number": _named(nowhere, [number]),
            "row_axis": _named(nowhere, [axes[0]]),
            "row": rows,
            "row_token": tokens(axes[0], rows),
            "column_axis": _named(nowhere, [axes[1]]),
            "column": columns,
            "column_token": tokens(axes[1], columns),
            "value": pa.array(array.ravel(), mask=codes.ravel() != SEEN),
            "hidden": _named(codes.ravel().astype(np.int32), _REASONS),
        }
    )


def _named(codes: np.ndarray, names: list[str]) -> "pyarrow.Array":
    return _arrow().DictionaryArray.from_arrays(codes, names)


def _layers(trace: Trace, kind: str) -> list[dict[str, int]]:
    return [{"layer": layer, "heads": trace.n_heads(layer, kind)} for layer in trace.layers(kind)]


def _tokens(tokens: Tokens, of: str = "") -> dict[str, list[Any]]:
    return {
        f"{of}tokens": list(tokens.labels),
        f"{of}special": list(tokens.is_special),
        f"{of}segments": [token.segment for token in tokens],
        f"{of}padding": list(tokens.is_padding),
    }


def _head(head: HeadTrace) -> dict[str, Any]:
    was_compared = head.is_compared and not head.is_filtered and not head.is_changed
    x, output = head.x_query, head.output
    return {
        "kind": head.kind,
        "layer": head.layer,
        "head": head.head,
        "key_value_head": head.key_value_head,
        "queries": len(head.query_tokens),
        "keys": len(head.key_tokens),
        "d_head": head.q.shape[1],
        "d_value": head.v.shape[1],
        "d_model": x.shape[1] if x is not None else output.shape[1] if output is not None else None,
        "scaling": float(head.scaling),
        "softcap": head.softcap,
        "temperature": head.temperature,
        "compared_with": head.compared_with,
        "max_error": _finite(head.max_error) if was_compared else None,
        "is_exact": head.is_exact if was_compared else None,
        "tolerance": head.tolerance if was_compared else None,
        "is_filtered": head.is_filtered,
        "is_changed": head.is_changed,
        "notes": list(head.notes),
        "steps": [step.name for step in head.steps],
        "no_output_because": head.no_output_because,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
