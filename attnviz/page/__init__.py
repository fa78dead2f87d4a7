"""The Streamlit page, one part of it a file."""
