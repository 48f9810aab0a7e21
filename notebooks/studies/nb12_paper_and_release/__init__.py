"""Fourteen differences between the paper and its released code, each turned on alone.

switches   the differences by name, and the rows of all of them
steps, training, scoring   what each does instead of the paper's reading
outcome    what a request ends in, and the row that is read off it
changes    how far each switch moves each score
figures    drawn from results.json
"""

from .figures import FIGURES as FIGURES
