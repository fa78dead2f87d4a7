"""One head as an NPZ file: every number comes back, and a file that is none says so."""

import dataclasses
import functools
import io
import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import strategies as st

import attnviz
from attnviz.attention import head_file, npz
from attnviz.attention.call import Origin
from attnviz.attention.head import HeadTrace
from attnviz.attention.replay import PARTS
from attnviz.text.errors import InputError
from tests.support import hand_made, hostile, tiny_models

STEPS = ("scores", "scaled", "capped", "biased", "masked", "weights", "sink", "updated", "output")


def written(head, about=None):
    file = io.BytesIO()
    head.to_npz(file, about)
    return file.getvalue()


def read(content, **limits):
    return HeadTrace.from_npz(io.BytesIO(content), **limits)


def parts(content):
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


def packed(arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def changed(arrays, **fields):
    """The arrays with something else in their metadata."""
    metadata = json.loads(str(arrays["metadata"])) | fields
    return arrays | {"metadata": np.array(json.dumps(metadata))}


def same(one, other):
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return one == other and type(one) is type(other)


def assert_equal(head, other):
    for name in ("kind", "layer", "head", "dtype", *PARTS):
        assert same(getattr(head, name), getattr(other, name)), name
    for name in (*STEPS, "is_masked", "is_meaningless", "max_error", "is_exact"):
        assert same(getattr(head, name), getattr(other, name)), name
    for step, other_step in zip(head.steps, other.steps, strict=True):
        for field in dataclasses.fields(step):
            ours, theirs = getattr(step, field.name), getattr(other_step, field.name)
            assert same(ours, theirs), (step.name, field.name)


def heads_of(trace):
    for kind in trace.kinds:
        for layer in trace.layers(kind):
            yield trace.head(layer, trace.n_heads(layer, kind) - 1, kind)


def traced(family, dtype="float32"):
    model = tiny_models.build(family, dtype=dtype)
    return attnviz.trace_inputs(model, tiny_models.padded_inputs(model))


# There and back


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", [*tiny_models.CONFIGS, *tiny_models.UNUSUAL])
def test_a_head_of_every_family_is_read_as_it_was_written(family, dtype):
    for head in heads_of(traced(family, dtype)):
        assert_equal(head, read(written(head)))


@pytest.mark.parametrize("family", ["bert", "gemma2", "gpt_oss", "t5"])
def test_a_head_that_was_filtered_or_changed_is_read_as_it_was_written(family):
    trace = traced(family)
    for less in (
        attnviz.filters.hide_tokens(trace, keys=[3], queries=[4]),
        attnviz.filters.hide_tokens(trace, keys=[3], renormalise=True),
        attnviz.filters.in_words(trace),
        attnviz.filters.with_lines(trace, top=2),
    ):
        for head in heads_of(less):
            assert_equal(head, read(written(head)))
            changes = {"temperature": 2, "hidden_keys": [1], "zeroed_dimensions": [0]}
            head = attnviz.what_if(head, **changes)
            assert_equal(head, read(written(head)))


def test_the_models_that_are_tried_have_all_that_a_head_can_have():
    heads = [head for family in tiny_models.CONFIGS for head in heads_of(traced(family))]
    heads += [head for family in tiny_models.UNUSUAL for head in heads_of(traced(family))]
    for name, annotation in PARTS.items():
        if "None" in str(annotation) and name not in ("left_out", "has_line"):
            assert any(getattr(head, name) is not None for head in heads), name


@pytest.mark.parametrize(
    "head",
    [
        hand_made.random_head(),
        hand_made.random_head(n_queries=3, n_keys=7, d_value=2),
        hand_made.random_head(n_queries=1, n_keys=1, d_head=1, d_value=1),
        hand_made.random_head(causal=True, sink_logit=0.5, softcap=2.0),
        hand_made.random_head(bias=np.full((5, 5), 0.25, np.float32), dtype="float16"),
        hand_made.random_head(x_query=None, x_key=None, readers=(0, 1)),
        hand_made.random_head(origins={"q": Origin(has_bias=True, is_normed=False)}),
        hand_made.random_head(kind="decoder, stream 2", notes=("a", "b")),
        hand_made.random_head(compared_with="nothing"),
        hand_made.head([[1, 2]], [[3, 4]], [[5, 6]], mask=[[-np.inf]]),
    ],
)
def test_a_head_made_by_hand_is_read_as_it_was_written(head):
    assert_equal(head, read(written(head)))


def test_a_replay_that_is_not_exact_stays_as_far_from_the_model_as_it_was():
    head = hand_made.random_head(sink_logit=0.1)
    off = head.replaced(own_weights=np.roll(head.own_weights, 1, axis=1))
    again = read(written(off))
    assert_equal(off, again)
    assert not again.is_exact
    assert again.weights_error == off.weights_error > 0
    assert again.updated_error == off.updated_error


@hostile.cases(60, labels=st.lists(hostile.labels(hostile.CHARACTER), min_size=5, max_size=5))
def test_tokens_of_any_characters_come_back(labels):
    labels = tuple(labels)
    head = hand_made.random_head(queries=labels, keys=labels, notes=(labels[0],))
    again = read(written(head, {"text": labels[1]}))
    assert (again.query_tokens, again.key_tokens, again.notes) == (labels, labels, (labels[0],))


def test_a_path_does_as_well_as_a_file(tmp_path):
    head = hand_made.random_head()
    head.to_npz(tmp_path / "head")
    assert_equal(head, HeadTrace.from_npz(str(tmp_path / "head")))
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


# With NumPy alone


def test_numpy_alone_finds_every_step_and_what_the_head_was_given(sentence_trace):
    head = sentence_trace.head(0, 8)
    with np.load(io.BytesIO(written(head, {"text": "a <b>"})), allow_pickle=False) as arrays:
        for step in head.steps:
            np.testing.assert_array_equal(arrays[step.name], step.array)
        for name in ("q", "k", "v", "own_weights", "own_updated", "output_weight"):
            np.testing.assert_array_equal(arrays[name], getattr(head, name))
        assert "x_key" not in arrays  # the same as x_query
        scores = arrays["q"] @ arrays["k"].T
        metadata = json.loads(str(arrays["metadata"]))
        np.testing.assert_allclose(scores * metadata["scaling"], arrays["scaled"], rtol=1e-5)
    assert metadata["attnviz"] == attnviz.__version__
    assert metadata["about"] == {"text": "a <b>"}
    assert (metadata["kind"], metadata["layer"], metadata["head"]) == ("self", 0, 8)
    assert tuple(metadata["query_tokens"]) == sentence_trace.tokens
    assert metadata["origins"]["q"] == {"has_bias": True, "is_normed": False}
    assert [(step["name"], tuple(step["axes"])) for step in metadata["steps"]] == [
        (step.name, step.axes) for step in head.steps
    ]


def test_a_sink_and_a_replay_that_is_not_shown_are_there_where_the_head_has_them():
    head = hand_made.random_head(sink_logit=0.3)
    arrays = parts(written(head))
    np.testing.assert_array_equal(arrays["sink"], head.sink)
    assert not {"replayed_weights", "sink"} & set(parts(written(hand_made.random_head())))
    off = head.replaced(own_weights=np.roll(head.own_weights, 1, axis=1))
    arrays = parts(written(off))
    np.testing.assert_array_equal(arrays["weights"], off.own_weights)
    np.testing.assert_array_equal(arrays["replayed_weights"], head.weights)


def test_two_files_of_the_same_head_are_the_same_to_the_byte():
    assert written(hand_made.random_head()) == written(hand_made.random_head())


@pytest.mark.parametrize("about", [{"a": float("nan")}, {"a": {1, 2}}])
def test_what_json_cannot_say_is_refused(about):
    with pytest.raises(InputError, match="cannot be written as JSON.*\n\nHint: text"):
        written(hand_made.random_head(), about)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be written .*No such file.*\n\nHint: "):
        hand_made.random_head().to_npz(tmp_path / "nowhere" / "head.npz")
    with pytest.raises(InputError, match="'head.npz' cannot be read .*No such file.*\n\nHint: "):
        HeadTrace.from_npz(tmp_path / "nowhere" / "head.npz")
    with pytest.raises(InputError, match="cannot be read .*directory"):
        HeadTrace.from_npz(tmp_path)


# Files that are none


@functools.cache
def content():
    return written(hand_made.random_head(causal=True, sink_logit=0.5, softcap=2.0))


def read_or_refused(content):
    """The head in a file, None where a sentence says why there is none."""
    try:
        return read(content)
    except InputError as error:
        return None if "\n\nHint: " in str(error) else pytest.fail(str(error))


def refused(content, match, **limits):
    with pytest.raises(InputError, match=match) as caught:
        read(content, **limits)
    sentence, _, hint = str(caught.value).partition("\n\nHint: ")
    assert sentence.endswith(".")
    assert hint


@pytest.mark.parametrize(
    "junk", [b"", b"PK", b"hello" * 99, b"\x93NUMPY", b"PK\x05\x06" + bytes(18)]
)
def test_what_is_no_archive_is_refused(junk):
    refused(junk, "is not an NPZ|no `metadata`")


def test_an_archive_that_was_cut_off_is_refused():
    whole = content()
    for length in range(0, len(whole), 97):
        refused(whole[:length], "does not end as such a file does")


def test_pickles_are_never_read():
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("it was run",)

    arrays = parts(content()) | {"q": np.array([Bomb()], dtype=object)}
    refused(packed(arrays), "'?q'? is an array of Python objects.*pickle")
    refused(pickle.dumps([1]), "not an NPZ file")


def test_a_zip_bomb_is_refused_before_it_is_read():
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("q.npy", "w") as q,
    ):
        for _ in range(64):
            q.write(bytes(1_000_000))
    assert len(file.getvalue()) < 100_000
    refused(file.getvalue(), "holds 64 MB, and at most 10 MB are read", max_bytes=10**7)
    refused(content(), "holds .* at most 1 kB are read", max_bytes=1000)


def test_an_archive_that_claims_less_than_it_holds_gives_no_more_than_that():
    file = io.BytesIO()
    np.savez_compressed(file, q=np.zeros(10**6, np.float32))
    whole = bytearray(file.getvalue())
    at = whole.rindex(b"PK\x01\x02") + 24  # the uncompressed size
    whole[at : at + 4] = (500).to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(InputError, match="not an NPZ file that can be read"):
        npz.read(io.BytesIO(whole), ["q"], 10**5)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200_000


def test_numbers_count_as_they_are_computed_with():
    file = packed({"q": np.zeros(10**6, np.uint8)})
    assert len(file) < 10_000
    with pytest.raises(InputError, match="holds 4 MB, and at most 2 MB are read"):
        npz.read(io.BytesIO(file), ["q"], 2 * 10**6)


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (b"\x02\x00" + (10**8).to_bytes(4, "little") + b" " * 10**6, "header, expected 100000000"),
        (b"\x01\x00" + (9_900).to_bytes(2, "little") + b"-" * 9_899 + b"1", "can be read"),
        (b"\x01\x00" + (8_000).to_bytes(2, "little") + b"[" * 4_000 + b"]" * 4_000, "can be read"),
    ],
)
def test_a_header_that_is_none_is_refused_at_once(header, match):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("q.npy", b"\x93NUMPY" + header)
    with pytest.raises(InputError, match=match):
        npz.read(io.BytesIO(file.getvalue()), ["q"])


@pytest.mark.parametrize("order", "<>")
def test_a_text_of_characters_that_are_none_is_refused(order):
    texts = np.array([65, 0x10FFFF], f"{order}u4").view(f"{order}U1")
    assert npz.read(io.BytesIO(packed({"tokens": texts})), ["tokens"])["tokens"].tolist() == [
        *("A", "\U0010ffff")
    ]
    broken = np.array([65, 0x110000], f"{order}u4").view(f"{order}U1")
    with pytest.raises(InputError, match="a code that is not a character"):
        npz.read(io.BytesIO(packed({"tokens": broken})), ["tokens"])


def test_metadata_and_names_longer_than_anybody_reads_are_refused_before_they_are_read():
    arrays = parts(content())
    metadata = json.loads(str(arrays["metadata"]))
    long = np.array("[" + "{}," * 700_000 + "{}]")
    refused(packed(arrays | {"metadata": long}), "metadata` has more than 2,000,000 characters")
    metadata["query_tokens"][0] = "w" * 10_001
    named = np.array(json.dumps(metadata))
    refused(packed(arrays | {"metadata": named}), "query_tokens has 10,0.. letters in all")


def test_an_array_that_claims_more_than_it_holds_takes_no_memory():
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(header, shape)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("q.npy", header.getvalue() + bytes(16))
    with pytest.raises(InputError, match="q is shorter or longer than it says"):
        npz.read(io.BytesIO(file.getvalue()), ["q"])


def test_a_directory_of_a_million_names_is_not_read():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(5_000):
            archive.writestr(f"a_rather_long_name_of_an_array_{number}.npy", b"")
    refused(file.getvalue(), "more than a thousand parts")


def test_other_ways_to_compress_and_passwords_are_refused():
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr("metadata.npy", b"x" * 99)
        refused(file.getvalue(), "uses another compression")


@pytest.mark.parametrize(
    "name", ["q", "own_weights", "scores", "masked", "weights", "updated", "sink"]
)
def test_an_array_that_is_missing_broken_or_of_another_shape_is_named(name):
    arrays = parts(content())
    array = arrays.pop(name)
    refused(packed(arrays), f"lacks {name}")
    for other in (array[None], array[:0], array[..., :-1], np.zeros((0, 3), np.float32)):
        refused(packed(arrays | {name: other.copy()}), r"has the shape \(")
    refused(
        packed(arrays | {name: array.astype(np.float64)}), f"{name} is of float64, not of float32"
    )
    refused(packed(arrays | {name: array.astype(str)}), f"{name} is of <U")
    for value in (np.nan, np.inf):
        refused(packed(arrays | {name: np.full_like(array, value)}), f"{name} has values that are")


@pytest.mark.parametrize(
    "name", ["scores", "scaled", "capped", "masked", "weights", "sink", "updated"]
)
def test_a_step_that_does_not_follow_from_those_before_it_is_refused(name):
    arrays = parts(content())
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] += 0.01
    refused(packed(arrays), "do not follow from the steps before them")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"kind": "**bold**"}, r"kind in its `metadata` is '\"\*\*bold"),
        ({"kind": 3}, "kind in its `metadata` is '3'"),
        ({"layer": -1}, "layer in its `metadata` is '-1'"),
        ({"layer": 10**30}, "layer in its"),
        ({"head": True}, "head in its `metadata` is 'true'"),
        ({"query_tokens": ["a"]}, "has the shape"),
        ({"query_tokens": "abcde"}, "query_tokens in its"),
        ({"query_tokens": [1, 2, 3, 4, 5]}, "query_tokens in its"),
        ({"key_tokens": []}, "has the shape"),
        ({"scaling": "1"}, "scaling in its"),
        ({"scaling": 10**400}, "scaling in its|is not JSON"),
        ({"softcap": 0}, "softcap in its"),
        ({"softcap": 1e-300}, "do not follow"),
        ({"temperature": 0}, "temperature in its"),
        ({"temperature": 3}, "do not follow"),
        ({"dtype": "int4"}, "dtype in its"),
        ({"origins": {"q": {"has_bias": 1}}}, "origins in its"),
        ({"origins": {"z": {}}}, "origins in its"),
        ({"origins": [["q"]]}, "origins in its"),
        ({"compared_with": "god"}, "compared_with in its"),
        ({"notes": None}, "notes in its"),
        ({"readers": [0.5]}, "readers in its"),
        ({"x_key_is_x_query": False}, None),
    ],
)
def test_metadata_that_is_not_of_a_head_is_refused(fields, match):
    file = packed(changed(parts(content()), **fields))
    if match is None:
        assert read(file).x_key is None
    else:
        refused(file, match)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"a": NaN}', "[" * 100_000, '{"kind": "self"}', "1" * 9_999]
)
def test_metadata_that_is_no_json_object_is_refused(text):
    refused(packed(parts(content()) | {"metadata": np.array(text)}), "`metadata`")


def test_tokens_from_a_file_cannot_redirect_what_follows_them():
    file = packed(changed(parts(content()), query_tokens=["\u202e", "\n", "\ud800", "a b", "<b>"]))
    assert read(file).query_tokens == ("<U+202E>", "↵", "<U+D800>", "a b", "<b>")


@hostile.cases(400, places=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=4))
def test_a_file_with_some_bytes_changed_is_refused_or_still_the_head(places):
    whole = bytearray(content())
    for share, flip in places:
        whole[int(share * (len(whole) - 1))] ^= flip
    head = read_or_refused(bytes(whole))
    if head is not None:
        np.testing.assert_array_equal(head.weights, read(content()).weights)


_ANYTHING = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(["<f4", "<f8", ">f4", "<i8", "|b1", "<U3", "<c8", "<M8[s]"])),
    st.lists(st.integers(0, 6), max_size=5),
)


@hostile.cases(300, name=st.sampled_from(head_file.NAMES), change=_ANYTHING)
def test_a_file_with_an_array_left_out_or_changed_is_refused_or_a_head(name, change):
    arrays = parts(content())
    before = arrays.pop(name, np.zeros((5, 5), np.float32))
    if isinstance(change, tuple):
        arrays[name] = np.zeros(before.shape, change[0])
    elif change is not None:
        arrays[name] = np.zeros(change, before.dtype)
    head = read_or_refused(packed(arrays))
    if head is not None:
        assert np.isfinite(head.weights).all()
        assert head.steps
