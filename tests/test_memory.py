"""The memory of a request grows by at most three times what its features do."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FEW, MANY, INPUTS = 10_000, 50_000, 500


def use(samples: int) -> tuple[int, int]:
    command = [sys.executable, str(TESTS / "memory.py"), str(samples), str(INPUTS)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=TESTS.parent)
    features, held = map(int, printed.stdout.split())
    assert features == 4 * samples * INPUTS
    return features, held


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux: it counts there")
def test_training_and_a_request_hold_at_most_three_times_the_features():
    """By two sizes, since the libraries hold two hundred megabytes whatever the data."""
    (few, held_for_few), (many, held_for_many) = use(FEW), use(MANY)
    assert held_for_many - held_for_few < 3 * (many - few)
