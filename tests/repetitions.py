"""How often tests repeat what chance decides: seldom in `make test`, often in `make proof`."""

import os

TIMES = int(os.environ.get("REPETITIONS", "1"))


def repeated(count: int) -> int:
    """Return how often to do what `make test` does so many times."""
    return count * TIMES
