"""Reading from the provider what happened, so that nothing is missed, whatever webhooks do.

Only repositories that stacks use are read: the pushes since the last one seen, the tracked
branches, and the pull requests that are open, new, or were open. What is found goes the way
that webhooks go.
"""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import takewhile

from django.db import InterfaceError, OperationalError
from django.db.models import Q
from django.utils import timezone

from core.backoff import wait_after
from stacks.deciding.intake import take_in
from stacks.deciding.older_pull_requests import count_older
from stacks.deciding.pull_requests import is_as_stored
from stacks.models import Decision, Stack
from stacks.sources.heads import head_of_branch, note_head
from vcs_integrations.models import RECONCILE_EVERY, Repository
from vcs_integrations.providers.base import BACKGROUND, Client, ProviderError
from vcs_integrations.providers.events import (
    PullRequestChanged,
    PullRequestFacts,
    Push,
    PushAnnounced,
)

logger = logging.getLogger(__name__)

# A killed worker's repositories are taken up by others after this.
LEASE = timedelta(minutes=1)
# Then, after an hour, what the provider would tell of a push counts as unknown.
PATIENT_FAILURES = 10
RETRY_FIRST_AFTER = timedelta(seconds=30)


def reconcile_next() -> bool:
    """Reconcile one repository that is due; False where none is."""
    due = Repository.objects.due_for_reconciliation().order_by("reconcile_at")
    repository = due.select_related("integration").first()
    if repository is None:
        return False
    if _take(repository):
        try:
            reconcile(repository)
        except ProviderError as error:
            logger.warning("Reconciling %s has to wait: %s", repository, error.problem)
        except (OperationalError, InterfaceError):  # it is taken again once the database is well
            raise
        except Exception:  # a fault of ours must not hold up the other repositories
            logger.exception("Reconciling %s failed", repository)
            _postpone(repository)
    return True


def reconcile(repository: Repository) -> list[Decision]:
    """Take in what happened in a repository since it was last read.

    Returns what was decided; raises ProviderError where something could not be read, having
    noted when to try again. What was taken in until then stays.
    """
    stacks = list(Stack.objects.filter(repository=repository))
    if not stacks:
        Repository.objects.filter(pk=repository.pk, stacks=None).update(reconcile_at=None)
        return []
    try:
        client = repository.integration.client(BACKGROUND)
        decisions = [*_read_pushes(repository, stacks, client)]
        _correct_heads(repository, client)
        decisions += _read_pull_requests(repository, stacks, client)
        count_older(stacks)
    except ProviderError as error:
        _postpone(repository, error)
        raise
    _finish(repository, timezone.now() + RECONCILE_EVERY, failures=0)
    Repository.objects.filter(pk=repository.pk).update(reconciled_at=timezone.now())
    return decisions


def _take(repository: Repository) -> bool:
    """Take a repository, so that no other worker reads it meanwhile; False when one does."""
    free = Repository.objects.filter(pk=repository.pk, reconcile_lease=repository.reconcile_lease)
    return free.update(reconcile_lease=timezone.now() + LEASE) == 1


def _finish(repository: Repository, next_at: datetime, *, failures: int) -> None:
    """Note when to read a repository again, unless somebody asked for that meanwhile."""
    done = Repository.objects.filter(pk=repository.pk)
    done.filter(reconcile_at=repository.reconcile_at).update(reconcile_at=next_at)
    done.update(reconcile_lease=None, reconcile_failures=failures)


def _read_pushes(repository: Repository, stacks: list[Stack], client: Client) -> Iterator[Decision]:
    """Take in the pushes since the last one seen, the oldest first."""
    gives_up = repository.reconcile_failures >= PATIENT_FAILURES
    for push in reversed(_new_pushes(repository, stacks, client)):
        if not push.is_internal:
            announced = [PushAnnounced(push.repository_id, push.push_id)]
            yield from take_in(
                repository.integration, push.changes or announced, client=client, gives_up=gives_up
            )
        # One by one, so that whatever ends this goes on where it ended.
        not_seen = Repository.objects.filter(pk=repository.pk)
        pushed = {} if push.is_internal else {"pushed_at": push.pushed_at}
        not_seen.filter(Q(seen_push_id=None) | Q(seen_push_id__lt=push.push_id)).update(
            seen_push_id=push.push_id, reconcile_failures=0, **pushed
        )
        not_seen.exclude(reconcile_lease=None).update(reconcile_lease=timezone.now() + LEASE)


def _new_pushes(repository: Repository, stacks: list[Stack], client: Client) -> list[Push]:
    """Return the pushes that were not read before, the newest first."""
    seen = repository.seen_push_id
    if seen is None:  # the first time: since the first stack follows the repository
        seen = min(stack.followed_push_id or 0 for stack in stacks)
    pushes = client.pushes_since(repository.external_id, seen)
    since = _followed_since(stacks)
    if not seen:
        pushes = takewhile(lambda push: push.pushed_at is None or push.pushed_at >= since, pushes)
    return list(pushes)


def _correct_heads(repository: Repository, client: Client) -> None:
    """Read again the heads that are not where their branches are: no push told of it."""
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
    repository: Repository, stacks: list[Stack], client: Client
) -> Iterator[Decision]:
    """Take in the pull requests that are not as they were stored."""
    listed = {one.number: one for one in client.pull_requests(repository.external_id, "active")}
    new = takewhile(
        lambda one: _is_new(repository, stacks, one),
        client.pull_requests(repository.external_id, "all"),
    )
    listed |= {one.number: one for one in new}
    stored = {row.number: row for row in repository.pull_requests.filter(_open_or_in(listed))}
    for number in sorted(listed.keys() | stored.keys()):
        facts, row = listed.get(number), stored.get(number)
        if facts is None or row is None or not is_as_stored(row, facts):
            event = PullRequestChanged(repository.external_id, number, facts)
            yield from take_in(repository.integration, [event], client=client)
    if listed:
        Repository.objects.filter(pk=repository.pk, seen_pull_request__lt=max(listed)).update(
            seen_pull_request=max(listed)
        )


def _is_new(repository: Repository, stacks: list[Stack], one: PullRequestFacts) -> bool:
    """Say whether a pull request was created since the repository was last read."""
    if repository.seen_pull_request:
        return one.number > repository.seen_pull_request
    return one.created_at is None or one.created_at >= _followed_since(stacks)


def _open_or_in(listed: Mapping[int, PullRequestFacts]) -> Q:
    return Q(status="active") | Q(number__in=list(listed))


def _followed_since(stacks: list[Stack]) -> datetime:
    return min(stack.followed_at for stack in stacks)


def _postpone(repository: Repository, error: ProviderError | None = None) -> None:
    """Note when to try again: soon, then less and less often, or when the provider said."""
    failures = Repository.objects.get(pk=repository.pk).reconcile_failures + 1
    asked = error.retry_after if error else None
    wait = wait_after(failures - 1, RETRY_FIRST_AFTER, RECONCILE_EVERY, asked)
    _finish(repository, timezone.now() + wait, failures=failures)
