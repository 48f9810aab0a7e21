"""F1 and distance to retraining: seven methods, three pairs of data and network (main table).

scores    F1 of each method on three sets of images, against retraining; the paper's own cells
weights   how far from a retrained model each method's weights are
figures   drawn from results.json
"""

from .figures import FIGURES as FIGURES
