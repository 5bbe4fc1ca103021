"""Who depends on an integration: the one thing this package asks of those above it.

`stacks.apps` registers `stacks.models.stacks_depending_on`; the unlink page shows what it finds.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vcs_integrations.models import Integration


@dataclass(frozen=True)
class Dependents:
    """Things of one kind that an integration serves: how many, and the first of them."""

    kind: str
    count: int
    first: list[tuple[str, str]]  # name and address


Finder = Callable[[Integration], Dependents]
_finders: list[Finder] = []


def register(finder: Finder) -> None:
    """Have `finder` asked whenever somebody is about to unlink an integration."""
    _finders.append(finder)


def dependents_of(integration: Integration) -> list[Dependents]:
    """Return what unlinking an integration would detach."""
    found = [finder(integration) for finder in _finders]
    return [dependents for dependents in found if dependents.count]
