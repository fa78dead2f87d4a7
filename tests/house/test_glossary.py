"""Each term is one word everywhere: in what the package shows and refuses, README and docs."""

import ast
import re

import pytest

from attnviz.page.views.glossary import TERMS
from tests.support.places import ROOT

# A term of the page's glossary, and what else it could be called; regular expressions.
SYNONYMS = {
    "query": r"\basks with\b|\bsearch vector\b",
    "key": r"\b(can be|is) found by\b|\bis addressed by\b",
    "score": r"\battention scores?\b|\blogits? of the pair\b",
    "weight": r"\battention (probabilit|coefficient|value)",
    "update": r"\bcontext vectors?\b|\bmixed values?\b",
    "recomputed": r"\breplay",
    "magnitude": r"\bin (absolute )?size\b|\bfurthest from (0|zero)\b|\babsolute value",
    "renormalise": r"\bshared out\b|\bnormalised again\b",
    "piece": r"\bsub-?words?\b|\bword-?pieces?\b|\bpiece that goes on\b",
    "generative model": r"\bthat writes? text\b|\bwritten by the model\b|\bthe model writes\b",
    "rotary embedding": r"\b(turned|turns|turn) by\b|\brotary position",
    "projection": r"\bturns? x′ back\b",
    "mask": r"\bmasked out\b",
    "padding": r"\bfiller tokens?\b",
    "saturation": r"\bhardens?\b",
    "norm": r"\bL2 length\b|\bEuclidean length\b",
    "derivative": r"\bslopes?\b",
    "dimension": r"\b(components?|coordinates?) of (q|k|v|x)\b",
}
SYNONYMS |= {
    "log probability": r"\blog[- ]?likelihood\b|\blogprob",
    "ablation": r"\bknock(s|ed)?[- ]?out\b|\bhead pruning\b",
    "patching": r"\bcausal tracing\b|\binterchange intervention",
    "KL divergence": r"\brelative entropy\b|\bKL[- ]distance\b",
    "back-up head": r"\bback-?up heads? (?!\()|\bredundant heads?\b",
}
# Not terms of attention, yet one word each.
WORDS = {
    "selected": r"\b(head|token) (that is|which is) (open|chosen)\b|\bthe open head\b",
    "fix or change": r"\bmend",
    "x axis, y axis": r"\bAcross\b",
    "interactive": r"\banswers the pointer\b",
    "glossary": r"\bWords and sources\b",
    "is not a": r"\b(is|are) none\b(?! of)|(?<!here )\bis no (NPZ|JSON|model|table|array|pair)\b",
    "one … per …": r"\b(line|row|point|stripe|step|column)s? an? (head|query|key|screen|value)\b",
    "options": r"\bTo choose from\b",
}
EVERYWHERE = {**SYNONYMS, **WORDS}


def strings_of(source):
    """Every text in a program but its docstrings, f-strings with … for what is filled in."""
    tree = ast.parse(source)
    passed_over = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # a docstring, or a text that nothing reads
            passed_over.add(node.value)
        if isinstance(node, ast.JoinedStr):
            passed_over.update(node.values)
    for node in ast.walk(tree):
        if node in passed_over:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def shown_texts():
    """Where each text stands that a visitor or a reader can meet, and the text."""
    programs = [ROOT / "streamlit_app.py", *sorted((ROOT / "attnviz").rglob("*.py"))]
    for path in programs:
        for text in strings_of(path.read_text()):
            if " " in text.strip():
                yield str(path.relative_to(ROOT)), text
    for path in [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]:
        yield str(path.relative_to(ROOT)), " ".join(path.read_text().split())


def found(pattern, texts):
    """Where a synonym stands, with the words around it."""
    return [
        f"{where}: …{text[max(0, one.start() - 40) : one.end() + 40]}…"
        for where, text in texts
        for one in re.finditer(pattern, text)
    ]


@pytest.fixture(scope="module")
def texts():
    return list(shown_texts())


@pytest.mark.parametrize("term", EVERYWHERE)
def test_a_term_is_one_word_everywhere(term, texts):
    assert found(EVERYWHERE[term], texts) == []


def test_each_term_with_synonyms_is_in_the_pages_glossary():
    explained = {name.strip() for entry in TERMS for name in entry.split(",")}
    assert [term for term in SYNONYMS if term not in explained] == []


def test_a_synonym_is_found_in_a_string_an_f_string_and_a_hint_but_in_no_docstring():
    source = '''
def said(token):
    """What it asks with."""
    first = "the query asks " "with 3 numbers"
    return f"{token} asks with {len(token)} numbers"
'''
    where = [("here", text) for text in strings_of(source)]
    assert len(found(SYNONYMS["query"], where)) == 2


def test_the_words_of_the_page_the_shell_errors_and_documents_are_read(texts):
    for text in ("What if?", "The steps above stay unchanged.", "Enter a …", "attnviz TEXT [opt"):
        assert any(text in said for _, said in texts), text
    assert any(where == "README.md" for where, _ in texts)
