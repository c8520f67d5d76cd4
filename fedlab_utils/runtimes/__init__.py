"""Adapters at the edge: the same model, data and weights on other frameworks' engines."""
