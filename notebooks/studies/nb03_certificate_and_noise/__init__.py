"""The bound term by term; where it says something; a network whose constants are all proved;
every forget set of a tiny problem (Theorems 2.3, 3.4, 3.6).

bound        from the bound to (epsilon, delta): one function a table
exhaustion   the largest real error over every small forget set
figures      drawn from results.json
"""

from .figures import FIGURES as FIGURES
