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
    """Where the commit of a run came from: a branch, and the push or revision that brought it."""

    branch: str
    position: int | None = None
    pull_request: PullRequest | None = None
    revision: int | None = None


class PushedRuns:
    """Runs that one transaction starts for a stack because of pushes, stored together.

    Of each branch only the newest push's is executed: the others are superseded already.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._runs: list[Run] = []
        self._newest: dict[tuple[Kind, str], int] = {}
        self._overtaken: dict[tuple[Kind, str], int] = {}

    def start(
        self, kind: Kind, commit: RemoteCommit, source: Source, *, note: str, is_reconciled: bool
    ) -> Run:
        """Start a run; one that comes late is recorded as superseded."""
        number = self._runs[-1].number + 1 if self._runs else _next_number(self._stack)
        run = _run(self._stack, number, kind, commit, source, note, is_reconciled)
        if (source.position or 0) < self._newest_push(kind, run.branch):
            run.state = State.SUPERSEDED
        else:
            self._overtake(kind, run.branch, source.position or 0)
        self._runs.append(run)
        return run

    def tie(self, run: Run, branch: str, position: int) -> None:
        """Note that a push brought the commit of a proposed run to its branch, perhaps once more.

        It supersedes older code of that branch.
        """
        if run.branch == branch and not (run.pull_request and run.pull_request.is_from_fork):
            run.position = max(run.position or 0, position)
            if run.pk:
                run.save(update_fields=["position"])
        self._overtake(Kind.PROPOSED, branch, position)

    def store(self) -> None:
        """Store the runs, and supersede older ones."""
        for (kind, branch), position in self._overtaken.items():
            if kind == Kind.PROPOSED:
                supersede_older(self._stack, Source(branch, position))
            else:
                older = _runs(self._stack, kind).filter(branch=branch, position__lt=position)
                older.move_to(State.SUPERSEDED)
                Stack.objects.filter(pk=self._stack.pk).plan_again_once_quiet()
        if self._runs:
            Run.objects.store(self._runs)

    def _newest_push(self, kind: Kind, branch: str) -> int:
        """Return the newest push of a branch that has a run, 0 without any."""
        if (kind, branch) not in self._newest:
            there = _runs(self._stack, kind).filter(branch=branch)
            self._newest[kind, branch] = there.aggregate(last=Max("position"))["last"] or 0
        return self._newest[kind, branch]

    def _overtake(self, kind: Kind, branch: str, position: int) -> None:
        for run in self._runs:
            if (run.kind, run.branch) == (kind, branch) and (run.position or 0) < position:
                run.state = State.SUPERSEDED
        self._newest[kind, branch] = max(position, self._newest_push(kind, branch))
        self._overtaken[kind, branch] = max(position, self._overtaken.get((kind, branch), 0))


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
    number = _next_number(stack)
    run = _run(stack, number, Kind.PROPOSED, commit, source, note, is_reconciled)
    run.state = ends_as or (State.SUPERSEDED if is_late else State.QUEUED)
    run.save()
    return run


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
        position=run.position,
        pull_request=run.pull_request,
        revision=run.revision,
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


def tie_to_pull_request(run: Run, pull_request: PullRequest, revision: int) -> None:
    """Note which revision has the commit of a run, unless it is another pull request's."""
    if run.pull_request_id in {None, pull_request.pk}:
        run.pull_request = pull_request
        run.revision = max(run.revision or 0, revision)
        run.save(update_fields=["pull_request", "revision"])


def _runs(stack: Stack, kind: Kind) -> RunQuerySet:
    return Run.objects.filter(stack=stack, kind=kind, repository_id=stack.repository_id)


def _of_same_source(source: Source, comparison: str) -> Q:
    """Match runs of the same branch or pull request that are newer ("gt") or older ("lt")."""
    same = Q(pk__in=[])
    if source.position is not None:
        same |= Q(branch=source.branch[:500], **{f"position__{comparison}": source.position})
    if source.pull_request and source.revision is not None:
        revision = {f"revision__{comparison}": source.revision}
        same |= Q(pull_request=source.pull_request, **revision)
    return same


def _end(runs: RunQuerySet, state: State, *, moved: str) -> None:
    """End runs, except those whose commit another pull request proposes: they are its own now.

    Those of the branch that moved propose another commit by now, also if none was read of them.
    """
    needless = []
    for run in runs.exclude(state__in=ENDED).select_related("stack"):
        of_moved = Q(source_branch=moved[:500], is_from_fork=False)
        open_now = PullRequest.objects.open_to(run.stack).exclude(of_moved)
        proposing = open_now.filter(source_sha=run.sha).first()
        if proposing:
            run.pull_request, run.revision = proposing, proposing.revision
            run.save(update_fields=["pull_request", "revision"])
        else:
            needless.append(run.pk)
    Run.objects.filter(pk__in=needless).move_to(state)


def _run(
    stack: Stack,
    number: int,
    kind: Kind,
    commit: RemoteCommit,
    source: Source,
    note: str,
    is_reconciled: bool,
) -> Run:
    return Run(
        stack=stack,
        number=number,
        kind=kind,
        repository=stack.repository,
        sha=commit.sha,
        message=commit.title,
        author=commit.author[:255],
        branch=source.branch[:500],
        position=source.position,
        pull_request=source.pull_request,
        revision=source.revision,
        note=note[:500],
        is_reconciled=is_reconciled,
    )


def _next_number(stack: Stack) -> int:
    last: int = stack.runs.aggregate(number=Max("number"))["number"] or 0
    return last + 1
