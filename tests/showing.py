"""What a run of the page shows: its charts, their constants, and its errors."""

import json


def charts(page):
    """The specifications of all charts on the page."""
    return [json.loads(element.proto.spec) for element in page.get("vega_lite_chart")]


def constants(page):
    return {
        p["name"]: p["value"]
        for chart in charts(page)
        for p in chart.get("params", [])
        if "value" in p
    }


def said(page):
    return [element.value for element in page.error]


def run(page):
    page.run()
    assert not page.exception
    assert not [sentence for sentence in said(page) if "not foreseen" in sentence]
    return page
