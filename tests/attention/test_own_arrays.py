"""Somebody's own arrays: shown in every view, compared with nothing, and refused in a sentence."""

import functools
import io
import unicodedata
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import attnviz
from attnviz.attention import agreement, own_arrays
from attnviz.attention.explained.sentences import look_for, sentence
from attnviz.export import data
from attnviz.export.options import VIEWS
from attnviz.export.screen import Screen, drawn
from attnviz.heads import measures
from attnviz.text.errors import InputError
from tests.support import hand_made, hostile, tiny_models

CAUSAL = np.tri(5, dtype=bool)
NOT_COMPARED = "Computed from the given arrays; there is no model to compare with."


def some(n_heads=4, n_key_value_heads=2, n_queries=5, n_keys=5, d_head=8, d_value=6):
    rng = np.random.default_rng(0)
    shapes = (
        (n_heads, n_queries, d_head),
        (n_key_value_heads, n_keys, d_head),
        (n_key_value_heads, n_keys, d_value),
    )
    return tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes)


def of_torch(q, k, v, mask=None, scale=None):
    """What torch's own attention gives: weights, with an identity as value, and the update."""
    q, k, v = (torch.tensor(array)[None] for array in (q, k, v))
    attend = functools.partial(
        torch.nn.functional.scaled_dot_product_attention, attn_mask=mask, scale=scale
    )
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    one = torch.eye(k.shape[2]).expand(1, q.shape[1], -1, -1)
    return attend(q, k, one)[0].numpy(), attend(q, k, v)[0].numpy()


def packed(**given):
    file = io.BytesIO()
    np.savez_compressed(file, **given)
    return io.BytesIO(file.getvalue())


# The numbers


@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("mask", [None, CAUSAL, np.where(CAUSAL, 0.5, -np.inf).astype("float32")])
def test_weights_and_update_are_those_of_torchs_own_attention(mask, scaling):
    q, k, v = some()
    trace = attnviz.from_arrays(q, k, v, mask=mask, scaling=scaling)
    given = None if mask is None else torch.tensor(mask)
    weights, updated = of_torch(q, k, v, given, scaling)
    assert trace.n_heads() == 4
    assert trace.layer(0).n_key_value_heads == 2
    np.testing.assert_allclose(trace.layer(0).own_weights, weights, atol=1e-6)
    for number in range(4):
        head = trace.head(0, number)
        assert head.key_value_head == number // 2
        np.testing.assert_allclose(head.weights, weights[number], atol=1e-6)
        np.testing.assert_allclose(head.updated, updated[number], atol=1e-6)
        np.testing.assert_allclose(head.own_updated, head.updated, atol=1e-6)
        assert head.is_masked.sum() == (0 if mask is None else 10)


def test_weights_of_one_query_and_one_head_are_part_of_all():
    call = attnviz.from_arrays(*some(), mask=CAUSAL).layer(0)
    whole = call.own_weights
    np.testing.assert_allclose(call.own_weights_of(slice(3, 4))[:, 0], whole[:, 3], atol=1e-6)
    np.testing.assert_allclose(call.own_weights_of_head(3), whole[3], atol=1e-6)
    np.testing.assert_allclose(call.own_weights_between(4, 1), whole[:, 4, 1], atol=1e-6)


def test_a_head_and_a_batch_of_one_may_stand_in_front_or_not():
    q, k, v = some(n_heads=1, n_key_value_heads=1)
    expected = attnviz.from_arrays(q, k, v, mask=CAUSAL).head(0, 0)
    for given in ((q[0], k[0], v[0]), (q[None], k[None], v[None]), (q[0], k, v[None])):
        for mask in (CAUSAL, CAUSAL[None], CAUSAL[None, None]):
            head = attnviz.from_arrays(*given, mask=mask).head(0, 0)
            np.testing.assert_array_equal(head.weights, expected.weights)


def test_each_head_may_have_a_mask_of_its_own_and_one_row_may_stand_for_all():
    q, k, v = some()
    masks = np.ones((4, 5, 5), bool)
    masks[2, :, 3] = False
    trace = attnviz.from_arrays(q, k, v, mask=masks)
    assert [trace.head(0, head).is_masked.sum() for head in range(4)] == [0, 0, 5, 0]
    one = attnviz.from_arrays(q, k, v, mask=np.array([[True, True, True, False, True]]))
    np.testing.assert_array_equal(one.head(0, 2).weights, trace.head(0, 2).weights)


def test_lists_and_tensors_of_any_precision_do_as_well_as_arrays():
    q, k, v = ([[1, 2], [3, 4]], [[0.5, 1], [1, 0]], [[1], [2]])
    expected = attnviz.from_arrays(*map(np.array, (q, k, v)))
    listed = attnviz.from_arrays(q, k, v, mask=[[True, False], [True, True]])
    assert listed.dtype == expected.dtype == "float32"
    np.testing.assert_array_equal(listed.head(0, 0).scores, expected.head(0, 0).scores)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        tensors = [torch.tensor(each, dtype=dtype).requires_grad_() for each in (q, k, v)]
        trace = attnviz.from_arrays(*tensors, mask=torch.zeros(2, 2))
        assert trace.dtype == ("float32" if dtype == torch.float64 else str(dtype)[6:])
        np.testing.assert_array_equal(trace.head(0, 0).scores, expected.head(0, 0).scores)


def test_what_becomes_of_the_arrays_afterwards_does_not_matter():
    q, k, v = some()
    trace = attnviz.from_arrays(q, k, v)
    before = trace.head(0, 0).q.copy()
    q[:] = 7
    np.testing.assert_array_equal(trace.head(0, 0).q, before)
    with pytest.raises(ValueError, match="read-only"):
        trace.head(0, 0).q[0, 0] = 1


# What is known of them


def test_as_many_keys_as_queries_without_names_of_their_own_are_the_same_tokens():
    q, k, v = some()
    trace = attnviz.from_arrays(q, k, v, tokens=list("abcde"), name="mine")
    assert (trace.kinds, trace.tokens, trace.target_tokens) == (("self",), tuple("abcde"), None)
    assert (trace.model_name, trace.revision) == ("mine", None)
    head = trace.head(0, 0)
    assert head.query_tokens == head.key_tokens == tuple("abcde")
    assert attnviz.from_arrays(q, k, v).tokens == tuple("01234")


def test_otherwise_queries_are_of_another_text_than_keys():
    q, k, v = some(n_queries=3)
    trace = attnviz.from_arrays(q, k, v, tokens=["x", "y", "z"])
    assert (trace.kinds, trace.tokens, trace.target_tokens) == (
        ("cross",),
        tuple("01234"),
        ("x", "y", "z"),
    )
    assert attnviz.from_arrays(*some(), key_tokens=list("abcde")).kinds == ("cross",)


def test_where_there_is_no_model_nothing_is_said_to_be_exact():
    trace = attnviz.from_arrays(*some())
    head = trace.head(0, 1)
    assert not head.is_compared
    assert not trace.layer(0).is_compared
    assert agreement.check_line(head) == NOT_COMPARED
    assert head.output is None
    assert trace.layer(0).output_error is None
    about = data.about(trace, head)["head"]
    assert about["is_exact"] is about["max_error"] is about["tolerance"] is None
    assert agreement.check_line(attnviz.filters.hide_tokens(trace, [1]).head(0, 1)) == NOT_COMPARED


def test_given_weights_are_compared_with_the_replay():
    q, k, v = some()
    weights, _ = of_torch(q, k, v)
    head = attnviz.from_arrays(q, k, v, weights=weights).head(0, 1)
    assert head.is_compared
    assert head.is_exact
    assert 0 <= head.max_error == np.abs(head.replayed[0] - weights[1]).max() < 1e-6
    assert agreement.check_line(head).startswith("Recomputed weights match the weights given")
    off = attnviz.from_arrays(q, k, v, weights=weights[::-1]).head(0, 1)
    assert not off.is_exact
    np.testing.assert_array_equal(off.weights, weights[2])
    assert agreement.check_line(off).startswith("Recomputed weights differ from the weights given")
    assert "1e-05" in agreement.check_line(off)
    rounded = torch.tensor(weights).bfloat16()
    head = attnviz.from_arrays(q, k, v, weights=rounded).head(0, 1)
    assert head.is_exact
    assert head.tolerance == 2e-2
    assert head.max_error > 1e-5


# In every view


@pytest.mark.parametrize("n_queries", [5, 3])
@pytest.mark.parametrize("view", [view for view in VIEWS if view != "effect"])
def test_they_are_drawn_in_every_view(view, n_queries):
    mask = np.tri(n_queries, 5, dtype=bool)
    mask[2] = False
    trace = attnviz.from_arrays(*some(n_queries=n_queries), mask=mask)
    chart = drawn(Screen("", "", 0, 1, view=view, query=1, key=1), trace)
    assert "NaN" not in chart.to_json(validate=False)


def test_every_step_has_its_sentence_and_every_head_its_numbers():
    trace = attnviz.from_arrays(*some(), mask=CAUSAL)
    head = trace.head(0, 1)
    for step in head.steps:
        assert sentence(head, step, 3, 1)
        assert look_for(head, step, "rows")
    table = measures(trace)
    assert table["entropy"].notna().all()
    assert table["distance"].notna().all()
    assert table["head"].tolist() == [0, 1, 2, 3]
    changed = attnviz.what_if(head, temperature=2)
    np.testing.assert_allclose(changed.weights.sum(axis=1), 1, rtol=1e-6)
    less = attnviz.filters.hide_tokens(trace, keys=[0], renormalise=True).head(0, 1)
    np.testing.assert_allclose(less.weights[1:].sum(axis=1), 1, rtol=1e-6)


# From a file


def test_a_file_with_the_same_arrays_is_the_same_trace():
    q, k, v = some()
    weights, _ = of_torch(q, k, v, torch.tensor(CAUSAL), 0.5)
    given = {"mask": CAUSAL, "scaling": 0.5, "weights": weights}
    expected = attnviz.from_arrays(q, k, v, **given, tokens=list("abcde"), key_tokens=list("vwxyz"))
    file = packed(q=q, k=k, v=v, **given, tokens=list("abcde"), key_tokens=list("vwxyz"), more=1)
    trace = own_arrays.read(file, "mine.npz", 10**6)
    assert trace.model_name == "mine.npz"
    for name in ("query_tokens", "key_tokens", "scaling", "kind"):
        assert getattr(trace.head(0, 2), name) == getattr(expected.head(0, 2), name)
    np.testing.assert_array_equal(trace.head(0, 2).weights, expected.head(0, 2).weights)


def test_a_file_of_a_saved_head_is_that_head_alone_compared_with_its_model(sentence_trace):
    head = sentence_trace.head(0, 8)
    file = io.BytesIO(data.to_npz(head, data.about(sentence_trace, head)))
    trace = own_arrays.read(file, "head.npz", 10**7)
    assert trace.model_name == "sentence-transformers/all-MiniLM-L6-v2, layer 0, head 8"
    assert trace.revision == sentence_trace.revision
    assert (trace.kinds, trace.layers(), trace.n_heads()) == (("self",), (0,), 1)
    again = trace.head(0, 0)
    assert again.is_compared
    assert again.is_exact
    np.testing.assert_allclose(again.weights, head.weights, atol=1e-6)
    np.testing.assert_array_equal(again.own_weights, head.own_weights)
    assert agreement.check_line(again).startswith("Recomputed weights match the model's own")
    names = [step.name for step in head.steps if step.name != "output"]
    assert [step.name for step in again.steps] == names
    assert trace.layer(0).output_error is None
    unknown = own_arrays.read(io.BytesIO(data.to_npz(head, {"model": 3})), "head.npz")
    assert unknown.model_name == "head.npz, layer 0, head 8"


@pytest.mark.parametrize("family", tiny_models.CONFIGS)
def test_so_is_one_of_every_family_also_changed_or_filtered(family):
    model = tiny_models.build(family)
    whole = attnviz.trace_inputs(model, tiny_models.padded_inputs(model))
    kind = whole.kinds[-1]
    for trace in (whole, attnviz.filters.hide_tokens(whole, keys=[3])):
        head = trace.head(trace.layers(kind)[-1], 1, kind)
        for one in (head, attnviz.what_if(head, temperature=3, hidden_keys=[4])):
            again = own_arrays.read(io.BytesIO(data.to_npz(one)), "x").head(0, 0)
            np.testing.assert_allclose(again.weights, one.weights, atol=2e-6)
            np.testing.assert_allclose(again.updated, one.updated, atol=1e-5)
            np.testing.assert_allclose(again.sink, one.sink, atol=2e-6)
            assert again.is_compared is not one.is_changed
            assert again.is_exact
            assert (again.kind, again.query_tokens) == (kind, one.query_tokens)
            np.testing.assert_array_equal(again.is_meaningless, one.is_meaningless)
    changed = own_arrays.read(io.BytesIO(data.to_npz(one)), "x")
    assert changed.model_name.endswith("head 1, changed")
    assert "the temperature, 3, divides the scaling" in changed.layer(0, kind).notes


def test_a_temperature_that_no_scaling_can_replace_is_refused():
    head = hand_made.head([[10, 1]], [[10, 1], [10, 1]], [[1], [2]])
    head = head.replaced(temperature=1e-37, is_changed=True)
    np.testing.assert_array_equal(head.weights, [[0.5, 0.5]])
    with pytest.raises(InputError, match="temperature of 1e-37 cannot be shown"):
        own_arrays.read(io.BytesIO(data.to_npz(head)), "x")


def test_of_a_filtered_head_nothing_is_said_to_be_replayed(sentence_trace):
    head = attnviz.filters.hide_special(sentence_trace).head(0, 8)
    again = own_arrays.read(io.BytesIO(data.to_npz(head)), "x").head(0, 0)
    assert "they are not recomputed" in agreement.check_line(again)
    np.testing.assert_array_equal(again.weights, head.weights)
    assert again.notes == head.notes


# What is refused


def refused(match, *given, **more):
    with pytest.raises(InputError, match=match) as caught:
        attnviz.from_arrays(*given, **more)
    assert "\n\nHint: " in str(caught.value)


def test_what_does_not_fit_together_is_named_with_its_shapes():
    q, k, v = some()
    refused(r"q \(4, 5, 8\), k \(2, 5, 7\), v \(2, 5, 6\)", q, k[..., :-1], v)
    refused(r"k \(2, 4, 8\), v \(2, 5, 6\)", q, k[:, 1:], v)
    refused(r"q \(3, 5, 8\), k \(2, 5, 8\)", q[1:], k, v)
    refused(r"k \(1, 5, 8\), v \(2, 5, 6\)", q, k[:1], v)
    refused(r"q has the shape \(8,\)", q[0, 0], k, v)
    refused(r"q has the shape \(\)", 3, k, v)
    refused(r"v has the shape \(2, 5, 0\)", q, k, v[..., :0])
    refused(r"q has the shape \(2, 4, 5, 8\)", np.stack([q, q]), k, v)
    refused(r"mask has the shape \(4, 5\), and q and k make \(4, 5, 5\)", q, k, v, mask=CAUSAL[1:])
    refused(r"mask has the shape \(3, 5, 5\)", q, k, v, mask=np.ones((3, 5, 5), bool))
    refused(r"mask has the shape \(5,\)", q, k, v, mask=np.ones(5, bool))
    refused(r"weights has the shape \(1, 5, 5\)", q, k, v, weights=np.eye(5))
    refused("tokens has 2 names for 5 positions", q, k, v, tokens=["a", "b"])
    refused("key_tokens has 1 names for 5 positions", q, k, v, key_tokens=["a"])


def test_what_is_no_number_is_named():
    q, k, v = some()
    for bad in (np.nan, np.inf, -np.inf, 1e13):
        broken = k.copy()
        broken[1, 2, 3] = bad
        refused(r"k is (nan|-?inf|9999.*) at \(1, 2, 3\)", q, broken, v)
    refused("q is not an array of numbers", [[1, 2], [3]], k, v)
    refused("q is of '<U1', not of real numbers", [["a"]], k, v)
    refused("q is of 'object'", np.array([[{}]], dtype=object), k, v)
    refused("v is of 'complex64'", q, k, v + 1j)
    refused("q is of 'bool'", q > 0, k, v)
    refused("v is of 'object'", q, k, None)
    refused("q is not an array of numbers", torch.ones(5, 8).to_sparse(), k, v)
    refused("q is not an array of numbers", torch.ones(5, 8, device="meta"), k, v)
    refused(r"mask is nan at \(0, 0\)", q, k, v, mask=np.full((5, 5), np.nan))
    refused(r"mask is inf at \(0, 0\)", q, k, v, mask=np.full((5, 5), np.inf))
    refused("whole numbers .int64., which may mean", q, k, v, mask=CAUSAL.astype(int))
    refused("mask is of '<U1'", q, k, v, mask=[["a"]])
    refused("weights go from −1.00 to 0", q, k, v, weights=np.full((4, 5, 5), [-1.0] + 4 * [0.0]))
    refused("weights go from 0 to 2.00", q, k, v, weights=np.full((4, 5, 5), [2.0] + 4 * [0.0]))


@pytest.mark.parametrize("scaling", [0, -1, np.nan, np.inf, "a", [1, 2], 1e300, 10**400, 1e-300])
def test_a_scaling_that_is_no_positive_number_is_refused(scaling):
    refused("scaling must be a positive number; received", *some(), scaling=scaling)


@pytest.mark.parametrize("tokens", ["abcde", 5, [1, 2, 3, 4, 5], b"abcde", np.arange(5)])
def test_names_that_are_no_list_of_strings_are_refused(tokens):
    refused("tokens must be a list of strings; received", *some(), tokens=tokens)


def test_scores_that_are_too_large_are_refused():
    q, k, v = some()
    refused("Scores go up to .*e\\+1", q * 1e10, k * 1e10, v)
    refused("once they are scaled", q, k, v, scaling=1e12)


def test_more_than_fits_is_refused_before_anything_is_computed():
    q, k = (np.zeros((10**6, 1), np.float32) for _ in "qk")
    refused("1,000,000 queries to 1,000,000 keys take 4000.0 GB", q, k, k)
    file = packed(q=q, k=k, v=k)
    with pytest.raises(InputError, match=r"take 4000\.0 GB, and at most 100 MB are free"):
        own_arrays.read(file, "x", 10**8)
    with pytest.raises(InputError, match="and at most 512 of each are shown here"):
        own_arrays.read(file, "x", 10**8, 512)
    head = io.BytesIO(data.to_npz(hand_made.random_head()))
    with pytest.raises(InputError, match="5 queries and 5 keys, and at most 4 of each"):
        own_arrays.read(head, "x", max_tokens=4)


def test_heads_updates_and_names_are_bounded_in_a_file():
    one = np.zeros((1, 1, 1), np.float32)
    many = packed(q=np.zeros((1_001, 1, 1), np.float32), k=one, v=one)
    with pytest.raises(InputError, match="1,001 heads, and at most 1,000 of a file are shown"):
        own_arrays.read(many, "x")
    wide = np.zeros((1, 1, 10**5), np.float32)
    q = np.zeros((100, 50, 1), np.float32)
    with pytest.raises(InputError, match=r"updates of 100 heads .* take 2\.0 GB"):
        own_arrays.read(packed(q=q, k=one, v=wide), "x", 10**7)
    refused("tokens has 10,004 letters in all", *some(), tokens=["w" * 10_000, *"abcd"])
    assert attnviz.from_arrays(*some(), tokens=["w" * 9_996, *"abcd"]).tokens[1:] == tuple("abcd")


def test_one_file_at_a_time_is_read(monkeypatch):
    q, k, v = some()
    reading, at_once = [], []

    def read(*args):
        reading.append(None)
        at_once.append(len(reading))
        wait([others.submit(int)])  # others have their turn
        reading.pop()
        return {"q": q, "k": k, "v": v}

    monkeypatch.setattr(own_arrays.npz, "read", read)
    with ThreadPoolExecutor(1) as others, ThreadPoolExecutor(8) as visitors:
        list(visitors.map(lambda _: own_arrays.read("x", "x"), range(40)))
    assert set(at_once) == {1}


def test_a_file_without_these_arrays_or_with_pickles_is_refused():
    q, k, v = some()
    with pytest.raises(InputError, match="'a.npz' lacks k and v"):
        own_arrays.read(packed(q=q), "a.npz")
    with pytest.raises(InputError, match="tokens is an array of Python objects"):
        own_arrays.read(packed(q=q, k=k, v=v, tokens=np.array(list("abcde"), dtype=object)), "a")
    with pytest.raises(InputError, match="scaling must be a positive number"):
        own_arrays.read(packed(q=q, k=k, v=v, scaling=q), "a")
    with pytest.raises(InputError, match="tokens must be a list of strings"):
        own_arrays.read(packed(q=q, k=k, v=v, tokens="abcde"), "a")
    with pytest.raises(InputError, match="not an NPZ file"):
        own_arrays.read(io.BytesIO(b"q"), "a")


_DTYPES = ["<f4", "<f8", ">f2", "<i8", "|u1", "|b1", "<U3", "<c8", "<M8[s]", "|S2"]
_SHAPES = st.lists(st.integers(0, 5), max_size=5)
_ARRAYS = st.builds(
    lambda shape, dtype: np.ones(shape).astype(dtype), _SHAPES, st.sampled_from(_DTYPES)
)


@hostile.cases(500, name=st.sampled_from(own_arrays._NAMES), other=_ARRAYS)
def test_a_file_with_any_other_array_is_refused_or_shown(name, other):
    q, k, v = some()
    given = {"q": q, "k": k, "v": v} | {name: other}
    try:
        trace = own_arrays.read(packed(**given), "x")
    except InputError as error:
        if "\n\nHint: " not in str(error):
            pytest.fail(str(error))
    else:
        assert np.isfinite(trace.head(0, 0).weights).all()


@hostile.cases(60, labels=st.lists(hostile.texts(), min_size=5, max_size=5), name=hostile.texts())
def test_names_of_any_characters_are_shown_harmlessly(labels, name):
    trace = attnviz.from_arrays(*some(), tokens=labels, name=name)
    for text in (*trace.tokens, trace.model_name):
        assert not {unicodedata.category(character) for character in text} & {"Cc", "Cf", "Cs"}
