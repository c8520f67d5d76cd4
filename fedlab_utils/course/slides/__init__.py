"""Slides: each chapter's story for a projector, made from its executed notebook by `make slides`."""
