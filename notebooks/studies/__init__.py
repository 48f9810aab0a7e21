"""The study of each notebook, under its number: what one point of it measures, and its figures.

Functions that end in _row or _rows measure: plain dicts for `Results.record`. Those in FIGURES draw
the table of the same name from the results alone, and their docstrings are the captions.
"""
