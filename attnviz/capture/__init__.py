"""One forward pass of a model, watched: query, key, value, mask and weights of every call."""
