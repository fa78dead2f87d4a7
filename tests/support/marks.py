"""What a browser is sent of a chart, and the marks that it draws of it."""

import copy
import json
import re
import xml.etree.ElementTree as ElementTree

import vl_convert
from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df


def as_sent(chart):
    """A chart's specification with the datasets that are sent beside it, to be drawn as it is."""
    datasets = {
        dataset.name: convert_arrow_bytes_to_pandas_df(dataset.data.data)
        for dataset in chart.datasets
    }
    rows = {name: json.loads(table.to_json(orient="records")) for name, table in datasets.items()}
    return json.loads(chart.spec) | {"datasets": rows}


def groups(specification):
    """The drawn marks, group by group: the name of each, and its marks; no axes, no legends."""
    svg = ElementTree.fromstring(vl_convert.vegalite_to_svg(specification))
    for group in svg.iter():
        drawn = re.fullmatch(r"mark-(?!group)\w+ role-mark ?(\S*)", group.get("class") or "")
        if drawn:
            yield drawn[1], list(group)


def count(specification):
    """How many marks are drawn."""
    return _count(vl_convert.vegalite_to_scenegraph(specification)["scenegraph"])


def _count(part):
    """The marks of a scene, of one of its groups, or of what stands in it."""
    if part.get("marktype", "group") == "group":
        return sum(map(_count, part.get("items", [])))
    return len(part.get("items", [])) if part["role"] == "mark" else 0


def cells(matrix):
    """What each cell that is drawn of a matrix has: its row's name, its column's, its value."""
    matrix = copy.deepcopy(matrix)
    first = matrix["layer"][0]
    _, row, column, value, *_ = (one["as"] for one in matrix["transform"] if "calculate" in one)
    parts = ", ".join(f"datum['{name}']" for name in (row, column, value))
    first["mark"] |= {"aria": True, "description": {"expr": f"join([{parts}], '|')"}}
    _, drawn = next(groups(matrix))
    for cell in drawn:
        row, column, value = cell.get("aria-label").split("|")
        yield row, column, float(value)
