"""Where two heads differ: which tokens are aligned, B − A cell by cell, and where it is largest."""

import numpy as np
import pytest
from hypothesis import strategies as st

from attnviz.attention import filters
from attnviz.capture.forward_pass import trace
from attnviz.heads.aligning import Alignment, aligned
from attnviz.heads.comparing import SMALLEST, difference, joined, where_largest
from attnviz.text.errors import InputError
from attnviz.text.phrases import plain
from tests.support import hand_made
from tests.support.hostile import cases, labels, markup_of

TIME = ("[CLS]", "time", "flies", "like", "an", "arrow", "[SEP]")
FRUIT = ("[CLS]", "fruit", "flies", "like", "a", "banana", "[SEP]")


def head_with(weights, **more):
    """A head whose softmax gives these weights: q picks a row of their logarithms."""
    logits = np.log(np.asarray(weights, np.float64))
    return hand_made.head(np.eye(len(logits)), logits.T, np.ones((logits.shape[1], 2)), **more)


@pytest.fixture
def two():
    """Two heads of one text whose weights are known."""
    names = {"queries": ("x", "y"), "keys": ("x", "y", "z")}
    a = head_with([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], **names)
    return a, head_with([[0.1, 0.65, 0.25], [0.2, 0.2, 0.6]], **names)


# Alignment


def test_a_word_that_is_replaced_is_paired_with_the_one_in_its_place():
    assert aligned(TIME, FRUIT).pairs == tuple((place, place) for place in range(7))


def test_what_is_in_one_text_alone_has_no_partner():
    assert aligned("abcd", "axybc").pairs == ((0, 0), (1, 3), (2, 4))
    assert aligned("abcd", "abcde").pairs[-1] == (3, 3)


def test_of_pieces_that_replace_a_word_the_first_is_its_partner():
    labels_b = ("[CLS]", "fruit", "flies", "like", "a", "ban", "##ana", "[SEP]")
    assert aligned(TIME, labels_b).pairs[-3:] == ((4, 4), (5, 5), (6, 7))


def test_case_spaces_and_the_marks_of_pieces_do_not_count():
    pairs = aligned(["Time", "␣flies", "##ana", "straße"], ["x", "time", "flies", "ana", "STRASSE"])
    assert pairs.pairs == ((0, 1), (1, 2), (2, 3), (3, 4))


def test_a_mark_alone_is_a_token_of_its_own():
    assert aligned(["##", "␣", "x"], ["␣", "x"]).pairs == ((1, 0), (2, 1))


def test_special_tokens_of_two_models_pair_at_the_ends():
    assert aligned(["[CLS]", "a", "b", "[SEP]"], ["<s>", "␣a", "b", "</s>"]).pairs == (
        *((0, 0), (1, 1), (2, 2), (3, 3)),
    )


@pytest.mark.parametrize("n", [1, 50, 1000])
def test_a_text_pairs_with_itself_token_by_token(n):
    for text in (["same"] * n, [str(place % 3) for place in range(n)]):
        assert aligned(text, text).pairs == tuple((place, place) for place in range(n))


def test_one_word_over_and_over_is_aligned_without_long_thought():
    assert len(aligned(["a"] * 4000, ["b", "a"] * 2000).pairs) == 4000


@cases(200, both=st.tuples(st.lists(labels(), max_size=9), st.lists(labels(), max_size=9)))
def test_any_two_texts_have_an_alignment_that_fits(both):
    found = aligned(*both)
    found.check(*map(len, both))
    assert list(found.pairs) == sorted(found.pairs)
    assert list(found.of_b) == sorted(found.of_b)
    assert bool(found.pairs) == all(map(bool, both))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (((0, 0), (7, 1)), r"The pair \(7, 1\) names place 7 of A, which has 3 tokens"),
        (((0, -1),), r"The pair \(0, -1\) names place -1 of B, which has 4 tokens"),
        (((0, 0), (1, 0)), r"The pair \(0, 0\) names place 0 of B, as another pair does"),
        (((2, 0), (2, 1)), r"The pair \(2, 0\) names place 2 of A, as another pair does"),
        (((0, 1, 2),), r"\(0, 1, 2\) is not a pair of places"),
        ((("0", 1),), r"\('0', 1\) is not a pair of places"),
        (((0.0, 1),), r"\(0.0, 1\) is not a pair of places"),
    ],
)
def test_an_alignment_that_does_not_fit_names_the_pair(pairs, message):
    with pytest.raises(InputError, match=message) as error:
        Alignment(pairs).check(3, 4)
    assert "\n\nHint: " in str(error.value)


# The difference


def test_of_one_text_it_is_b_less_a_in_every_cell(two):
    found = difference(*two)
    expected = [[-0.4, 0.4, 0], [0.1, -0.6, 0.5]]
    np.testing.assert_allclose(found.weights, expected, atol=1e-6)
    np.testing.assert_array_equal(found.weights, found.weights_b - found.weights_a)
    np.testing.assert_array_equal(found.weights_a, two[0].weights)
    np.testing.assert_array_equal(found.weights_b, two[1].weights)
    assert found.weights.dtype == np.float32
    assert (found.query_labels, found.key_labels) == (["x", "y"], ["x", "y", "z"])
    assert not found.is_hidden.any()
    assert found.left_out.queries == found.left_out.keys == (0, 0)


def test_the_largest_come_first_with_their_signs(two):
    found = difference(*two)
    assert [cell[:2] for cell in found.largest(4)][:2] == [(1, 1), (1, 2)]
    assert [value for *_, value in found.largest(2)] == pytest.approx([-0.6, 0.5])
    assert len(found.largest()) == 3
    assert len(found.largest(99)) == 6
    assert found.largest(0) == []


def test_of_two_texts_tokens_that_stand_for_each_other_are_compared():
    a = head_with([[0.5, 0.3, 0.2]] * 3, queries=("a", "b", "c"), keys=("a", "b", "c"))
    b = head_with(
        [[0.1, 0.2, 0.3, 0.4]] * 4, queries=("a", "new", "B", "d"), keys=("a", "new", "B", "d")
    )
    found = difference(a, b)
    assert found.queries.pairs == found.keys.pairs == ((0, 0), (1, 2), (2, 3))
    np.testing.assert_allclose(found.weights, [[-0.4, 0.0, 0.2]] * 3, atol=1e-6)
    assert found.query_labels == ["a", "b", "c / d"]
    assert (found.left_out.queries, found.left_out.keys) == ((0, 1), (0, 1))


def test_an_alignment_that_was_mended_is_used_in_its_own_order(two):
    found = difference(*two, keys=Alignment(((2, 0), (0, 2))), queries=Alignment(((1, 0),)))
    np.testing.assert_allclose(found.weights, [[0.1 - 0.1, 0.25 - 0.1]], atol=1e-6)
    assert found.key_labels == ["z / x", "x / z"]
    assert found.left_out.keys == (1, 1)


def test_what_one_of_them_does_not_see_counts_as_nothing_there():
    causal, full = hand_made.random_head(causal=True), hand_made.random_head(seed=1)
    found = difference(causal, full)
    later = ~np.tri(5, dtype=bool)
    np.testing.assert_array_equal(found.weights[later], full.weights[later])
    assert not found.is_hidden.any()
    both = difference(causal, hand_made.random_head(causal=True, seed=1))
    np.testing.assert_array_equal(both.is_hidden, later)
    assert (both.weights[later] == 0).all()
    assert all(column <= row for row, column, _ in both.largest(25))


def test_a_sink_is_no_part_of_it():
    with_sink = hand_made.random_head(sink_logit=1.5)
    found = difference(with_sink, hand_made.random_head())
    np.testing.assert_array_equal(found.weights_a, with_sink.weights)
    np.testing.assert_allclose(found.weights.sum(axis=1), with_sink.sink, rtol=1e-5)


def test_heads_of_different_kinds_are_compared_where_their_tokens_align():
    own = hand_made.random_head(3, 3, queries=TIME[:3], keys=TIME[:3])
    cross = hand_made.random_head(3, 2, queries=TIME[:3], keys=("le", "flies"), kind="cross")
    found = difference(own, cross)
    assert found.keys.pairs == ((0, 0), (2, 1))
    np.testing.assert_array_equal(found.weights, cross.weights - own.weights[:, [0, 2]])


def test_two_models_are_compared_by_words(sentence_trace, minilm):
    other = trace(*minilm, "time flies like an arrowhead")
    words = [filters.in_words(one).head(0, 8) for one in (sentence_trace, other)]
    found = difference(*words)
    assert found.key_labels[5] == "arrow / arrowhead"
    np.testing.assert_array_equal(found.weights, words[1].weights - words[0].weights)


def test_a_table_has_all_of_it(two):
    a, b = two
    found = difference(a, b, keys=Alignment(((0, 2), (1, 1))))
    table = found.table()
    assert list(table.columns) == [
        *("query_a", "query_a_token", "query_b", "query_b_token"),
        *("key_a", "key_a_token", "key_b", "key_b_token"),
        *("weight_a", "weight_b", "difference"),
    ]
    assert len(table) == 4
    for row in table.itertuples():
        assert row.weight_a == a.weights[row.query_a, row.key_a]
        assert row.weight_b == b.weights[row.query_b, row.key_b]
        assert row.difference == np.float32(row.weight_b) - np.float32(row.weight_a)
        assert row.key_a_token == a.key_tokens[row.key_a]
        assert row.key_b_token == b.key_tokens[row.key_b]


def test_a_table_has_no_weight_where_a_key_is_hidden():
    causal, full = hand_made.random_head(causal=True), hand_made.random_head(seed=1)
    table = difference(causal, full).table()
    later = (table["key_a"] > table["query_a"]).to_numpy()
    assert table["weight_a"].isna().to_numpy().tolist() == later.tolist()
    assert table["weight_b"].notna().all()
    assert table["difference"].notna().all()


def test_nothing_aligned_is_refused(two):
    with pytest.raises(InputError, match=r"No key token of A \(3 in all\) is aligned"):
        difference(*two, keys=Alignment(()))
    with pytest.raises(InputError, match=r"The pair \(2, 0\) names place 2 of A"):
        difference(*two, queries=Alignment(((2, 0),)))


# In a sentence


def test_a_sentence_says_where_it_is_largest_in_both_directions(two):
    assert where_largest(difference(*two)) == (
        "From *y* to *z*, B gives **0.500** more than A (0.600 instead of 0.100); from *y* to *y*, "
        "it gives **0.600** less (0.200 instead of 0.800)."
    )


def test_a_sentence_says_it_when_nothing_differs(two):
    a, _ = two
    assert where_largest(difference(a, a)) == (
        "Nothing differs: no weight of B differs from that of A by more than 0.0005."
    )


def test_a_sentence_says_it_when_there_is_one_direction_only(two):
    found = difference(*two, queries=Alignment(((1, 1),)), keys=Alignment(((0, 0), (2, 2))))
    assert where_largest(found).endswith("; nowhere does it give more than 0.0005 less.")
    found = difference(*two, queries=Alignment(((1, 1),)), keys=Alignment(((1, 1),)))
    assert where_largest(found) == (
        "From *y* to *y*, B gives **0.600** less than A (0.200 instead of 0.800); nowhere does it "
        "give more than 0.0005 more."
    )


def test_a_small_difference_has_digits_enough():
    a, b = (head_with([[0.5 - by, 0.5 + by]], keys=("x", "y")) for by in (0, 0.001))
    assert "gives **0.0010** more than A (0.5010 instead of 0.5000)" in where_largest(
        difference(a, b)
    )


def test_what_is_printed_of_a_difference_is_that_of_the_printed_weights(sentence_trace):
    a = sentence_trace.head(0, 8)
    for head in range(12):
        found = difference(a, sentence_trace.head(5, head))
        said = plain(where_largest(found))
        for part in said.split("; "):
            by = float(part.partition(" gives ")[2].split()[0])
            after, before = (
                float(number)
                for number in part.partition("(")[2].split(")")[0].split(" instead of ")
            )
            assert abs(after - before) == pytest.approx(by, abs=1e-9)
        assert found.weights.max() == pytest.approx(
            float(said.partition(" gives ")[2].split()[0]), abs=0.0011
        )
        assert found.weights.max() > SMALLEST


def test_tokens_that_are_called_the_same_are_told_apart_by_their_positions():
    a, b = (
        head_with([[0.5 - by, 0.5 + by]], queries=("q",), keys=("the", "the")) for by in (0, 0.25)
    )
    assert "to *the*\u00a0(1), B" in where_largest(difference(a, b))
    found = difference(a, b, keys=Alignment(((0, 1), (1, 0))))
    assert "to *the*\u00a0(0 / 1), B" in where_largest(found)


@cases(200, names=st.lists(labels(), min_size=4, max_size=4), called=st.tuples(labels(), labels()))
def test_no_token_and_no_name_is_markup_in_the_sentence(names, called):
    a, b = (
        hand_made.random_head(2, 2, seed=seed, queries=tuple(names[:2]), keys=tuple(names[2:]))
        for seed in (0, 1)
    )
    found = difference(a, b, queries=Alignment(((0, 0), (1, 1))), keys=Alignment(((0, 0), (1, 1))))
    markup = markup_of(where_largest(found, called)) - {("strong_open", ""), ("strong_close", "")}
    assert markup <= {("italic", name) for name in names}


def test_names_that_run_to_the_left_say_whose_they_are():
    both = joined(
        ["ب", "time", "like"], ["س", "fruit", "like"], Alignment(((0, 0), (1, 1), (2, 2)))
    )
    assert both == ["A ب / B س", "time / fruit", "like"]
