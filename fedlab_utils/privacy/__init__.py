"""Defences: differential privacy (chapter 06), secure aggregation (07), encryption (08).

Nothing is imported here: each sub-package stands alone.
"""
