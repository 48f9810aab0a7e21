"""Thirteen differences between the paper and its released code, each turned on alone; and a
formula that is used beyond its proof.

switches    the differences by name, and the row that one of them gives
reading     the paper's reading of a request, which every switch changes a part of
steps, unsquared, noise, training, scoring   what each does instead
outcome     what a request ends in, and the scores that are read off it
changes     how far each switch moves each score
figures     drawn from results.json
"""

from .figures import FIGURES as FIGURES
