"""What a person leaves with: figures, pages, data and code of exactly what a screen shows."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnviz.export.figures import save, to_pdf, to_png, to_svg
    from attnviz.export.pages import to_html

__all__ = ["save", "to_html", "to_pdf", "to_png", "to_svg"]


def __getattr__(name: str) -> Any:  # what a screen is made of needs none of these
    if name not in __all__:
        raise AttributeError(f"module 'attnviz.export' has no attribute {name!r}")
    home = "pages" if name == "to_html" else "figures"
    return getattr(import_module(f"attnviz.export.{home}"), name)
