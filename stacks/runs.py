"""Starting runs, and ending those that newer code or a closed pull request makes needless.

All of it happens in a transaction that has locked the repository, so that no two workers
start runs of one repository at once; the database's constraints stand behind that.
"""

from dataclasses import dataclass

from django.db.models import Max, Q

from stacks.models import PullRequest, Run, Stack
from stacks.states import Kind, State
from vcs_integrations.events import RemoteCommit


@dataclass(frozen=True)
class Code:
    """The code that a run is to be of: its commit, and where that came from."""

    commit: RemoteCommit
    branch: str
    push_id: int | None = None
    pull_request: PullRequest | None = None
    iteration: int | None = None


def start_tracked(stack: Stack, code: Code, *, note: str, is_reconciled: bool) -> Run:
    """Start a run of the tracked branch; one that comes late is recorded as superseded."""
    others = stack.runs.filter(
        kind=Kind.TRACKED, repository_id=stack.repository_id, branch=code.branch[:500]
    )
    is_late = others.filter(push_id__gt=code.push_id).exists()
    if not is_late:
        others.filter(push_id__lt=code.push_id).move_to(State.SUPERSEDED)
    state = State.SUPERSEDED if is_late else State.QUEUED
    return _create(stack, Kind.TRACKED, state, code, note, is_reconciled)


def start_proposed(
    stack: Stack, code: Code, *, note: str, is_reconciled: bool, ends_as: State | None = None
) -> Run:
    """Start a run of proposed code; one that comes late is recorded as superseded.

    With `ends_as` it is only recorded, in that state: nobody needs it any more.
    """
    others = stack.runs.filter(kind=Kind.PROPOSED, repository_id=stack.repository_id)
    is_late = others.filter(_of_same_source(code, "gt")).exists()
    if not is_late:
        others.filter(_of_same_source(code, "lt")).move_to(State.SUPERSEDED)
    state = ends_as or (State.SUPERSEDED if is_late else State.QUEUED)
    return _create(stack, Kind.PROPOSED, state, code, note, is_reconciled)


def enrich(
    run: Run,
    *,
    push_id: int | None = None,
    pull_request: PullRequest | None = None,
    iteration: int | None = None,
) -> None:
    """Add to a run what a later event about the same commit tells."""
    if run.push_id is None:
        run.push_id = push_id
    if pull_request and run.pull_request_id in {None, pull_request.pk}:
        run.pull_request = pull_request
        run.iteration = max(run.iteration or 0, iteration or 0)
    run.save(update_fields=["push_id", "pull_request", "iteration"])


def cancel_unfinished(stack: Stack, pull_request: PullRequest) -> None:
    """Cancel the proposed runs of a pull request that nobody needs any more."""
    stack.runs.filter(kind=Kind.PROPOSED, pull_request=pull_request).move_to(State.CANCELED)


def _of_same_source(code: Code, comparison: str) -> Q:
    """Match runs of the same branch or pull request that are newer ("gt") or older ("lt")."""
    same = Q(pk__in=[])
    if code.push_id is not None:
        same |= Q(branch=code.branch[:500], **{f"push_id__{comparison}": code.push_id})
    if code.pull_request and code.iteration is not None:
        iteration = {f"iteration__{comparison}": code.iteration}
        same |= Q(pull_request=code.pull_request, **iteration)
    return same


def _create(
    stack: Stack, kind: Kind, state: State, code: Code, note: str, is_reconciled: bool
) -> Run:
    last = stack.runs.aggregate(number=Max("number"))["number"] or 0
    return Run.objects.create(
        stack=stack,
        number=last + 1,
        kind=kind,
        state=state,
        repository_id=stack.repository_id,
        sha=code.commit.sha,
        message=code.commit.title,
        author=code.commit.author[:255],
        branch=code.branch[:500],
        push_id=code.push_id,
        pull_request=code.pull_request,
        iteration=code.iteration,
        note=note[:500],
        is_reconciled=is_reconciled,
    )
