"""The page's entry: Streamlit runs it for each visitor, and again after everything they do."""

from attnviz.page.service import process

process.prepare()  # before what follows is imported

from attnviz.page import app

app.show()
