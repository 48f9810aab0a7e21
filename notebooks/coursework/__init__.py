"""Assignments that grade themselves: one source each, from which student copies are made."""
