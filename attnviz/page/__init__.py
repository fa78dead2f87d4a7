"""The Streamlit page, one part of it a file."""

from attnviz.page.service import process  # noqa: F401  what it sets is for all that is imported after it
