"""Taking events in: what they mean for each stack is decided and stored in one transaction.

`vcs_integrations.processing` hands deliveries over, `stacks.reconciliation` what it found.
Where a decision needs something from the provider, the transaction is given up, that is
read, and all begins anew.
"""

from collections.abc import Sequence

from django.db import IntegrityError, transaction

from stacks.facts import Facts, NotRead
from stacks.models import Decision, Stack
from stacks.pull_requests import Outdated, take_pull_request
from stacks.pushes import take_push
from vcs_integrations.events import (
    Event,
    PullRequestChanged,
    PushAnnounced,
    RefChanged,
    Unspecified,
)
from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.providers.base import Outcome

# How often other workers may be faster before it is put off.
ATTEMPTS = 20


def take_in_delivery(delivery: Delivery, events: Sequence[Event], gives_up: bool) -> None:
    """Take in a delivery's events and settle it. Raises ProviderError, having stored nothing.

    With `gives_up` what can't be read from the provider now is taken for unknown.
    """
    take_in(delivery.integration, events, delivery, gives_up=gives_up)


def take_in(
    integration: Integration,
    events: Sequence[Event],
    delivery: Delivery | None = None,
    *,
    gives_up: bool = False,
) -> list[Decision]:
    """Decide what events mean for an integration's stacks, and store that.

    Events without a delivery were found by a reconciliation. Raises ProviderError, having
    stored nothing, where something has to be read from the provider and can't be.
    """
    facts = Facts(integration, gives_up=gives_up)
    attempts = 0
    while True:
        try:
            with transaction.atomic():
                return _take_in(integration, events, delivery, facts)
        except NotRead as missing:
            missing.read()
        except (Outdated, IntegrityError):  # another worker was faster
            attempts += 1
            if attempts == ATTEMPTS:
                raise
            facts.forget_pull_requests()


def _take_in(
    integration: Integration, events: Sequence[Event], delivery: Delivery | None, facts: Facts
) -> list[Decision]:
    if delivery and not _is_waiting(delivery):  # another worker was faster, and is done
        return []
    decisions: list[Decision] = []
    is_unspecified = False
    for event in events:
        if isinstance(event, Unspecified):
            _hurry_reconciliation(integration, event)
            is_unspecified = True
        else:
            decisions += _take(integration, event, delivery, facts)
    if delivery:
        # What a replay decides takes the place of what was decided before.
        delivery.decisions.exclude(pk__in=[decision.pk for decision in decisions]).delete()
        _settle(delivery, decisions, is_unspecified)
    return decisions


def _take(
    integration: Integration,
    event: RefChanged | PushAnnounced | PullRequestChanged,
    delivery: Delivery | None,
    facts: Facts,
) -> list[Decision]:
    """Take one event in, for every stack of its repository."""
    stacks = Stack.objects.of(integration).filter(repository__external_id=event.repository_id)
    # Held to the end: one worker at a time stores for a repository.
    held = Repository.objects.select_for_update().filter(
        integration=integration, external_id=event.repository_id
    )
    repository = held.first() if stacks.exists() else None
    if repository is None:
        return []
    followers = list(stacks.with_repository())
    if isinstance(event, PullRequestChanged):
        return take_pull_request(repository, followers, event, delivery, facts)
    changes = facts.refs_of(event) if isinstance(event, PushAnnounced) else [event]
    return [
        decision
        for change in changes
        for stack in followers
        if (decision := take_push(stack, change, delivery, facts))
    ]


def _hurry_reconciliation(integration: Integration, event: Unspecified) -> None:
    """Have the repositories read in which something happened that the event does not tell."""
    repositories = integration.repositories.all()
    if event.repository_id:
        repositories = repositories.filter(external_id=event.repository_id)
    else:
        repositories = repositories.filter(project_id=event.project_id)
    repositories.hurry()


def _is_waiting(delivery: Delivery) -> bool:
    return Delivery.objects.waiting().select_for_update().filter(pk=delivery.pk).exists()


def _settle(delivery: Delivery, decisions: Sequence[Decision], is_unspecified: bool) -> None:
    """Note on the delivery what became of it, in short."""
    runs = [decision.run for decision in decisions if decision.run]
    if len(runs) == 1:
        delivery.settle(Outcome.RUN, f"{runs[0]} of {runs[0].stack.name}")
    elif runs:
        delivery.settle(Outcome.RUN, f"{len(runs)} runs")
    elif len(decisions) == 1:
        delivery.settle(Outcome.NO_RUN, decisions[0].sentence)
    elif decisions:
        delivery.settle(Outcome.NO_RUN, f"Decided {len(decisions)} times: no run")
    elif is_unspecified:
        delivery.settle(Outcome.NO_RUN, "It tells no details: the repositories are read instead")
    else:
        delivery.settle(Outcome.NO_RUN, "No stack uses this repository")
