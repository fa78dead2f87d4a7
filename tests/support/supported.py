"""The list of supported architectures in the documents, made from what the coverage found."""

import json

import transformers

from tests.support.places import DATA, ROOT

FOUND = DATA / "architectures.json"  # each type, and how it is captured
DOCUMENT = ROOT / "docs" / "supported-models.md"
BEGIN, END = "<!-- supported: begin -->\n", "<!-- supported: end -->\n"

EXACT = {
    "observed": "watching their own eager attention function",
    "traced": "reading the operations of attention that they write by hand",
    "observed and traced": "both, in different parts",
}


def found() -> dict[str, str]:
    """Every type under the way it is captured: one of EXACT, "in part", "refused", "nothing"."""
    return json.loads(FOUND.read_text())


def part_of_document(ways: dict[str, str], reasons: dict[str, str]) -> str:
    """The list, as it stands between the two markers."""
    n_exact = sum(way in EXACT for way in ways.values())
    n_nothing = sum(way == "nothing" for way in ways.values())
    version = transformers.__version__
    lines = [
        f"Of the {len(ways)} model types of transformers {version} that read text, {n_exact} are",
        "exact in every layer and head, in tiny random models with sharp attention, without",
        f"padding and with it on either side; {n_nothing} have no softmax attention, and attnviz",
        "says so.",
        "",
    ]
    for way, how in EXACT.items():
        lines += [f"Exact, by {how} ({_count(ways, way)}): {_names(ways, way)}.", ""]
    for name, way in sorted(ways.items()):
        if way in ("in part", "refused"):
            lines += [f"Not all of {name}: {reasons[name]}.", ""]
    lines += [f"Without softmax attention ({n_nothing}): {_names(ways, 'nothing')}.", ""]
    return "\n".join([*lines, ""])


def write(ways: dict[str, str], reasons: dict[str, str]) -> None:
    FOUND.write_text(json.dumps(dict(sorted(ways.items())), indent=0) + "\n")
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(before + BEGIN + part_of_document(ways, reasons) + END + after)


def in_document() -> str:
    """What stands between the markers now."""
    return DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0]


def _count(ways: dict[str, str], wanted: str) -> int:
    return sum(way == wanted for way in ways.values())


def _names(ways: dict[str, str], wanted: str) -> str:
    return ", ".join(sorted(name for name, way in ways.items() if way == wanted))
