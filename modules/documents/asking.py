"""Asking a program of its own what it reads in files that are anybody's.

The parsers are written in Python: a hostile file may keep them busy, use their memory or exceed
their recursion. So they run bounded, and with nothing secret in reach.
"""

import json
import subprocess
import sys
from typing import Any

from django.conf import settings

from core import bounded_json

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
SECONDS = 60
MEMORY = 1024 * 1024 * 1024
LARGEST_ANSWER = 4 * 1024 * 1024  # bytes
MOST_PARTS = 200_000


def ask(program: str, question: Any) -> Any:
    """Return what a program prints as JSON that is given JSON; None if it exceeded its limits.

    `program` is the name of its module.
    """
    limits = ["prlimit", f"--as={MEMORY}", f"--cpu={SECONDS}", "--"]
    try:
        child = subprocess.run(
            [*limits, sys.executable, "-m", program],
            cwd=settings.BASE_DIR,
            env={"PATH": SYSTEM_PATH},
            input=json.dumps(question).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10 * SECONDS,
            check=True,
        )
        if len(child.stdout) > LARGEST_ANSWER:
            return None
        return bounded_json.loads(child.stdout, MOST_PARTS)
    except (subprocess.SubprocessError, ValueError):
        return None
