"""Attacks beside retraining, with what they can see; U-LiRA, KLoM and the challenge score
(membership table).

attacked   what attackers say of each method, and how far that is from retraining
shadows    many small models that forget, for the standards of the field
figures    drawn from results.json
"""

from .figures import FIGURES as FIGURES
