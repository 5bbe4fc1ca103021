"""Starting runs, and ending those that newer code or a closed pull request makes needless.

All of it happens in a transaction that has locked the repository, so that no two workers
start runs of one repository at once; the database's constraints stand behind that.
"""

from dataclasses import dataclass

from django.db.models import Max, Q

from stacks.models import PullRequest, Run, Stack
from stacks.models.run import RunQuerySet
from stacks.rules.states import ENDED, Kind, State
from vcs_integrations.providers.events import RemoteCommit


@dataclass(frozen=True)
class Source:
    """Where the commit of a run came from: a branch, and the push or iteration that brought it."""

    branch: str
    push_id: int | None = None
    pull_request: PullRequest | None = None
    iteration: int | None = None


def start_tracked(
    stack: Stack, commit: RemoteCommit, source: Source, *, note: str, is_reconciled: bool
) -> Run:
    """Start a run of the tracked branch; one that comes late is recorded as superseded."""
    others = _runs(stack, Kind.TRACKED).filter(branch=source.branch[:500])
    is_late = others.filter(push_id__gt=source.push_id).exists()
    if not is_late:
        others.filter(push_id__lt=source.push_id).move_to(State.SUPERSEDED)
        Stack.objects.filter(pk=stack.pk).plan_again_once_quiet()
    state = State.SUPERSEDED if is_late else State.QUEUED
    return _create(stack, Kind.TRACKED, state, commit, source, note, is_reconciled)


def start_proposed(
    stack: Stack,
    commit: RemoteCommit,
    source: Source,
    *,
    note: str,
    is_reconciled: bool,
    ends_as: State | None = None,
) -> Run:
    """Start a run of proposed code; one that comes late is recorded as superseded.

    With `ends_as` it is only recorded, in that state: nobody needs it any more.
    """
    is_late = _runs(stack, Kind.PROPOSED).filter(_of_same_source(source, "gt")).exists()
    if not is_late:
        supersede_older(stack, source)
    state = ends_as or (State.SUPERSEDED if is_late else State.QUEUED)
    return _create(stack, Kind.PROPOSED, state, commit, source, note, is_reconciled)


def repeat(run: Run, *, note: str = "") -> Run:
    """Start a run of the same commit once more."""
    return Run.objects.create(
        stack=run.stack,
        number=_next_number(run.stack),
        kind=run.kind,
        repository_id=run.repository_id,
        sha=run.sha,
        message=run.message,
        author=run.author,
        branch=run.branch,
        push_id=run.push_id,
        pull_request=run.pull_request,
        iteration=run.iteration,
        repeats=run,
        note=note[:500],
    )


def supersede_older(stack: Stack, source: Source) -> None:
    """End the proposed runs of older code of the same branch or pull request."""
    older = _runs(stack, Kind.PROPOSED).filter(_of_same_source(source, "lt"))
    _end(older, State.SUPERSEDED, moved=source.branch)


def cancel_proposed(stack: Stack, pull_request: PullRequest) -> None:
    """End the proposed runs of a pull request that ended."""
    runs = _runs(stack, Kind.PROPOSED).filter(pull_request=pull_request)
    _end(runs, State.CANCELED, moved="")


def tie_to_push(run: Run, branch: str, push_id: int) -> None:
    """Note that a push brought the commit of a run to its branch, perhaps once more."""
    if run.branch == branch and not (run.pull_request and run.pull_request.is_from_fork):
        run.push_id = max(run.push_id or 0, push_id)
        run.save(update_fields=["push_id"])


def tie_to_pull_request(run: Run, pull_request: PullRequest, iteration: int) -> None:
    """Note which iteration has the commit of a run, unless it is another pull request's."""
    if run.pull_request_id in {None, pull_request.pk}:
        run.pull_request = pull_request
        run.iteration = max(run.iteration or 0, iteration)
        run.save(update_fields=["pull_request", "iteration"])


def _runs(stack: Stack, kind: Kind) -> RunQuerySet:
    return Run.objects.filter(stack=stack, kind=kind, repository_id=stack.repository_id)


def _of_same_source(source: Source, comparison: str) -> Q:
    """Match runs of the same branch or pull request that are newer ("gt") or older ("lt")."""
    same = Q(pk__in=[])
    if source.push_id is not None:
        same |= Q(branch=source.branch[:500], **{f"push_id__{comparison}": source.push_id})
    if source.pull_request and source.iteration is not None:
        iteration = {f"iteration__{comparison}": source.iteration}
        same |= Q(pull_request=source.pull_request, **iteration)
    return same


def _end(runs: RunQuerySet, state: State, *, moved: str) -> None:
    """End runs, except those whose commit another pull request proposes: they are its own now.

    Those of the branch that moved propose another commit by now, also if none was read of them.
    """
    needless = []
    for run in runs.exclude(state__in=ENDED).select_related("stack"):
        active = PullRequest.objects.filter(
            repository_id=run.repository_id, target_branch=run.stack.branch, status="active"
        )
        of_moved = Q(source_branch=moved[:500], is_from_fork=False)
        proposing = active.filter(source_sha=run.sha).exclude(of_moved).first()
        if proposing:
            run.pull_request, run.iteration = proposing, proposing.iteration
            run.save(update_fields=["pull_request", "iteration"])
        else:
            needless.append(run.pk)
    Run.objects.filter(pk__in=needless).move_to(state)


def _create(
    stack: Stack,
    kind: Kind,
    state: State,
    commit: RemoteCommit,
    source: Source,
    note: str,
    is_reconciled: bool,
) -> Run:
    return Run.objects.create(
        stack=stack,
        number=_next_number(stack),
        kind=kind,
        state=state,
        repository=stack.repository,
        sha=commit.sha,
        message=commit.title,
        author=commit.author[:255],
        branch=source.branch[:500],
        push_id=source.push_id,
        pull_request=source.pull_request,
        iteration=source.iteration,
        note=note[:500],
        is_reconciled=is_reconciled,
    )


def _next_number(stack: Stack) -> int:
    last: int = stack.runs.aggregate(number=Max("number"))["number"] or 0
    return last + 1
