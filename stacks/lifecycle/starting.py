"""Start runs, and end those that newer code or a closed pull request makes needless.

All of it happens in a transaction that has locked the repository, so that no two workers
start runs of one repository at once; the database's constraints enforce it, too.
"""

from collections.abc import Collection, Iterable, Sequence
from itertools import cycle

from django.db.models import BigIntegerField, CharField, Max, Q, QuerySet

from accounts.models import User
from core.prepared import Given, Prepared
from stacks.models import ProposedModule, PullRequest, Run, RunSource, Stack
from stacks.models.run import Followed, RunQuerySet
from stacks.rules.states import ENDED, Kind, Origin, State
from vcs_integrations.providers.events import RemoteCommit

ACTIVE = sorted(set(State) - ENDED)
# Names of the runs that one prepared query asks about.
ASKED_AT_ONCE = [f"run_{number}" for number in range(20)]


class PushedRuns:
    """Runs that one transaction starts for a stack because of pushes, stored together."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._runs: list[Run] = []
        self._sources: list[RunSource] = []

    def start(
        self,
        kind: Kind,
        commit: RemoteCommit,
        branch: str,
        position: int,
        *,
        note: str,
        is_reconciled: bool,
    ) -> Run:
        """Start a run; one that comes late is stored as superseded."""
        number = self._runs[-1].number + 1 if self._runs else next_number(self._stack)
        run = _run(self._stack, number, kind, commit, branch, position, note, is_reconciled)
        self._runs.append(run)
        if kind == Kind.PROPOSED:
            self.tie(run, branch, position)
        return run

    def tie(self, run: Run, branch: str, position: int) -> None:
        """Record that a push brought the commit of a proposed run to a branch, perhaps again."""
        self._sources.append(RunSource(run=run, branch=branch[:500], position=position))

    def store(self, earlier: Collection[Run]) -> None:
        """Store the runs, and supersede what newer pushes replace.

        `earlier` are the proposed runs that their commits had before.
        """
        tracked = [run for run in self._runs if run.kind == Kind.TRACKED]
        if tracked:
            self._supersede_tracked(tracked)
        kept = _kept_sources(self._stack, self._runs, earlier)
        _store(self._runs, [*kept, *self._sources])
        if self._sources:
            _supersede_pushed_to(self._stack, {one.branch for one in self._sources})

    def _supersede_tracked(self, started: Collection[Run]) -> None:
        """Supersede all tracked runs but that of the newest push, of those that start now, too."""
        stored = _runs(self._stack, Kind.TRACKED).filter(branch=self._stack.branch[:500])
        newest = started_last = max(run.position or 0 for run in started)
        if started_last != self._stack.head_position:  # else no later push is known
            last = stored.of_code().aggregate(last=Max("position"))["last"] or 0
            newest = max(last, started_last)
        for run in started:
            if (run.position or 0) < newest:
                run.state = State.SUPERSEDED
        if newest == started_last:
            stored.filter(position__lt=newest).move_to(State.SUPERSEDED)
            Stack.objects.filter(pk=self._stack.pk).plan_again_once_quiet()


def start_proposed(
    stack: Stack,
    commit: RemoteCommit,
    source: RunSource,
    *,
    note: str,
    is_reconciled: bool,
    ends_as: State | None = None,
) -> Run:
    """Start a run of a pull request's code; one that comes late is superseded at once.

    With `ends_as` it is only recorded, in that state: nobody needs it any more.
    """
    run = _run(
        stack,
        next_number(stack),
        Kind.PROPOSED,
        commit,
        source.branch,
        source.position,
        note,
        is_reconciled,
    )
    run.state = ends_as or State.QUEUED
    source.run = run
    earlier = _runs(stack, Kind.PROPOSED).filter(sha=run.sha).only("pk")
    _store([run], [*_kept_sources(stack, [run], list(earlier)), source])
    supersede_unwanted(stack, source)
    return run


def repeat(run: Run, *, note: str = "", person: User | None = None) -> Run:
    """Start another run of the same commit that does the same; `person` is who retries it."""
    again = Run(
        stack=run.stack,
        number=next_number(run.stack),
        kind=run.kind,
        repository_id=run.repository_id,
        sha=run.sha,
        message=run.message,
        author=run.author,
        written_by=run.written_by,
        pushed_by=run.pushed_by,
        branch=run.branch,
        position=run.position,
        repeats=run,
        origin=run.origin,
        operation=run.operation,
        targets=run.targets,
        replacements=run.replacements,
        triggered_by=person,
        triggered_by_name=person.get_username() if person else "",
        note=note[:500],
    )
    _store([again], [source.copied_to(again) for source in run.sources.all()])
    if run.origin == Origin.IMPACT:
        ProposedModule.objects.copy(run, again)
    return again


def supersede_unwanted(stack: Stack, source: RunSource) -> None:
    """End what nothing wants any more of the runs of a source's pull request and branch."""
    same = Q(pull_request=source.pull_request)
    if source.position is not None:
        same |= _pushed_to(source.branch)
    _end_unwanted(stack, _active(stack, same), State.SUPERSEDED)


def cancel_proposed(stack: Stack, pull_request: PullRequest) -> None:
    """End what nothing wants any more of the runs of a pull request that ended."""
    _end_unwanted(stack, _active(stack, Q(pull_request=pull_request)), State.CANCELED)


def _supersede_pushed_to(stack: Stack, branches: Collection[str]) -> None:
    """End what nothing wants any more of the runs that pushes to these branches brought."""
    known = {"stack": stack.pk, "repository": stack.repository_id}
    active = [row for branch in branches for row in _active_of_branch.rows(branch=branch, **known)]
    _end_unwanted(stack, active, State.SUPERSEDED)


def _end_unwanted(stack: Stack, active: Iterable[tuple[int]], state: State) -> None:
    """Move those of some runs, given by their keys, that no source wants to a state.

    They are asked about by their keys, as a database that has not counted its rows lately would
    otherwise compare all sources that the stack ever had with each other.
    """
    keys = {key for (key,) in active}
    unwanted = keys - _wanted(stack, sorted(keys))
    if unwanted:
        _runs(stack, Kind.PROPOSED).filter(pk__in=unwanted).order_by().move_to(state)


def _wanted(stack: Stack, keys: Sequence[int]) -> set[int]:
    """Return the keys of those of some runs that a source wants."""
    known = {"stack": stack.pk, "repository": stack.repository_id, "tracked": stack.branch}
    wanted: set[int] = set()
    for start in range(0, len(keys), len(ASKED_AT_ONCE)):
        some = cycle(keys[start : start + len(ASKED_AT_ONCE)])
        asked = dict(zip(ASKED_AT_ONCE, some, strict=False))
        wanted.update(key for (key,) in _wanting.rows(**asked, **known))
    return wanted


def _active(stack: Followed, moved: Q) -> "QuerySet[Run, tuple[int]]":
    """Return the keys of proposed runs that had sources which moved, and have not ended."""
    had = RunSource.objects.of(stack).filter(moved)
    runs = _runs(stack, Kind.PROPOSED).filter(pk__in=had.values("run"), state__in=ACTIVE)
    # In no order: else SQLite reads all runs of the stack.
    return runs.order_by().values_list("pk")


def _pushed_to(branch: object) -> Q:
    """Match what pushes brought to a branch; a fork counts its pushes by itself."""
    return Q(branch=branch, position__isnull=False)


class _AnyStack:
    """The stack of a prepared query, which is given each time it runs."""

    pk = Given("stack", BigIntegerField())
    repository_id = Given("repository", BigIntegerField())
    branch = Given("tracked", CharField())


_active_of_branch = Prepared(lambda: _active(_AnyStack(), _pushed_to(Given("branch", CharField()))))
_wanting = Prepared(
    lambda: (
        RunSource.objects.wanting(_AnyStack())
        .filter(run__pk__in=[Given(name, BigIntegerField()) for name in ASKED_AT_ONCE])
        .order_by()
        .values_list("run_id")
    )
)
_last_number = Prepared(
    lambda: (
        Run.objects.filter(stack_id=Given("stack", BigIntegerField()))
        .order_by("-number")
        .values_list("number")[:1]
    )
)


def _kept_sources(stack: Stack, runs: Collection[Run], earlier: Collection[Run]) -> list[RunSource]:
    """Return what wants the commits of new runs because of runs that they had before."""
    new = {run.sha: run for run in runs if run.kind == Kind.PROPOSED}
    if not new or not earlier:  # mostly, and building the query below takes a while
        return []
    wanting = RunSource.objects.wanting(stack).select_related("run", "pull_request")
    return [
        source.copied_to(new[source.run.sha])
        for source in wanting.filter(run__in=earlier, run__sha__in=new)
    ]


def _store(runs: Sequence[Run], sources: Iterable[RunSource]) -> None:
    if runs:
        Run.objects.store(runs)
    RunSource.objects.add(sources)


def _runs(stack: Followed, kind: Kind) -> RunQuerySet:
    return Run.objects.filter(stack_id=stack.pk, kind=kind, repository_id=stack.repository_id)


def _run(
    stack: Stack,
    number: int,
    kind: Kind,
    commit: RemoteCommit,
    branch: str,
    position: int | None,
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
        written_by=commit.written_by,
        pushed_by=commit.pushed_by,
        branch=branch[:500],
        position=position,
        note=note[:500],
        is_reconciled=is_reconciled,
    )


def next_number(stack: Stack) -> int:
    last = _last_number.rows(stack=stack.pk)
    return int(last[0][0]) + 1 if last else 1
