"""What `make bench` measured: ours against the released code, curvlinops and retraining.

rows      from pytest-benchmark's report to results.json and to tables
scale     one request to ResNet-50 on ImageNet, estimated
figures   drawn from results.json
"""

from .figures import FIGURES as FIGURES
from .rows import scale_table, table

TABLES = {"bench": table, "scale": scale_table}
