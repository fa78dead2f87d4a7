"""What a person leaves with: figures, pages, data and code of exactly what a screen shows."""

from attnviz.export.figures import save, to_pdf, to_png, to_svg
from attnviz.export.pages import to_html

__all__ = ["save", "to_html", "to_pdf", "to_png", "to_svg"]
