"""A pull request, for the stacks of its target: runs for its commits, or reasons for none.

What an event claims may be late or false, so the pull request is read as it is now. Comparing it
with what was stored before shows what is new. If somebody stored it meanwhile, the reading is
outdated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from stacks.deciding.facts import Facts, PullRequestNow
from stacks.deciding.older_pull_requests import go_on_planning, has_room, is_answered
from stacks.lifecycle.starting import cancel_proposed, start_proposed, supersede_unwanted
from stacks.models import Decision, PullRequest, Report, Run, RunSource, Stack
from stacks.models.run import RunQuerySet
from stacks.module_registry import Following, Verdict
from stacks.reports.texts import report_revision
from stacks.rules import triggers
from stacks.rules.states import Kind, State
from stacks.rules.triggers import Rule, Undecided
from vcs_integrations.consumer import Outdated
from vcs_integrations.models import Delivery, Repository
from vcs_integrations.providers.events import (
    PullRequestChanged,
    PullRequestFacts,
    PullRequestStatus,
    Revision,
    TrialMerge,
)

# A reconciliation finds these again and again; they are only recorded for a delivery.
NOTHING_NEW = {
    Rule.OTHER_TARGET,
    Rule.BEFORE_STACK,
    Rule.SAME_SOURCE,
    Rule.SAME_COMMIT,
    Rule.CONFLICTS,
}
# The rules by which a pull request no longer needs a run.
ENDED_BY = {Rule.MERGED, Rule.CLOSED}


@dataclass(frozen=True)
class Reading:
    """A pull request as it was stored (`before`), as it is `now`, and what announced it."""

    row: PullRequest
    before: PullRequestFacts | None
    last_revision: int
    now: PullRequestNow
    delivery: Delivery | None
    facts: Facts

    @property
    def newest(self) -> Revision:
        return self.now.revisions[-1]

    @property
    def unseen(self) -> list[Revision]:
        """The revisions that another one followed before they were read."""
        return [one for one in self.now.revisions[:-1] if one.number > self.last_revision]

    def of(self, revision: Revision) -> PullRequestFacts:
        """Return the pull request with the target that it had at a revision."""
        return replace(self.now.facts, target_branch=self.now.targets[revision.number])

    def paths(self, revision: Revision) -> triggers.ChangedPaths | None:
        """Return what a revision changes; None if that was not read."""
        return self.facts.paths_of_revision(self.repository_id, self.row.number, revision)

    def read_paths(self, revision: Revision) -> None:
        self.facts.read_paths_of_revision(self.repository_id, self.row.number, revision)

    @property
    def repository_id(self) -> str:
        return self.row.repository.external_id


@dataclass(frozen=True)
class Decided:
    """What was decided about a pull request, for stacks and for modules."""

    decisions: list[Decision]
    verdicts: list[Verdict]


def read(
    repository: Repository,
    stacks: Sequence[Stack],
    registered: Following | None,
    event: PullRequestChanged,
    facts: Facts,
) -> None:
    """Read what deciding about a pull request needs. Raises ProviderError or Contradicted."""
    row = repository.pull_requests.filter(number=event.number).first()
    if _is_for_none_of(stacks, registered, row, event):
        return
    now = facts.read_pull_request(event)
    if now is None:
        return
    reading = _reading(repository, row, event, now, None, facts)
    if registered and now.facts.is_open and now.facts.target_branch in registered.branches:
        reading.read_paths(reading.newest)
    for stack in stacks:
        _read_newest(stack, reading)
        for revision in reading.unseen:
            _read_past(stack, reading, revision)


def decide(
    repository: Repository,
    stacks: Sequence[Stack],
    registered: Following | None,
    event: PullRequestChanged,
    delivery: Delivery | None,
    facts: Facts,
) -> Decided | None:
    """Decide what a pull request means for the stacks and modules of its repository; store it.

    None where it can't be read. Raises Outdated if it has to be read again.
    """
    row = repository.pull_requests.filter(number=event.number).first()
    if _is_for_none_of(stacks, registered, row, event):
        return Decided(_without_reading(stacks, event, delivery), [])
    now = facts.pull_request(event)
    if now is None:
        return None
    if (row.version if row else None) != now.stored_version:
        raise Outdated
    reading = _reading(repository, row, event, now, delivery, facts)
    _store(reading.row, now)
    decisions = [decision for stack in stacks for decision in _record_for(stack, reading)]
    verdicts: list[Verdict] = []
    if registered:
        newest = reading.newest
        known = reading.paths(newest)
        paths = None if known is None or known.unknown_because else known.paths
        verdicts = registered.decide_pull_request(
            reading.row, newest.number, newest.source_sha, paths, delivery
        )
    return Decided(decisions, verdicts)


def _reading(
    repository: Repository,
    row: PullRequest | None,
    event: PullRequestChanged,
    now: PullRequestNow,
    delivery: Delivery | None,
    facts: Facts,
) -> Reading:
    before = _facts(row) if row else None
    last_revision = row.revision if row else 0
    row = row or PullRequest(repository=repository, number=event.number)
    return Reading(row, before, last_revision, now, delivery, facts)


def _is_for_none_of(
    stacks: Sequence[Stack],
    registered: Following | None,
    row: PullRequest | None,
    event: PullRequestChanged,
) -> bool:
    """Say whether a pull request seems to target a branch that no stack and no module tracks.

    If it targets another one by now, another event says so. A false claim decides nothing either:
    what is stored, run and reported stays as it is.
    """
    claimed = event.facts or event.claims
    branches = {stack.branch for stack in stacks}.union(registered.branches if registered else ())
    return row is None and claimed is not None and claimed.target_branch not in branches


def _without_reading(
    stacks: Sequence[Stack], event: PullRequestChanged, delivery: Delivery | None
) -> list[Decision]:
    claimed = event.facts or event.claims
    if delivery is None or claimed is None:
        return []
    subject = f"Pull request {claimed.number}"
    return [
        Decision.objects.record(stack, subject, triggers.claimed_target(stack, claimed), delivery)
        for stack in stacks
    ]


def _read_newest(stack: Stack, reading: Reading) -> None:
    revision = reading.newest
    decision, _ = _decide_newest(stack, reading)
    if isinstance(decision, Undecided):
        reading.read_paths(revision)
        decision, _ = _decide_newest(stack, reading)
    if isinstance(decision, Undecided) or decision.starts_run:
        reading.facts.read_commit(reading.repository_id, revision.source_sha)
    elif decision.rule in ENDED_BY:
        _read_past(stack, reading, revision)


def _read_past(stack: Stack, reading: Reading, revision: Revision) -> None:
    if isinstance(_decide_past(stack, reading, revision), Undecided):
        reading.read_paths(revision)
    if _decide_past(stack, reading, revision):
        reading.facts.read_commit(reading.repository_id, revision.source_sha)


def _record_for(stack: Stack, reading: Reading) -> list[Decision]:
    past = [_record_past(stack, reading, revision) for revision in reading.unseen]
    return [*chain.from_iterable(past), *_record_newest(stack, reading)]


def _decide_newest(
    stack: Stack, reading: Reading
) -> tuple[triggers.Decision | Undecided, Run | None]:
    """Decide about the commit that a pull request has now; return the run that it has, too."""
    row, now, revision = reading.row, reading.now.facts, reading.newest
    run = _run_of(stack, now.source_sha)
    decision = triggers.decide_pull_request(
        stack,
        now,
        revision,
        before=reading.before,
        is_new_revision=revision.number > reading.last_revision,
        is_answered=partial(is_answered, stack, row, revision.number),
        run_of_commit=run.number if run else None,
        has_room=partial(has_room, stack),
        paths=reading.paths(revision),
    )
    return decision, run


def _record_newest(stack: Stack, reading: Reading) -> list[Decision]:
    """Store what is decided about the commit that a pull request has now."""
    row, now, revision = reading.row, reading.now.facts, reading.newest
    decision, run = _decide_newest(stack, reading)
    if isinstance(decision, Undecided):
        raise Outdated
    report_revision(stack, row, revision, decision.rule)
    recorded: list[Decision] = []
    if decision.starts_run:
        run = _start(stack, reading, revision, decision)
    elif decision.rule in ENDED_BY:
        recorded = _record_past(stack, reading, revision, ends_as=State.CANCELED)
    elif decision.rule == Rule.BEFORE_STACK:
        go_on_planning(stack)
    elif run and decision.rule in {Rule.SAME_COMMIT, Rule.SAME_SOURCE, Rule.CONFLICTS}:
        _note_merge(run, reading)
        source = _source(reading, revision, run)
        RunSource.objects.add([source])
        supersede_unwanted(stack, source)
    if not now.is_open:
        # Also the runs from when it targeted another branch.
        cancel_proposed(stack, row)
    if reading.delivery is None and decision.rule in NOTHING_NEW:
        return recorded
    names_run = decision.starts_run or decision.rule in {Rule.SAME_COMMIT, Rule.CONFLICTS}
    record = Decision.objects.record(
        stack,
        str(row),
        decision,
        reading.delivery,
        run if names_run else None,
        revision.source_sha if decision.rule == Rule.FORK else "",
    )
    return [*recorded, record]


def _note_merge(run: Run, reading: Reading) -> None:
    """Have a run planned again that was planned before its pull request existed or could be merged.

    A run that repeats another is planned again only if the merge has changed.
    """
    before, now = reading.before, reading.now.facts
    has_changed = before is None or before.trial_merge != now.trial_merge
    is_late = bool(now.trial_merge == TrialMerge.CLEAN and run.behind != 0 and not run.merged_with)
    if run.stack.plans_merged and is_late and (has_changed or run.repeats_id is None):
        Run.objects.filter(pk=run.pk).update(lacks_merge=True)
    if has_changed or not run.sources.filter(pull_request=reading.row).exists():
        Report.objects.renew_about([run])
        Stack.objects.filter(pk=run.stack_id).plan_again_once_quiet()


def _decide_past(
    stack: Stack, reading: Reading, revision: Revision
) -> triggers.Decision | Undecided | None:
    """Decide about a commit that was not read in time; None if there is nothing to record."""
    return triggers.decide_past_revision(
        stack,
        reading.of(revision),
        revision,
        has_run=_runs_of(stack, revision.source_sha).exists(),
        paths=reading.paths(revision),
    )


def _record_past(
    stack: Stack, reading: Reading, revision: Revision, *, ends_as: State = State.SUPERSEDED
) -> list[Decision]:
    """Record the run of a commit that was not read in time, or tie the one that it has."""
    if reading.of(revision).target_branch != stack.branch:
        return []
    others = _runs_of(stack, revision.source_sha).exclude(sources__pull_request=reading.row)
    RunSource.objects.add(_source(reading, revision, run) for run in others)
    decision = _decide_past(stack, reading, revision)
    if isinstance(decision, Undecided):
        raise Outdated
    if decision is None:
        return []
    run = _start(stack, reading, revision, decision, ends_as=ends_as)
    subject = f"{reading.row}, revision {revision.number}"
    return [Decision.objects.record(stack, subject, decision, reading.delivery, run)]


def _runs_of(stack: Stack, sha: str) -> RunQuerySet:
    runs = stack.runs.filter(kind=Kind.PROPOSED, repository_id=stack.repository_id, sha=sha)
    return runs.of_code()


def _run_of(stack: Stack, sha: str) -> Run | None:
    """Return the proposed run that counts for a commit."""
    return _runs_of(stack, sha).that_count().first()


def _start(
    stack: Stack,
    reading: Reading,
    revision: Revision,
    decision: triggers.Decision,
    ends_as: State | None = None,
) -> Run:
    return start_proposed(
        stack,
        reading.facts.commit(reading.row.repository.external_id, revision.source_sha),
        _source(reading, revision),
        note=decision.note,
        is_reconciled=reading.delivery is None,
        ends_as=ends_as,
    )


def _source(reading: Reading, revision: Revision, run: Run | None = None) -> RunSource:
    return RunSource(
        run=run,
        branch=reading.now.facts.source_branch[:500],
        # A fork numbers its own pushes.
        position=None if reading.now.facts.is_from_fork else revision.position,
        pull_request=reading.row,
        revision=revision.number,
    )


def is_as_stored(row: PullRequest, now: PullRequestFacts) -> bool:
    """Say whether a pull request is as it was when it was last read."""
    return replace(now, created_at=None) == _facts(row)


def _facts(row: PullRequest) -> PullRequestFacts:
    return PullRequestFacts(
        number=row.number,
        title=row.title,
        author=row.author,
        status=PullRequestStatus(row.status),
        is_draft=row.is_draft,
        is_from_fork=row.is_from_fork,
        source_branch=row.source_branch,
        target_branch=row.target_branch,
        source_sha=row.source_sha,
        trial_merge=TrialMerge(row.trial_merge),
    )


def _store(row: PullRequest, now: PullRequestNow) -> None:
    """Store a pull request as it is now."""
    row.title, row.author, row.status = now.facts.title, now.facts.author, now.facts.status
    row.is_draft, row.is_from_fork = now.facts.is_draft, now.facts.is_from_fork
    row.source_branch = now.facts.source_branch
    row.target_branch = now.facts.target_branch
    row.source_sha, row.trial_merge = now.facts.source_sha, now.facts.trial_merge
    row.revision = now.revisions[-1].number
    row.version += 1
    row.save()
