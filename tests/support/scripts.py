"""A word each in scripts that the fonts of packages.txt have, and pictures."""

import os

import pytest

from attnviz.export import fonts

WORDS = ("flies", "ж", "時間", "バナナ", "시간", "كتاب", "שלום", "हिन्दी", "ภาษา", "wᵢⱼ⊙", "🍌", "❤️")

needs_fonts = pytest.mark.skipif(
    bool(fonts.missing("".join(WORDS))) and not os.environ.get("ATTNVIZ_REQUIRE_BROWSER"),
    reason="needs the fonts that packages.txt names",
)
