"""Which backend keeps the state of a run's code, as Terraform and OpenTofu themselves say it.

Stackhook's own block is an ordinary file next to the code's files, not an override file: a second
backend is an error then. What an override file of the code replaces it with is found in what
`init` stored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stacks.execution.tools.terraform import read_json

# It comes before most names, so that where two backends are named the tool asks ours, if any.
STEM = "00_stackhook_backend"
FILE = f"{STEM}.tf"
BLOCK = b'terraform {\n  backend "http" {}\n}\n'
# Where `init` stores the backend, below TF_DATA_DIR.
STORED = "terraform.tfstate"
# They keep the state next to the code, or in memory: it is lost with the run.
LOSE_STATE = {"local", "inmem"}
# Further settings of our backend, besides those of the run's environment; unset, they are these.
DEFAULTS = {
    "update_method": "POST",
    "lock_method": "LOCK",
    "unlock_method": "UNLOCK",
    "retry_max": 2,
    "retry_wait_min": 1,
    "retry_wait_max": 30,
}
NAMED_TWICE = re.compile(r"duplicate backend|both a backend and (a )?cloud", re.IGNORECASE)
# A block within a block of one line, which no tool accepts: it still names a backend.
ON_ONE_LINE = re.compile(r'define argument "(backend|cloud)"')
NAMED_AT = re.compile(r"configured at (.+?):\d+,\d+")


@dataclass(frozen=True)
class StoredBackend:
    """The backend that `init` stored: its type, and what the code sets of it."""

    type: str
    config: Mapping[str, Any]

    def is_ours(self, environment: Mapping[str, str]) -> bool:
        """Say whether it is the `http` backend of a run's environment, in every setting.

        With another method, for example, it would store no state, without an error.
        """
        return self.type == "http" and all(
            value
            in (None, "", False, DEFAULTS.get(name), environment.get(f"TF_HTTP_{name.upper()}"))
            for name, value in self.config.items()
        )


def read_stored(content: bytes) -> StoredBackend | None:
    """Return the backend of what `init` stored; None if the code names none."""
    try:
        backend = read_json(content)["backend"]
        return StoredBackend(str(backend["type"]), dict(backend["config"] or {}))
    except (ValueError, KeyError, TypeError):
        return None


def named_beside_ours(diagnostics: bytes) -> str | None:
    """Return the file that names another backend than ours, as `validate -json` says; None if none.

    The summaries are in internal/configs/module.go of both tools, that of one line in their HCL
    parser. Empty where the file is unknown.
    """
    try:
        found = read_json(diagnostics)["diagnostics"]
        about_backend = [one for one in found if _is_about_backend(one)]
        if not about_backend:
            return None
        files = [one["range"]["filename"] for one in about_backend if one.get("range")]
        files += [file for one in about_backend for file in NAMED_AT.findall(one.get("detail", ""))]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return next((str(file) for file in files if file != FILE), "")


def _is_about_backend(diagnostic: dict[str, Any]) -> bool:
    if NAMED_TWICE.match(diagnostic["summary"]):
        return True
    is_in_terraform = (diagnostic.get("snippet") or {}).get("context") == "terraform"
    return is_in_terraform and bool(ON_ONE_LINE.search(diagnostic.get("detail", "")))
