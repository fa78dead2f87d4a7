"""A head's arrays in other programs' formats: pandas, NumPy and Arrow alone find every number."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

import attnviz
from attnviz.attention.masks import REASONS
from attnviz.export import data
from attnviz.text.characters import shown
from tests.support import hand_made, tiny_models

RUN = ("=1+1", "+a", "-a", "@SUM(A1)", " =1", "＝1", "\t=1", "'", "'=1")  # by some spreadsheet
HOSTILE = (*RUN, '"', ",", "a\tb", "NaN", "null", "", "日本", "a;b", "␣=1", "a=1", "a'")
COLUMNS = [
    *("step", "number", "row_axis", "row", "row_token"),
    *("column_axis", "column", "column_token", "value", "hidden"),
]


def from_csv(head):
    file = io.BytesIO(data.to_csv(head))
    numbers = {"value": np.float32, "row": int, "column": int}
    table = pd.read_csv(file, keep_default_na=False, na_values={"value": [""]}, dtype=numbers)
    texts = [name for name in table if name not in numbers]
    return table.assign(**{name: table[name].astype(str).str.removeprefix("'") for name in texts})


def from_parquet(head):
    return pyarrow.parquet.read_table(io.BytesIO(data.to_parquet(head))).to_pandas()


READERS = {"csv": from_csv, "parquet": from_parquet, "table": data.table}


def assert_complete(head, table):
    """Every number of every step is there, where it belongs, and nothing else."""
    assert list(table) == COLUMNS
    tokens = {"query_pos": head.query_tokens, "key_pos": head.key_tokens}
    n_rows = 0
    for step in head.steps:
        rows = table[table["step"] == step.name]
        n_rows += len(rows)
        assert rows["value"].dtype == np.float32
        hidden = np.zeros(step.array.shape, bool) if step.is_hidden is None else step.is_hidden
        expected = np.where(hidden, np.nan, step.array)
        np.testing.assert_array_equal(rows["value"].to_numpy().reshape(expected.shape), expected)
        places = np.indices(step.array.shape).reshape(2, -1)
        np.testing.assert_array_equal(rows[["row", "column"]].to_numpy().T, places)
        assert set(rows["number"]) == {step.number}
        for side, axis, at in zip(("row", "column"), step.axes, places, strict=True):
            assert set(rows[f"{side}_axis"]) == {axis}
            labels = tokens.get(axis)
            names = ["" if labels is None else labels[place] for place in at]
            assert rows[f"{side}_token"].tolist() == names
        codes = (
            np.zeros(hidden.size, int) if step.is_hidden is None else step.hidden_because.ravel()
        )
        assert rows["hidden"].tolist() == [REASONS.get(int(code), "") for code in codes]
    if head.sink_logits is not None:
        for name in ("sink", "sink_logits"):
            rows = table[table["step"] == name]
            n_rows += len(rows)
            seen = ~head.is_meaningless
            np.testing.assert_array_equal(rows["value"][seen], getattr(head, name)[seen])
            assert rows["value"][~seen].isna().all()
            assert set(rows["column_axis"]) == {"sink"}
            assert rows["row_token"].tolist() == list(head.query_tokens)
    assert n_rows == len(table)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    "head",
    [
        hand_made.random_head(),
        hand_made.random_head(n_queries=3, n_keys=7, d_value=2),
        hand_made.random_head(causal=True, sink_logit=0.5, softcap=2.0),
        hand_made.random_head(bias=np.full((5, 5), 0.1, np.float32), queries=("a",) * 5),
        hand_made.random_head(sink_logit=0.5, query_is_padding=np.arange(5) < 2),
        hand_made.head([[1], [2]], [[3], [4]], [[1e-45], [3e38]], mask=[[-np.inf] * 2, [0, 0]]),
    ],
)
def test_every_number_is_read_back_as_it_was(head, reader):
    assert_complete(head, reader(head))


@pytest.mark.parametrize("family", ["bert", "gpt_oss", "gemma2", "t5", "modernbert"])
def test_so_is_every_number_of_a_model(family):
    model = tiny_models.build(family)
    trace = attnviz.trace_inputs(model, tiny_models.padded_inputs(model))
    for kind in trace.kinds:
        head = trace.head(trace.layers(kind)[-1], 1, kind)
        for reader in READERS.values():
            assert_complete(head, reader(head))
        changed = attnviz.what_if(head, hidden_keys=[3], temperature=2)
        assert_complete(changed, from_csv(changed))


def test_tokens_that_mean_something_to_a_reader_stay_as_they_are():
    head = hand_made.random_head(
        n_queries=len(HOSTILE), n_keys=2, queries=HOSTILE, keys=HOSTILE[:2]
    )
    head = head.replaced(x_query=None, x_key=None)
    named = tuple(map(shown, HOSTILE))
    table = from_csv(head)
    weights = table[(table["step"] == "weights") & (table["column"] == 0)]
    assert tuple(weights["row_token"]) == named
    assert set(table[table["step"] == "weights"]["column_token"]) == set(HOSTILE[:2])
    lines = list(csv.reader(io.StringIO(data.to_csv(head).decode())))
    assert {line[4].removeprefix("'") for line in lines[1:]} == set(named)
    assert {len(line) for line in lines} == {len(COLUMNS)}


@pytest.mark.parametrize("text", RUN)
def test_no_cell_of_a_csv_is_run_and_each_is_read_back(text):
    labels = (text, *"abcd")
    of_pairs = pd.DataFrame({"token": labels, "weight": -0.5})
    tables = {
        "row_token": data.to_csv(hand_made.random_head(queries=labels)),
        "token": data.written_table(".csv", of_pairs),
        "category": data.written_table(".csv", of_pairs.astype({"token": "category"})),
    }
    for name, content in tables.items():
        cells = [cell for line in csv.reader(io.StringIO(content.decode())) for cell in line]
        assert all(cell.strip()[:1] not in tuple("=+-@＝") or _is_number(cell) for cell in cells)
        assert "-0.5" in cells or name == "row_token"
        back = pd.read_csv(io.BytesIO(content), keep_default_na=False, dtype=str)
        first = back[name.replace("category", "token")].str.removeprefix("'").iloc[0]
        assert first == (shown(text) if name == "row_token" else text)


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return not cell.startswith("+")


def test_a_token_that_is_half_of_a_character_is_named():
    head = hand_made.random_head(queries=("\ud800", *"abcd"))
    assert from_csv(head)["row_token"].iloc[0] == "<U+D800>"


def test_the_table_says_which_step_a_value_is_of_in_a_few_bytes():
    table = data.table(hand_made.random_head())
    for name in set(COLUMNS) - {"row", "column", "value"}:
        assert isinstance(table[name].dtype, pd.CategoricalDtype), name


# What is known


def test_what_is_known_is_all_there_and_is_strict_json(sentence_trace):
    head = sentence_trace.head(0, 8)
    about = data.about(sentence_trace, head, text="time flies </script>", pair=None)
    known = json.loads(data.to_json(about), parse_constant=pytest.fail)
    assert known == about
    assert known["attnviz"] == attnviz.__version__
    assert known["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert known["revision"] == sentence_trace.revision
    assert known["text"] == "time flies </script>"
    assert "pair" not in known
    assert known["kinds"] == ["self"]
    assert known["layers"] == {"self": [{"layer": n, "heads": 12} for n in range(6)]}
    assert known["tokens"] == list(sentence_trace.tokens)
    assert known["special"] == [True, *[False] * 5, True]
    assert known["segments"] == [None, *[0] * 5, None]
    assert known["padding"] == [False] * 7
    assert "target_tokens" not in known
    of_head = known["head"]
    assert (of_head["layer"], of_head["head"], of_head["d_head"], of_head["d_model"]) == (
        0,
        8,
        32,
        384,
    )
    assert of_head["scaling"] == head.scaling
    assert of_head["max_error"] == head.max_error
    assert of_head["is_exact"] is True
    assert of_head["tolerance"] == head.tolerance
    assert of_head["steps"] == [step.name for step in head.steps]


def test_both_texts_of_an_encoder_decoder_are_there():
    model = tiny_models.build("bart")
    ids = {"input_ids": tiny_models.random_ids(), "decoder_input_ids": tiny_models.random_ids(5)}
    trace = attnviz.trace_inputs(model, ids)
    about = data.about(trace, trace.head(0, 1, "cross"), target="Ziel")
    assert about["kinds"] == ["encoder", "decoder", "cross"]
    assert [layer["heads"] for layer in about["layers"]["cross"]] == [2, 2]
    assert (len(about["tokens"]), len(about["target_tokens"])) == (9, 5)
    assert about["target"] == "Ziel"
    assert (about["head"]["queries"], about["head"]["keys"]) == (5, 9)


def test_of_a_replay_that_was_not_compared_nothing_is_said_to_be_exact(sentence_trace):
    head = sentence_trace.head(0, 8)
    less = attnviz.filters.hide_special(sentence_trace).head(0, 8)
    for one in (attnviz.what_if(head, scaling=1), less):
        known = data.about(sentence_trace, one)["head"]
        assert known["max_error"] is known["is_exact"] is known["tolerance"] is None
        assert known["is_changed"] or known["is_filtered"]
    nan = head.replaced(own_weights=np.full_like(head.own_weights, np.nan))
    known = data.about(sentence_trace, nan)
    assert known["head"]["max_error"] is None
    assert known["head"]["is_exact"] is False
    assert json.loads(data.to_json(known), parse_constant=pytest.fail) == known


def test_json_holds_any_characters(sentence_trace):
    text = 'a"\\\n\u2028日本😀\ud800'
    about = data.about(sentence_trace, sentence_trace.head(0, 0), text=text)
    written = data.to_json(about)
    assert json.loads(written)["text"] == text
    assert "日本😀" in written.decode()


def test_npz_is_what_the_head_itself_writes(sentence_trace):
    head = sentence_trace.head(0, 8)
    about = data.about(sentence_trace, head)
    file = io.BytesIO()
    head.to_npz(file, about)
    assert data.to_npz(head, about) == file.getvalue()


# The weights as a table


def weights_from_csv(head):
    header, *rows = csv.reader(io.StringIO(data.weights_to_csv(head).decode()))
    return header, rows


@pytest.mark.parametrize("is_causal", [False, True])
def test_the_weights_are_a_table_with_a_row_a_query(is_causal):
    names = ["a", "b", "a", "c"]
    given = {"queries": names, "keys": names, "sink_logit": 1.0}
    head = hand_made.random_head(4, 4, causal=is_causal, **given)
    header, rows = weights_from_csv(head)
    assert header[0] == "query token"
    assert header[1:] == ["0 a", "1 b", "2 a", "3 c", "sink"]
    assert [row[0] for row in rows] == header[1:-1]
    numbers = np.float32([[value or np.nan for value in row[1:]] for row in rows])
    expected = np.where(head.is_masked, np.nan, head.weights)
    np.testing.assert_array_equal(numbers[:, :-1], expected)
    np.testing.assert_array_equal(numbers[:, -1], head.sink)


def test_no_spreadsheet_runs_a_name_of_that_table():
    head = hand_made.random_head(len(RUN), len(RUN), queries=RUN, keys=RUN)
    header, rows = weights_from_csv(head)
    for name in (*header, *(row[0] for row in rows)):
        assert name.lstrip()[:1] not in {*"=+-@＝"}
