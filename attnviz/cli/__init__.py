"""attnviz from a terminal: a text and options in, files or a summary out."""
