"""The study of each notebook, under its number: what one point of it measures, and its figures.

Functions that end in _row measure one point of a notebook's loop, as a dict for `Results.record`.
Those in FIGURES draw from the recorded tables alone, which they name in `results.table(...)`, and
their docstrings are the captions.
"""
