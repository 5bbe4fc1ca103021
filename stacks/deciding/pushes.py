"""A push, for one stack: the head moves, and there is a run or a reason for none."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from stacks.deciding.facts import Facts
from stacks.lifecycle.starting import PushedRuns
from stacks.models import Decision, Run, Stack
from stacks.models.run import RunQuerySet
from stacks.rules import triggers
from stacks.rules.states import DOES_NOT_COUNT, Kind
from stacks.rules.triggers import ChangedPaths, Rule, Undecided
from vcs_integrations.consumer import Outdated
from vcs_integrations.models import Delivery
from vcs_integrations.providers.events import RefChanged, RemoteCommit

# What is decided with; reading all of a run takes twice as long.
READ_OF_RUNS = ("stack", "kind", "number", "state", "sha", "position")


@dataclass(frozen=True)
class Pushed:
    """A ref that a push changed, and the delivery; None if a reconciliation found it."""

    change: RefChanged
    facts: Facts
    delivery: Delivery | None

    @property
    def commit(self) -> RemoteCommit:
        """The new commit, with who pushed it here. Raises Outdated if it was not read."""
        change = self.change
        commit = change.commit or self.facts.commit(change.repository_id, change.new_sha)
        return replace(commit, pushed_by=change.pushed_by or commit.pushed_by)


class Past:
    """The decisions and runs that a stack already has for some pushes.

    Decisions from before it followed its branch may be about another one. `proposed` are the
    stored proposed runs of their commits.
    """

    def __init__(self, stack: Stack, changes: Iterable[RefChanged]) -> None:
        self._stack = stack
        self._subjects = {_subject(change) for change in changes}
        positions = {change.position for change in changes if change.branch == stack.branch}
        tracked = self._runs(Kind.TRACKED).filter(position__in=positions) if positions else ()
        self._tracked = {run.position: run for run in tracked}
        shas = {change.new_sha for change in changes if change.branch != stack.branch}
        self._proposed: defaultdict[str, list[Run]] = defaultdict(list)
        self.proposed: list[Run] = []
        self._brought: dict[tuple[str, int | None, str], Run] = {}
        if shas:
            proposed = self._runs(Kind.PROPOSED).filter(sha__in=shas)
            self.proposed += proposed.prefetch_related("sources")
        for run in self.proposed:
            self._proposed[run.sha].append(run)
            for source in run.sources.all():
                self._brought.setdefault((source.branch, source.position, run.sha), run)

    @cached_property
    def _decided(self) -> dict[str, Run | None]:
        """What was decided, by its subject: the last run that was named, if any."""
        decisions = self._stack.decisions.filter(
            subject__in=self._subjects, decided_at__gte=self._stack.followed_at
        )
        decided = list(decisions.order_by("pk").values_list("subject", "run"))
        keys = {key for _, key in decided if key}
        runs = self._stack.runs.in_bulk(keys) if keys else {}
        named: dict[str, Run | None] = {}
        for subject, key in decided:
            named[subject] = runs.get(key) or named.get(subject)
        return named

    def has_decided(self, change: RefChanged) -> bool:
        return _subject(change) in self._decided

    def add(self, change: RefChanged, run: Run | None) -> None:
        """Record that a push was decided, and its run, for those that follow in the batch."""
        self._decided[_subject(change)] = run or self._decided.get(_subject(change))
        if run:
            if change.branch == self._stack.branch:
                self._tracked[change.position] = run
            elif run not in self._proposed[run.sha]:
                self._proposed[run.sha].append(run)

    def decide(
        self, change: RefChanged, paths: ChangedPaths | None
    ) -> tuple[triggers.Decision | Undecided, Run | None]:
        """Decide about a push; return the run that it or its commit has already, too."""
        of_push, of_commit = self._runs_of(change)
        decision = triggers.decide_ref(
            self._stack,
            change,
            run_of_push=of_push.number if of_push else None,
            run_of_commit=of_commit.number if of_commit else None,
            paths=paths,
        )
        return decision, of_push or of_commit

    def _runs_of(self, change: RefChanged) -> tuple[Run | None, Run | None]:
        """Return the run that a push has, and the one that counts for its commit."""
        if change.branch == self._stack.branch:
            return self._tracked.get(change.position), None
        of_commit = self._proposed[change.new_sha]
        if not of_commit:
            return None, None
        own = self._brought.get((change.branch[:500], change.position, change.new_sha))
        counting = (run for run in of_commit if run.state not in DOES_NOT_COUNT)
        return own or self._decided.get(_subject(change)), next(counting, None)

    def _runs(self, kind: Kind) -> RunQuerySet:
        runs = self._stack.runs.filter(kind=kind, repository_id=self._stack.repository_id)
        return runs.of_code().order_by("number").only(*READ_OF_RUNS)


def read(stack: Stack, changes: Sequence[RefChanged], facts: Facts, *, is_found: bool) -> None:
    """Read what deciding about pushes needs. Raises ProviderError.

    A push that a reconciliation found and that is already decided needs nothing.
    """
    if not stack.path_rule and all(change.commit for change in changes):
        return
    past = Past(stack, changes)
    for change in changes:
        if is_found and past.has_decided(change):
            continue
        decision, _ = past.decide(change, None)
        if isinstance(decision, Undecided):
            decision, _ = past.decide(change, facts.read_paths_of_push(stack, change))
        if isinstance(decision, Undecided) or change.commit:
            continue
        moves_head = _moves_head(stack, change, decision)
        if not change.is_deletion and (decision.starts_run or moves_head):
            facts.read_commit(change.repository_id, change.new_sha)
        elif moves_head and change.old_sha and change.old_sha != stack.head_sha:
            facts.read_commit(change.repository_id, change.old_sha)


def decide(stack: Stack, pushed: Sequence[Pushed]) -> list[Decision | None]:
    """Decide what pushes mean for a stack, in their order, and store that.

    None for one that a reconciliation found and that is decided already, or was before the
    stack. Raises Outdated.
    """
    past = Past(stack, [one.change for one in pushed])
    runs = PushedRuns(stack)
    head = (stack.head_position, stack.head_sha, stack.branch_gone_at)
    decisions = [_decide(stack, one, past, runs) for one in pushed]
    runs.store(past.proposed)
    if (stack.head_position, stack.head_sha, stack.branch_gone_at) != head:
        stack.save_head()
    Decision.objects.bulk_create(decision for decision in decisions if decision)
    return decisions


def _decide(stack: Stack, pushed: Pushed, past: Past, runs: PushedRuns) -> Decision | None:
    change, delivery = pushed.change, pushed.delivery
    is_decided = past.has_decided(change)
    if delivery is None and is_decided:
        return None
    decision, run = past.decide(change, pushed.facts.paths_of_push(stack, change))
    if isinstance(decision, Undecided):
        raise Outdated
    if decision.rule == Rule.BEFORE_STACK and delivery is None:
        return None
    is_replayed = delivery is not None and delivery.processed_at is not None
    if decision.starts_run and not is_replayed and is_decided:
        # Settings may have changed: people may decide again, but not whoever can send deliveries.
        decision = triggers.decided_before()
    if _moves_head(stack, change, decision):
        _move_head(stack, pushed)
    if decision.starts_run:
        run = _start(pushed, decision, runs)
    elif decision.rule == Rule.SAME_COMMIT and run:
        runs.tie(run, change.branch, change.position)
    elif decision.rule != Rule.SAME_PUSH:
        run = None
    past.add(change, run)
    return Decision.of(stack, _subject(change), decision, delivery, run)


def _subject(change: RefChanged) -> str:
    return f"Push {change.position} to {change.branch or change.ref}"[:700]


def _moves_head(stack: Stack, change: RefChanged, decision: triggers.Decision) -> bool:
    is_newest = stack.head_position is None or change.position >= stack.head_position
    return is_newest and change.branch == stack.branch and decision.rule != Rule.BEFORE_STACK


def _move_head(stack: Stack, pushed: Pushed) -> None:
    change = pushed.change
    if not change.is_deletion:
        stack.move_head(change.position, pushed.commit)
        return
    # The push that brought the last commit may be late, or lost.
    if change.old_sha and change.old_sha != stack.head_sha:
        last = pushed.facts.commit(change.repository_id, change.old_sha)
        stack.move_head(change.position, last)
    stack.lose_head(change.position)


def _start(pushed: Pushed, decision: triggers.Decision, runs: PushedRuns) -> Run:
    return runs.start(
        Kind.TRACKED if decision.rule == Rule.TRACKED else Kind.PROPOSED,
        pushed.commit,
        pushed.change.branch,
        pushed.change.position,
        note=decision.note,
        is_reconciled=pushed.delivery is None,
    )
