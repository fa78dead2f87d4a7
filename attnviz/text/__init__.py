"""Tokens, words, phrases and errors: all that people read. Imports no other room."""
