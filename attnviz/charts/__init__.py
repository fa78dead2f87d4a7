"""Results → Altair charts, one figure a file. Nothing here knows a model or a page."""
