"""What a run of the page shows: its charts, their constants, and its errors."""

import json
import math

from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df


def charts(page):
    """The specifications of all charts on the page, with their numbers in their places."""
    return [_whole(element.proto) for element in page.get("vega_lite_chart")]


def constants(page):
    """Those of all charts on the page."""
    return {
        name: one
        for chart in charts(page)
        if "params" in chart
        for name, one in constants_of(chart).items()
    }


def constants_of(specification):
    """What a chart is sent beside its structure, by name."""
    return {p["name"]: p["value"] for p in specification["params"] if "value" in p}


def notes(page):
    """What the matrices' charts say above themselves; empty where every cell is drawn."""
    said = []
    for chart in charts(page):
        text = chart.get("title", {}).get("text")
        if isinstance(text, dict) and text["expr"].endswith("_note"):
            (note,) = [p["value"] for p in chart["params"] if p["name"] == text["expr"]]
            said.append(note)
    return said


def _whole(chart):
    """A chart's specification with the numbers that the page sends beside it."""
    specification = json.loads(chart.spec)
    for dataset in chart.datasets:
        if dataset.name == "numbers":
            column = convert_arrow_bytes_to_pandas_df(dataset.data.data)["v"]
            numbers = [_number(value) for value in column]
            for one in specification["params"]:
                if "numbers" in one.get("expr", "") and one["name"] != "numbers":
                    known = {"numbers": numbers, "slice": lambda whole, *ends: whole[slice(*ends)]}
                    one["value"] = eval(one.pop("expr"), known)
    return specification


def said(page):
    return [element.value for element in page.error]


def run(page):
    page.run()
    assert not page.exception
    assert not [sentence for sentence in said(page) if "not foreseen" in sentence]
    return page


def _number(value):
    """As JSON has it: a whole one without decimals, none for what is not there."""
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else value
