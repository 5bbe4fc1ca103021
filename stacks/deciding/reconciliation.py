"""Read from the provider what happened, so that nothing is missed, whatever webhooks do.

Only repositories that stacks use, or modules are in, are read: the pushes since the last one seen,
the tracked branches, and the pull requests that are open, new, or were open. Of a repository that
stacks use as a module, the pushes are read. What is found is decided like webhooks.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from django.db.models import Q
from django.utils import timezone

from core.leases import Keeping
from core.transactions import DATABASE_IS_AWAY
from stacks.deciding.intake import decide_events
from stacks.deciding.modules import followed_in
from stacks.deciding.older_pull_requests import count_older
from stacks.deciding.pull_requests import is_as_stored
from stacks.models import Decision, ModuleSource, Stack
from stacks.module_registry import Following, module_registry
from stacks.sources.heads import head_of_branch, note_head
from vcs_integrations.models import RECONCILE_EVERY, Repository
from vcs_integrations.providers.base import BACKGROUND, Client, ProviderError
from vcs_integrations.providers.events import (
    PullRequestChanged,
    PullRequestFacts,
    PullRequestStatus,
    Push,
    PushAnnounced,
)

logger = logging.getLogger(__name__)

# A dead worker's repositories are claimed by others after this.
LEASE = timedelta(minutes=1)
# After this many, about an hour, what the provider would say of a push counts as unknown.
WAITING_FAILURES = 10
RETRY_FIRST_AFTER = timedelta(seconds=30)


def reconcile_next() -> bool:
    """Reconcile one repository that is due; False if none is."""
    repository = Repository.objects.select_related("integration").claim_one(LEASE)
    if repository is None:
        return False
    try:
        with Keeping([repository], LEASE):
            reconcile(repository)
    except ProviderError as error:
        logger.warning("Reconciling %s has to wait: %s", repository, error.problem)
    except DATABASE_IS_AWAY:  # it is claimed again once the database recovers
        raise
    except Exception:  # a fault of ours must not hold up the other repositories
        logger.exception("Reconciling %s failed", repository)
        _retry_later(repository)
    return True


def reconcile(repository: Repository) -> list[Decision]:
    """Decide what happened in a repository since it was last read.

    Returns the decisions; raises ProviderError if something could not be read, having stored when
    to retry. What was decided until then stays.
    """
    stacks = list(Stack.objects.filter(repository=repository))
    here = (repository.integration, repository.external_id)
    followed, registered = followed_in(*here), module_registry().follow(*here)
    if not stacks and not followed and not registered:
        repository.release(None)
        return []
    try:
        client = repository.integration.client(BACKGROUND)
        decisions = [*_read_pushes(repository, _Since.of(stacks, followed, registered), client)]
        if stacks:
            _correct_heads(repository, client)
        if stacks or registered:
            decisions += _read_pull_requests(repository, stacks, registered, client)
            count_older(stacks)
    except ProviderError as error:
        _retry_later(repository, error)
        raise
    now = timezone.now()
    repository.release(now + RECONCILE_EVERY, reconciled_at=now)
    return decisions


@dataclass(frozen=True)
class _Since:
    """Since which push, or else which moment, a repository is read for the first time."""

    position: int
    moment: datetime

    @classmethod
    def of(
        cls, stacks: list[Stack], followed: list[ModuleSource], registered: Following | None
    ) -> "_Since":
        """Since the first stack or module follows the repository, or a run used it as a module."""
        used = [one.run.plan_started_at or one.run.created_at for one in followed]
        used += [registered.since] if registered else []
        positions = [stack.followed_position or 0 for stack in stacks]
        moment = min([*used, *(stack.followed_at for stack in stacks)])
        return cls(0 if used else min(positions), moment)


def _read_pushes(repository: Repository, since: _Since, client: Client) -> Iterator[Decision]:
    """Decide the pushes since the last one seen, the oldest first."""
    gives_up = repository.failures >= WAITING_FAILURES
    for push in reversed(_new_pushes(repository, since, client)):
        if not push.is_internal:
            announced = [PushAnnounced(push.repository_id, push.position)]
            yield from decide_events(
                repository.integration, push.changes or announced, client=client, gives_up=gives_up
            )
        # One by one, so that the next attempt continues where this one ended.
        not_seen = Repository.objects.filter(pk=repository.pk)
        pushed = {} if push.is_internal else {"pushed_at": push.pushed_at}
        not_seen.filter(Q(seen_position=None) | Q(seen_position__lt=push.position)).update(
            seen_position=push.position, failures=0, **pushed
        )
        repository.failures = 0


def _new_pushes(repository: Repository, since: _Since, client: Client) -> list[Push]:
    """Return the pushes that were not read before, the newest first."""
    seen = repository.seen_position
    if seen is None:
        seen = since.position
    pushes = client.pushes_since(repository.external_id, seen)
    if not seen:
        pushes = takewhile(
            lambda push: push.pushed_at is None or push.pushed_at >= since.moment, pushes
        )
    return list(pushes)


def _correct_heads(repository: Repository, client: Client) -> None:
    """Reread the heads that are not where their branches are, though no push says so."""
    followers = list(Stack.objects.filter(repository=repository).with_repository())
    for name in {stack.branch for stack in followers}:
        branch = client.branch(repository.external_id, name)
        sha = branch.sha if branch else ""
        wrong = [one for one in followers if one.branch == name and _known_head(one) != sha]
        if wrong:
            head = head_of_branch(client, repository.external_id, name)
            for stack in wrong:
                note_head(stack, head)


def _known_head(stack: Stack) -> str:
    return "" if stack.branch_gone_at else stack.head_sha


def _read_pull_requests(
    repository: Repository, stacks: list[Stack], registered: Following | None, client: Client
) -> Iterator[Decision]:
    """Decide the pull requests that are not as they were stored."""
    listed = {
        one.number: one for one in client.pull_requests(repository.external_id, open_only=True)
    }
    new = takewhile(
        lambda one: _is_new(repository, stacks, registered, one),
        client.pull_requests(repository.external_id, open_only=False),
    )
    listed |= {one.number: one for one in new}
    stored = {row.number: row for row in repository.pull_requests.filter(_open_or_in(listed))}
    for number in sorted(listed.keys() | stored.keys()):
        facts, row = listed.get(number), stored.get(number)
        if facts is None or row is None or not is_as_stored(row, facts):
            event = PullRequestChanged(repository.external_id, number, facts)
            yield from decide_events(repository.integration, [event], client=client)
    if listed:
        Repository.objects.filter(pk=repository.pk, seen_pull_request__lt=max(listed)).update(
            seen_pull_request=max(listed)
        )


def _is_new(
    repository: Repository,
    stacks: list[Stack],
    registered: Following | None,
    one: PullRequestFacts,
) -> bool:
    """Say whether a pull request was created since the repository was last read."""
    if repository.seen_pull_request:
        return one.number > repository.seen_pull_request
    return one.created_at is None or one.created_at >= _followed_since(stacks, registered)


def _open_or_in(listed: Mapping[int, PullRequestFacts]) -> Q:
    return Q(status=PullRequestStatus.OPEN) | Q(number__in=list(listed))


def _followed_since(stacks: list[Stack], registered: Following | None) -> datetime:
    since = [stack.followed_at for stack in stacks]
    return min(since + ([registered.since] if registered else []))


def _retry_later(repository: Repository, error: ProviderError | None = None) -> None:
    """Retry soon, then less and less often, or when the provider says."""
    asked = error.retry_after if error else None
    repository.retry_later(RETRY_FIRST_AFTER, RECONCILE_EVERY, asked)
