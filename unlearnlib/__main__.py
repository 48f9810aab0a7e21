"""python -m unlearnlib: the same as the command `unlearnlib`."""

import sys

from .command.main import main

sys.exit(main())
