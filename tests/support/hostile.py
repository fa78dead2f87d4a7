"""What a visitor may type or put into a link to break the page, drawn at random but repeatably.

`cases` runs a test on so many of them and counts; `pieces_of` takes Markdown apart as the page.
"""

import functools
import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import attnviz
from attnviz.text.characters import shown

DECLARED: dict[str, int] = {}  # how many cases the whole run has, by test

SNIPPETS = (
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<b>", "<!--"),
    *("]]>", "&lt;", "&", "[x](javascript:alert(1))", "[x]: http://evil.example"),
    *("![i](http://evil.example/i.png)", "http://evil.example/", "<http://evil.example>"),
    *("www.evil.example", "www", "a@evil.example", "://evil.example", "file:///etc/passwd"),
    *("**b**", "*i*", "*", "_", "__", "~~s~~", "`c`", "```", "# h", "- l", "1. l", "> q"),
    *("| a | b |", "---", "$x^2$", "$$", "\\(", "\\[x\\]", "\\frac{1}{2}", "\\", "\\\\", "\\*"),
    *(":red[x]", ":red-badge[x]", ":material/home:", ":material_home:", ":streamlit:"),
    *(":smile:", ":+1:", ":small[", "]", "::x", ":::", "->", "<-", "<->", "--", " -- ", ">="),
    *("datum.value", "scores_rows[datum.value]", "${x}", "{{7*7}}", "{x}", "%s", '"', "'"),
    *("'+alert(2)+'", "' OR 1=1 --", "; ls", "../../etc/passwd", "C:\\x", "__proto__"),
    *("\x00", "\n", "\r\n", "\t", "\x1b[31m", "\u202e", "\u2066", "\u200b", "\u200d", "\ufeff"),
    *("\u2060", "\u3164", "\u2028", "\ufffe", "\U000e0041", "e\u0301\u0301", "שלום", "日本"),
    *("😀", "\U0001f3f3\ufe0f\u200d\U0001f308", "w" * 300, "\ufdfa" * 30, "a" * 5_000),
    *("##", "[CLS]", "[SEP]", "</s>", "<U+0000>", "<0x41>", "␣", "▁", "sink"),
    *("mean of all queries", "null", "undefined", "NaN", "true", "constructor", "-1", "1e999"),
)
# Halves of pairs among them, which cannot cross the network.
ANY_CHARACTER = st.characters(exclude_categories=())
CHARACTER = st.characters(exclude_categories=("Cs",))


def texts(character: st.SearchStrategy = ANY_CHARACTER, max_size: int = 30) -> st.SearchStrategy:
    """Any text; what means something to some reader of it; and both in a row."""
    snippet = st.sampled_from(SNIPPETS)
    part = st.one_of(snippet, st.text(character, max_size=max_size))
    return st.one_of(part, st.lists(part, min_size=2, max_size=4).map("".join))


def labels(character: st.SearchStrategy = ANY_CHARACTER) -> st.SearchStrategy:
    """What tokens may be called on the page."""
    return texts(character, 8).map(lambda text: shown(text[:40]).replace(" ", "␣") or "␣")


@functools.cache
def bundled():
    """The bundled model, its tokenizer, and a trace; not arguments, which a failure prints."""
    model, tokenizer = attnviz.load()
    return model, tokenizer, attnviz.trace(model, tokenizer, "time flies like an arrow")


def cases(n: int, **drawn: st.SearchStrategy):
    """Run a test on n drawn cases, the same in every run, and see that it was as many.

    That is in the whole run; every day it is a twentieth of them.
    """
    is_whole = settings.get_current_profile_name() == "whole"
    n_run = n if is_whole else max(3, n // 20)

    def decorate(test):
        DECLARED[test.__name__] = n
        n_done = 0

        @functools.wraps(test)
        def counted(*args, **kwargs):
            nonlocal n_done
            n_done += 1
            test(*args, **kwargs)

        repeated = settings(
            max_examples=n_run,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],  # making a failure smaller takes minutes
            suppress_health_check=list(HealthCheck),
        )(given(**drawn)(counted))

        @pytest.mark.cases
        @functools.wraps(repeated)
        def whole(*args, **kwargs):
            nonlocal n_done
            n_done = 0
            repeated(*args, **kwargs)
            assert n_done >= n_run

        return whole

    return decorate


# Markdown, as the page reads it: CommonMark, and then once more the text that is left.

JOINER = "\u2060"  # parts what would be read together, and draws nothing
_PARSER = MarkdownIt("commonmark").enable(["strikethrough", "table"])
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
# Formulas and directives are found before CommonMark is, a backslash before their first sign apart.
_MATH = re.compile(r"(?<!\$)(\${1,2})(?!\$)(.+?)(?<!\$)\1(?!\$)", re.DOTALL)
_DIRECTIVE = re.compile(r":{1,3}[a-zA-Z][\w-]*[\[{]|:material/\w+:")
# What the page makes of plain text, as its script has it.
_READ_TWICE = re.compile(
    r"(https?://|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+(\.[-\w]+)+|:material_\w+:|:streamlit:"
    r"|:[-+\w]+:|(^|(?<=\s))(<->|->|<-|--|>=|<=|~=)(?=\s|$)",
    re.IGNORECASE | re.ASCII,
)
_PLAIN = {"text", "softbreak", "paragraph_open", "paragraph_close", "inline"}


def pieces_of(markdown: str) -> Iterator[tuple[str, str]]:
    """What Markdown holds: its text, each italic run, and every other piece of markup there is."""
    unescaped = _ESCAPED.sub("", markdown)
    yield from (("math", re.sub(r"\d+", "n", found.group())) for found in _MATH.finditer(unescaped))
    yield from (("directive", found) for found in _DIRECTIVE.findall(unescaped))
    without = _MATH.sub("", _DIRECTIVE.sub("", markdown)) if "$" in unescaped else markdown
    text, italic = "", None
    for block in _PARSER.parse(without):
        for token in [block, *(block.children or [])]:
            if token.type == "em_open":
                italic = ""
            elif token.type == "em_close":
                yield "italic", (italic or "").replace(JOINER, "")
                italic = None
            elif token.type == "text":
                text += token.content
                italic = None if italic is None else italic + token.content
                for found in _READ_TWICE.finditer(token.content):
                    yield "read twice", found.group()
            elif token.type == "softbreak":
                text += "\n"
            elif token.type not in _PLAIN:
                yield (
                    token.type,
                    str(token.attrGet("href") or token.attrGet("src") or token.content),
                )
    yield "text", text.replace(JOINER, "")


def markup_of(markdown: str) -> set[tuple[str, str]]:
    """The same without the text."""
    return {piece for piece in pieces_of(markdown) if piece[0] != "text"}


def text_of(markdown: str) -> str:
    return next(text for kind, text in pieces_of(markdown) if kind == "text")
