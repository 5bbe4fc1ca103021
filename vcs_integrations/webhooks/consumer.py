"""What processing asks of those above it: to decide what deliveries mean.

`stacks.apps` registers `stacks.deciding.intake.Batch`.
"""

from collections.abc import Callable, Sequence
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


# Begins a batch: for an organization and the provider's id of a repository, empty where the
# deliveries name none.
Consumer = Callable[[Integration, str], Batch]
_consumers: list[Consumer] = []


def register(consumer: Consumer) -> None:
    """Have `consumer` decide on all deliveries."""
    _consumers[:] = [consumer]


def begin_batch(integration: Integration, repository_id: str) -> Batch:
    """Begin a batch of deliveries."""
    [consumer] = _consumers
    return consumer(integration, repository_id)
