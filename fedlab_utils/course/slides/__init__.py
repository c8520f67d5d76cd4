"""Slides: each chapter's story for a projector, from its executed notebook, by `make slides`."""
