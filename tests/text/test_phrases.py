"""Numbers and words: rounding that never contradicts itself, nothing typed becomes markup."""

import re

import numpy as np
import pytest

from attnviz.text.phrases import (
    added,
    bound,
    duration,
    escaped,
    fixed,
    number,
    ordinal,
    percent,
    plain,
    rounded_together,
    size,
    token,
)


def as_float(text):
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("seed", range(40))
def test_terms_rounded_together_add_up_as_printed_and_none_is_off_by_a_unit(seed):
    rng = np.random.default_rng(seed)
    terms = rng.normal(scale=10.0 ** rng.integers(-3, 3), size=rng.integers(1, 9))
    decimals = int(rng.integers(0, 5))
    printed = [as_float(text) for text in rounded_together(list(terms), decimals)]
    unit = 10.0**-decimals
    assert sum(printed) == pytest.approx(as_float(fixed(terms.sum(), decimals)), abs=unit / 100)
    assert np.abs(np.array(printed) - terms).max() < unit


def test_thirds_do_not_add_up_to_nearly_one():
    assert sorted(rounded_together([1 / 3, 1 / 3, 1 / 3], 2)) == ["0.33", "0.33", "0.34"]


def test_a_sum_is_written_with_its_signs():
    assert added(["−1.5", "2", "−0.25"]) == "−1.5 + 2 − 0.25"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-1.234567, "−1.23"),
        (-1, "−1.00"),
        (0, "0"),
        (12345.6, "12300"),
        (1234567, "1.23e+06"),
        (0.000012, "1.20e−05"),
        (999.9, "1000"),
        (27.0, "27.0"),
    ],
)
def test_a_number_has_three_significant_digits(value, said):
    assert number(value) == said


def test_a_zero_has_no_sign():
    assert fixed(-0.00001, 3) == "0.000"
    assert fixed(-0.001, 3) == "−0.001"


@pytest.mark.parametrize(
    ("place", "said"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd")]
)
def test_places_are_said_as_people_say_them(place, said):
    assert ordinal(place) == said


def test_a_share_is_a_percentage():
    assert percent(0.57295) == "57.3\u00a0%"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0, "exactly"),
        (2.1e-7, "to within 3e-7"),
        (3e-07, "to within 3e-7"),
        (9.5e-7, "to within 1e-6"),
        (0.25, "to within 3e-1"),
    ],
)
def test_an_error_is_rounded_up_so_that_the_bound_is_true(error, said):
    assert bound(error) == said


MARKUP = ["*a*", "$x$", ":red[x]", "<b>", "![i](u)", "a_b", "`c`", "\\", "**", "a\\*b"]


@pytest.mark.parametrize("text", MARKUP)
def test_nothing_typed_becomes_markup(text):
    assert re.sub(r"\\(.)|\u2060", r"\1", escaped(text)) == text
    assert plain(escaped(text)) == text
    assert all(
        c.isalnum() or escaped(text)[i - 1] == "\\" or c in "\\\u2060"
        for i, c in enumerate(escaped(text))
    )


@pytest.mark.parametrize("text", [*MARKUP, "[CLS]", "##ing"])
def test_a_sentence_without_its_markup_holds_what_was_typed(text):
    assert plain(f"{token(text)} gives **3**") == f"{text} gives 3"


# The page's Markdown makes these into a link, an icon, an arrow, however they are escaped.
@pytest.mark.parametrize(
    ("text", "parted"),
    [
        ("https://a.b/c", "https:|//a.b/c"),
        ("WWW.a.b", "WWW|.a.b"),
        ("www", "www|"),  # what is said of it may go on with a full stop
        ("a@b.c", "a@|b.c"),
        (":material_x:", ":|material_x:"),
        (":+1:", ":|+1:"),
        ("<->", "<|-|>"),
        ("a -- b >= c ~= d", "a -|- b >|= c ~|= d"),
    ],
)
def test_what_is_read_again_after_the_markup_is_parted_unseen(text, parted):
    assert re.sub(r"\\(.)", r"\1", escaped(text)) == parted.replace("|", "\u2060")
    assert plain(escaped(text)) == text


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(0, "0 kB"), (999_400, "999 kB"), (999_600, "1 MB"), (548e6, "548 MB"), (999.4e6, "999 MB"),
     (999.6e6, "1.0 GB"), (16.06e9, "16.1 GB")],
)  # fmt: skip
def test_sizes_are_decimal_and_change_their_unit_where_they_round_up(n_bytes, said):
    assert size(n_bytes) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 second"), (1.4, "1 second"), (9, "9 seconds"), (12, "10 seconds"),
     (88, "90 seconds"), (200, "about 3 minutes"), (7200, "about 2 hours")],
)  # fmt: skip
def test_durations_are_as_one_would_say_them(seconds, said):
    assert duration(seconds) == said
