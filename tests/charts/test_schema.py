"""Every kind of figure is what Vega-Lite's schema allows; elsewhere no structure is held to it."""

import pytest

from attnviz.charts.parts import figure
from attnviz.charts.row import row_chart
from tests.support.figures import FIGURES


@pytest.mark.parametrize("kind", FIGURES)
def test_every_kind_of_figure_follows_the_schema(kind, sentence_trace, monkeypatch):
    monkeypatch.setattr(figure, "IS_CHECKED", True)
    FIGURES[kind](sentence_trace, sentence_trace.head(0, 8)).to_dict(validate=True)


def test_what_the_schema_does_not_allow_is_noticed(sentence_trace):
    chart = row_chart(sentence_trace.head(0, 8), sentence_trace.head(0, 8).steps[0], 2).chart()
    chart.layer[0].mark = {"type": "rectangle"}
    with pytest.raises(Exception, match="rectangle"):
        chart.to_dict(validate=True)
