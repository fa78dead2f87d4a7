"""The figures of Effect: both bars of a token, and the colour of a head, by their numbers."""

import numpy as np
import pandas as pd
import pytest

import attnviz
from attnviz.charts.effect import effect_figure, pushing, sweep_figure
from tests.support.saying import both_of, sweep_of


def test_each_token_has_its_two_probabilities_and_the_followed_one_is_marked():
    table = both_of(("a", "b", "c"))
    table.attrs["token_id"] = 2
    figure = effect_figure(table)
    assert figure.constants["before"] == table["before"].tolist()
    assert figure.constants["after"] == table["after"].tolist()
    assert figure.constants["followed"] == 2
    assert "a 50.0\u00a0%, without it 10.0\u00a0%" in figure.description


def test_numbers_fit_behind_the_longest_bar():
    table = both_of()
    assert effect_figure(table).constants["end"] > 1.2 * table[["before", "after"]].to_numpy().max()


def test_colours_are_symmetric_around_no_change_and_rank_by_magnitude():
    table = sweep_of()
    constants = sweep_figure(table, 1, 2).constants
    largest = table["change"].abs().max()
    assert largest <= constants["limit"] <= 1.1 * largest
    place = constants["tile_rank"].index(1)
    assert abs(constants["tile_change"][place]) == largest
    framed = constants["framed"]
    assert (constants["tile_layer"][framed], constants["tile_head"][framed]) == (1, 2)


def test_heads_without_a_number_yet_are_left_blank_and_counted():
    table = sweep_of()
    table.loc[5:, ["change", "kl"]] = np.nan
    constants = sweep_figure(table).constants
    assert constants["tile_change"][5:] == [None] * 7
    assert constants["note"] == [
        "Bold numbers: rank by magnitude, 1 to 5; 5 of 12 heads are switched off so far"
    ]


def test_a_head_of_another_kind_is_framed_where_it_is_named():
    table = sweep_of(kinds=("encoder", "cross"))
    constants = sweep_figure(table, 0, 1, kind="cross").constants
    assert constants["row_names"][constants["tile_row"][constants["framed"]]] == "cross 0"
    first = sweep_figure(table, 0, 1).constants
    assert first["row_names"][first["tile_row"][first["framed"]]] == "encoder 0"


def test_heads_push_up_what_falls_without_them():
    table = sweep_of()
    up, down = pushing(table, 1, 3), pushing(table, -1, 3)
    assert up["change"].is_monotonic_increasing
    assert (up["change"] < 0).all()
    assert down["change"].iloc[0] == table["change"].max()


def test_another_table_is_refused():
    with pytest.raises(attnviz.InputError, match="no column 'before'"):
        attnviz.effect_view(pd.DataFrame({"token": ["a"], "id": [1]}))
    with pytest.raises(attnviz.InputError, match="has no rows"):
        attnviz.sweep_view(sweep_of().iloc[:0])


def test_a_thousand_heads_are_far_from_a_megabyte():
    """As many as those of GPT-2 in its largest size."""
    assert len(sweep_figure(sweep_of(48, 25)).chart().to_json()) < 200_000
