"""The only loader: a model from the installed package, a folder or the Hub."""
