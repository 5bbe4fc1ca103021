"""The calls of modules in a plan's configuration."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

MOST = 1000
DEEPEST = 30


def constraints_of(plan: Mapping[str, Any]) -> dict[str, str]:
    """Return the constraint on the version of each module that a plan's code calls with one.

    By the names of the calls that lead to it, like “network.subnets” ("JSON Output Format",
    Configuration Representation).
    """
    configuration = plan.get("configuration")
    root = configuration.get("root_module") if isinstance(configuration, Mapping) else None
    return dict(islice(_constraints(root, "", 0), MOST))


def _constraints(module: Any, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    calls = module.get("module_calls") if isinstance(module, Mapping) else None
    if not isinstance(calls, Mapping) or depth == DEEPEST:
        return
    for name, call in calls.items():
        if not isinstance(call, Mapping):
            continue
        constraint = call.get("version_constraint")
        if isinstance(constraint, str) and constraint:
            yield f"{prefix}{name}", " ".join(constraint.split())
        yield from _constraints(call.get("module"), f"{prefix}{name}.", depth + 1)
