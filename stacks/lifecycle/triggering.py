"""Start a run that no push and no pull request brought.

A person, a schedule, or whatever else wants a run of a stack calls `trigger`. Decisions about code
don't know these runs: they neither take the place of a push's run nor are they reported.
"""

from collections.abc import Sequence

from django.db import transaction

from accounts.models import User
from stacks.lifecycle.approvals import names_of
from stacks.lifecycle.drift import applied_run
from stacks.lifecycle.starting import next_number
from stacks.models import Run, Stack
from stacks.rules.states import Kind, Operation, Origin, State
from vcs_integrations.models import Repository
from vcs_integrations.providers.events import RemoteCommit

NOTHING_APPLIED = "No run of this branch was applied yet, so there is nothing to compare with."


class NotTriggered(Exception):
    """A run that can't be started; the text says why, `run` is the one that is there already."""

    def __init__(self, because: str, *, run: Run | None = None) -> None:
        super().__init__(because)
        self.run = run


def commit_of(run: Run) -> RemoteCommit:
    """Return the commit of a run, to be run again."""
    written_by = tuple(run.written_by)
    return RemoteCommit(run.sha, run.message, run.author, None, written_by, run.pushed_by)


def head_of(stack: Stack) -> RemoteCommit:
    """Return the head of the tracked branch as it is stored."""
    return RemoteCommit(
        stack.head_sha,
        stack.head_message,
        stack.head_author,
        stack.head_authored_at,
        tuple(stack.head_written_by),
        stack.head_pushed_by,
    )


@transaction.atomic
def trigger(
    stack: Stack,
    kind: Kind,
    commit: RemoteCommit,
    *,
    origin: Origin,
    operation: Operation = Operation.APPLY,
    targets: Sequence[str] = (),
    replacements: Sequence[str] = (),
    person: User | None = None,
    branch: str = "",
    note: str = "",
) -> Run:
    """Start a run of a commit, which was read from the provider, and return it.

    A tracked run is of the head of the tracked branch as it is stored, and a drift run of the
    commit that was applied last; `branch` says where the commit of a proposed run is. `person` is
    who asked for it. Addresses have to be valid.

    Raises NotTriggered, also where the same run is queued already.
    """
    # As pushes are stored: no two start runs of one repository at once, and no head moves.
    Repository.objects.select_for_update().get(pk=stack.repository_id)
    repository = stack.repository_id
    stack.refresh_from_db(
        fields=["repository", "branch", "head_sha", "head_position", "branch_gone_at"]
    )
    if stack.repository_id != repository:
        raise NotTriggered("The stack follows another repository by now.")
    if stack.is_detached:
        raise NotTriggered("The stack is detached, so its runs wait. Attach it first.")
    if kind == Kind.TRACKED:
        _check_is_head(stack, commit)
    elif kind == Kind.DRIFT:
        _check_is_applied(stack, commit)
    run = Run(
        stack=stack,
        number=next_number(stack),
        kind=kind,
        repository=stack.repository,
        sha=commit.sha,
        message=commit.title,
        author=commit.author[:255],
        written_by=_written_by(commit, person),
        pushed_by=commit.pushed_by,
        branch=branch[:500] if kind == Kind.PROPOSED else stack.branch[:500],
        # The push that brought the head: a newer one supersedes the run.
        position=stack.head_position if kind == Kind.TRACKED else None,
        origin=origin,
        operation=operation,
        targets=list(targets),
        replacements=list(replacements),
        triggered_by=person,
        triggered_by_name=person.get_username() if person else "",
        note=note[:500],
    )
    if there := _same_that_waits(run):
        raise NotTriggered(f"{there} waits already, and does the same.", run=there)
    run.save()
    return run


def _written_by(commit: RemoteCommit, person: User | None) -> list[str]:
    """Return who wrote what a run does: the commit, and the person who chose what it does with it.

    As long as the former is unknown, so is the whole.
    """
    if not commit.written_by or person is None:
        return list(commit.written_by)
    return [*commit.written_by, *sorted(names_of(person))]


def _check_is_head(stack: Stack, commit: RemoteCommit) -> None:
    if stack.branch_gone_at:
        raise NotTriggered(f"The tracked branch {stack.branch} is gone.")
    if not stack.head_sha:
        raise NotTriggered(f"The head of {stack.branch} is not known yet.")
    if stack.head_sha != commit.sha:
        raise NotTriggered(f"{stack.branch} has a newer commit by now: {stack.head_sha[:8]}.")


def _check_is_applied(stack: Stack, commit: RemoteCommit) -> None:
    """Refuse any other code: it would find the secrets of tracked runs."""
    applied = applied_run(stack)
    if applied is None:
        raise NotTriggered(NOTHING_APPLIED)
    if applied.sha != commit.sha:
        raise NotTriggered(f"{applied} was applied by now, of commit {applied.sha[:8]}.")


def _same_that_waits(run: Run) -> Run | None:
    """Return the queued run that would do the same: pressing a button twice starts one."""
    if run.origin == Origin.IMPACT:
        return None
    queued = run.stack.runs.filter(
        kind=run.kind, state=State.QUEUED, sha=run.sha, operation=run.operation
    )
    # Those may plan a merge, or another module, instead.
    queued = queued.exclude(kind=Kind.PROPOSED, origin__in=[Origin.PUSH, Origin.IMPACT])
    same = (
        one for one in queued if (one.targets, one.replacements) == (run.targets, run.replacements)
    )
    return next(same, None)
