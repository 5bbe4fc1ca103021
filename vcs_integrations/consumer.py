"""What this package asks of the one above it: to decide on deliveries, and for parts of pages.

`stacks.apps` registers `stacks.consumer`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from vcs_integrations.models import Delivery, Integration
from vcs_integrations.providers.base import Outcome
from vcs_integrations.providers.events import Hint


class NotYet(Exception):
    """A delivery should be processed again soon; the text says why, without a full stop."""


class Outdated(Exception):
    """What was read does not fit what is stored by now: it has to be read again."""


@dataclass(frozen=True)
class Settlement:
    """What processing a delivery came to, for its row."""

    outcome: Outcome
    reason: str = ""


class Batch(Protocol):
    """Deliveries about one repository that are decided on together."""

    def read(self, delivery: Delivery, events: Sequence[Hint], *, gives_up: bool) -> None:
        """Add a delivery, having read from the provider what deciding on it needs.

        With `gives_up` what can't be read now is taken for unknown. Raises ProviderError or
        NotYet; the delivery is not added then.
        """

    def decide(self) -> Sequence[Settlement]:
        """Store, within a transaction of the caller's, what the deliveries lead to.

        Returns what became of each, in their order. Raises Outdated.
        """


@dataclass(frozen=True)
class Part:
    """A part of a page: a template, and what it shows under the name `part`."""

    template: str
    context: Mapping[str, object]


class Consumer(Protocol):
    """What uses the linked organizations."""

    def begin_batch(self, integration: Integration, repository_id: str) -> Batch:
        """Begin a batch of an organization's deliveries.

        `repository_id` is the provider's, and empty where the deliveries name none.
        """

    def decisions_on(self, delivery: Delivery) -> Part | None:
        """Return the decisions that a delivery led to; None where it led to none."""

    def dependents_of(self, integration: Integration) -> Part:
        """Return what unlinking an integration would detach."""

    def backlogs_of(self, integrations: Sequence[Integration]) -> Mapping[int, Part]:
        """Return what waits to be reported, for each integration by its key, with one query.

        A part is an entry of a description list.
        """


_consumers: list[Consumer] = []


def register(one: Consumer) -> None:
    """Have `one` asked from now on."""
    _consumers[:] = [one]


def consumer() -> Consumer:
    """Return the one that is registered."""
    [one] = _consumers
    return one
