"""Runs, pull requests, and what wants the runs of proposed code."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Prefetch, Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone

from core.leases import Leased, LeasedQuerySet
from stacks.models.report import Report
from stacks.models.stack import Stack, Tool
from stacks.rules.changes import DONE, TO_DO, Changes
from stacks.rules.states import (
    DOES_NOT_COUNT,
    ENDED,
    HOLDS_STACK,
    MOVES,
    TRACKED_ONLY,
    IllegalMove,
    Kind,
    Operation,
    Origin,
    State,
)
from stacks.run_events import listener
from vcs_integrations.models import Repository
from vcs_integrations.providers.events import PullRequestStatus, TrialMerge

# What started a run, for its page.
ORIGINS = {
    Origin.PERSON: "Triggered by a person",
    Origin.SCHEDULE: "Started by a schedule",
    Origin.DRIFT: "Started because of drift",
    Origin.MODULE: "Started by a change of a module",
    Origin.DEPENDENCY: "Started by an apply of another stack",
    Origin.IMPACT: "Started by a pull request of a module",
}


class Followed(Protocol):
    """Where a stack's code comes from; `Stack` has it, and so has the stack of a prepared query."""

    @property
    def pk(self) -> Any: ...
    @property
    def repository_id(self) -> Any: ...
    @property
    def branch(self) -> Any: ...


class PullRequestQuerySet(models.QuerySet["PullRequest"]):
    def open_to(self, stack: Followed) -> Self:
        """Those that would be merged into the branch that a stack tracks."""
        return self.filter(
            repository=stack.repository_id,
            target_branch=stack.branch,
            status=PullRequestStatus.OPEN,
        )


class PullRequest(models.Model):
    """A pull request as it was last read."""

    repository = models.ForeignKey(
        # The constraint below serves look-ups by repository, too.
        Repository,
        on_delete=models.CASCADE,
        related_name="pull_requests",
        db_index=False,
    )
    number = models.BigIntegerField()
    title = models.CharField(max_length=500, blank=True)
    author = models.CharField(max_length=255, blank=True)
    status = models.CharField(max_length=20)
    is_draft = models.BooleanField(default=False)
    is_from_fork = models.BooleanField(default=False)
    source_branch = models.CharField(max_length=500, blank=True)
    target_branch = models.CharField(max_length=500)
    source_sha = models.CharField(max_length=64, blank=True)
    trial_merge = models.CharField(max_length=20, blank=True)
    revision = models.PositiveIntegerField(default=0, help_text="the newest one that was read")
    version = models.PositiveIntegerField(default=0, help_text="how often it was stored")

    objects = PullRequestQuerySet.as_manager()

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(
                fields=["repository", "number"], name="one_pull_request_per_number"
            ),
            models.CheckConstraint(
                condition=Q(status__in=[*PullRequestStatus], trial_merge__in=[*TrialMerge]),
                name="pull_request_words",
            ),
        )
        indexes = (
            models.Index(
                fields=["repository", "target_branch"],
                condition=Q(status=PullRequestStatus.OPEN.value),
                name="pull_request_open",
            ),
        )

    def __str__(self) -> str:
        return f"Pull request {self.number}"

    @property
    def web_url(self) -> str:
        integration = self.repository.integration
        return integration.provider.pull_request_url(self.repository.web_url, self.number)

    @property
    def is_open(self) -> bool:
        return self.status == PullRequestStatus.OPEN

    @property
    def has_conflicts(self) -> bool:
        return self.trial_merge == TrialMerge.CONFLICTS


# What a row of a list shows of a run, of its stack and of its repository.
IN_ROWS = (
    *("stack", "number", "kind", "state", "operation", "origin", "created_at", "moved_at"),
    *("repository", "branch", "position", "sha", "message", "author"),
    *("repeats", "triggered_by_name", "apply_started_at"),
    *("added", "changed", "destroyed", "changed_outputs", "imported", "moved", "forgotten"),
    "drifted",
)
IN_ROWS_OF_STACKS = (
    *("stack__name", "stack__slug", "stack__branch"),
    *("repository__name", "repository__project_name"),
    *("repository__integration__provider_key", "repository__integration__organization_url"),
)


class RunQuerySet(LeasedQuerySet["Run"]):
    def for_pages(self) -> Self:
        """With all that a page shows of a run."""
        sources = RunSource.objects.select_related("pull_request__repository__integration")
        return self.select_related("stack", "repository__integration").prefetch_related(
            Prefetch("sources", sources)
        )

    def for_rows(self) -> Self:
        """With what lists of runs show, and no more: runs have many columns."""
        return self.for_pages().only(*IN_ROWS, *IN_ROWS_OF_STACKS)

    def for_rows_of_stacks(self) -> Self:
        """With what lists of stacks show of their runs."""
        return self.only(*IN_ROWS)

    def store(self, runs: Sequence["Run"]) -> None:
        """Store new runs of one stack and repository, and have them reported."""
        with transaction.atomic(savepoint=False):
            self.bulk_create(runs)
            _report(runs)

    def of_code(self) -> Self:
        """Those that pushed or proposed code brought, and their repetitions.

        What decides about code, and what the provider shows of it, knows no others.
        """
        return self.filter(origin=Origin.PUSH)

    def that_count(self) -> Self:
        return self.exclude(state__in=DOES_NOT_COUNT)

    def move_to(self, state: State) -> int:
        """Move those that may, and have them reported; return how many moved."""
        may = self.filter(state__in=[before for before, after in MOVES.items() if state in after])
        with transaction.atomic(savepoint=False):
            locked = may.select_for_update(of=("self",))
            moved = list(locked.only("stack_id", "repository_id", "sha", "origin"))
            if not moved:
                return 0
            keys = [run.pk for run in moved]
            Run.objects.filter(pk__in=keys).update(state=state, moved_at=timezone.now())
            Report.objects.renew_about(moved)
            listener().on_moved(keys, state)
        return len(moved)


_RunManager = models.Manager.from_queryset(RunQuerySet)


class RunManager(_RunManager["Run"]):
    """Leaves a plan's list and errors, which may be long, until somebody reads them."""

    def get_queryset(self) -> RunQuerySet:
        return RunQuerySet(self.model, using=self._db).defer("plan", "errors")


class Run(Leased):
    """One execution of one stack for one commit."""

    stack = models.ForeignKey(
        # The constraints below serve look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="runs",
        db_index=False,
    )
    number = models.PositiveIntegerField(help_text="counts the runs of its stack")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    state = models.CharField(max_length=20, choices=State.choices, default=State.QUEUED)
    repository = models.ForeignKey(Repository, on_delete=models.PROTECT, related_name="runs")
    sha = models.CharField(max_length=64)
    message = models.CharField(max_length=200, blank=True, help_text="its first line")
    author = models.CharField(max_length=255, blank=True)
    written_by = models.JSONField(
        default=list,
        blank=True,
        help_text="e-mail addresses of who wrote its commit, as the provider says, and names of "
        "who triggered it; empty if unknown",
    )
    pushed_by = models.CharField(
        max_length=255, blank=True, help_text="the account that pushed it, as the provider says"
    )
    branch = models.CharField(max_length=500, blank=True, help_text="that it was started for")
    position = models.BigIntegerField(
        null=True, blank=True, help_text="the push to that branch, where it is known"
    )
    repeats = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="repeated_by"
    )
    is_reconciled = models.BooleanField(default=False, help_text="no webhook reported it")
    origin = models.CharField(max_length=20, choices=Origin.choices, default=Origin.PUSH)
    operation = models.CharField(max_length=20, choices=Operation.choices, default=Operation.APPLY)
    targets = models.JSONField(
        default=list, blank=True, help_text="addresses to which its plan is limited"
    )
    replacements = models.JSONField(
        default=list, blank=True, help_text="addresses of resources to destroy and create again"
    )
    triggered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="the person who triggered or retried it",
    )
    triggered_by_name = models.CharField(max_length=150, blank=True)
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    moved_at = models.DateTimeField(default=timezone.now)

    # Executing: which worker holds it
    worker = models.CharField(max_length=100, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="how often it was begun")
    plan_started_at = models.DateTimeField(null=True, blank=True)
    plan_ended_at = models.DateTimeField(null=True, blank=True)
    apply_started_at = models.DateTimeField(null=True, blank=True)
    apply_ended_at = models.DateTimeField(null=True, blank=True)
    tool = models.CharField(max_length=20, choices=Tool.choices, blank=True)
    tool_version = models.CharField(max_length=100, blank=True, help_text="of its plan and apply")
    tool_version_from = models.CharField(max_length=50, blank=True, help_text="what says so")

    # The result: why it failed, how many resources its plan names, and the plan as a list
    failure = models.CharField(max_length=1000, blank=True)
    errors = models.TextField(blank=True, help_text="as its program printed them, masked and cut")
    added = models.PositiveIntegerField(null=True, blank=True)
    changed = models.PositiveIntegerField(null=True, blank=True)
    destroyed = models.PositiveIntegerField(null=True, blank=True)
    destroys_everything = models.BooleanField(
        default=False, help_text="no resource in the state outlives its plan"
    )
    imported = models.PositiveIntegerField(default=0)
    moved = models.PositiveIntegerField(default=0)
    forgotten = models.PositiveIntegerField(
        default=0, help_text="no longer managed, but not destroyed"
    )
    changed_outputs = models.PositiveIntegerField(default=0)
    drifted = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="resources that were changed outside, as a refresh-only plan found; empty "
        "where none compared",
    )
    plan = models.JSONField(null=True, blank=True)
    unlisted = models.PositiveIntegerField(
        default=0, help_text="how many changes are not among its plan's changes"
    )
    warnings = models.JSONField(default=list, blank=True, help_text="sentences for its page")

    # What of its stack's arguments it was planned with, so that its apply matches its plan
    arguments = models.JSONField(default=dict, blank=True)

    # What it was planned from: its plan is out of date once one of these moved
    planned_sha = models.CharField(
        max_length=64, blank=True, help_text="the merge commit, where that was planned"
    )
    merged_with = models.CharField(
        max_length=64, blank=True, help_text="the tracked branch's commit in that merge"
    )
    behind = models.PositiveIntegerField(
        null=True,
        blank=True,
        default=0,
        help_text="commits of the tracked branch that its plan lacks; empty if not known",
    )
    conflicts = models.BooleanField(
        default=False, help_text="its commit could not be merged into the tracked branch"
    )
    lacks_merge = models.BooleanField(
        default=False, help_text="it was planned as it is, and could be merged since"
    )
    tracked_sha = models.CharField(
        max_length=64, blank=True, help_text="the tracked branch's newest commit then"
    )
    tracked_position = models.BigIntegerField(
        null=True, blank=True, help_text="the push of the newest tracked run then"
    )
    state_version = models.PositiveIntegerField(
        null=True, blank=True, help_text="the state's version then, 0 without a state"
    )

    objects = RunManager()

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(fields=["stack", "number"], name="one_run_per_number"),
            models.UniqueConstraint(
                fields=["stack", "repository", "position"],
                condition=Q(kind=Kind.TRACKED.value, repeats=None, origin=Origin.PUSH.value),
                name="one_tracked_run_per_push",
            ),
            models.UniqueConstraint(
                fields=["stack", "repository", "sha"],
                condition=Q(kind=Kind.PROPOSED.value, repeats=None, origin=Origin.PUSH.value)
                & ~Q(state__in=sorted(DOES_NOT_COUNT)),
                name="one_proposed_run_per_commit",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=Kind.values, state__in=State.values)
                & Q(origin__in=Origin.values, operation__in=Operation.values),
                name="run_words",
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.TRACKED.value) | ~Q(operation=Operation.DESTROY.value),
                name="only_tracked_runs_destroy",
            ),
            models.CheckConstraint(
                condition=Q(origin=Origin.PUSH.value, operation=Operation.APPLY.value)
                | ~Q(origin=Origin.PUSH.value),
                name="code_is_planned_and_applied",
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.TRACKED.value) | ~Q(state__in=sorted(TRACKED_ONLY)),
                name="only_tracked_runs_apply",
            ),
            models.CheckConstraint(
                condition=~Q(kind=Kind.DRIFT.value)
                | Q(operation=Operation.REFRESH_ONLY.value) & ~Q(origin=Origin.PUSH.value),
                name="drift_runs_refresh_only",
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.PROPOSED.value)
                | Q(position__isnull=False)
                | Q(repeats__isnull=False)
                | ~Q(origin=Origin.PUSH.value),
                name="tracked_runs_know_their_push",
            ),
            models.UniqueConstraint(
                fields=["stack"],
                condition=Q(kind=Kind.TRACKED.value, state__in=sorted(HOLDS_STACK)),
                name="one_tracked_run_holds_its_stack",
            ),
        )
        indexes = (
            models.Index(fields=["stack", "sha"], name="run_by_commit"),
            models.Index(fields=["stack", "branch", "position"], name="run_by_push"),
            # Each of these leads to the newest runs, too. Workers read the first all the time.
            models.Index(fields=["state", "id"], name="run_by_state"),
            models.Index(fields=["stack", "id"], name="run_by_stack"),
            models.Index(fields=["kind", "id"], name="run_by_kind"),
            models.Index(fields=["branch", "id"], name="run_by_branch"),
            models.Index(Lower("author"), F("id"), name="run_by_author"),
            models.Index(Lower("triggered_by_name"), F("id"), name="run_by_starter"),
            models.Index(fields=["created_at"], name="run_by_time"),
            models.Index(
                fields=["stack", "number"],
                condition=Q(kind=Kind.TRACKED.value),
                name="run_tracked",
            ),
            models.Index(
                fields=["lease_until"],
                condition=Q(lease_until__isnull=False),
                name="run_leased",
            ),
        )

    def __str__(self) -> str:
        return f"Run {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic(savepoint=False):
            super().save(*args, **kwargs)
            _report([self])

    def get_absolute_url(self) -> str:
        return reverse("stacks:run", args=[self.stack.slug, self.number])

    @property
    def is_of_code(self) -> bool:
        """Whether pushed or proposed code brought it, or what it repeats."""
        return self.origin == Origin.PUSH

    @property
    def started_by(self) -> str:
        """Who or what started it, in a few words; empty if that is code that was pushed."""
        name = self.triggered_by_name
        if self.repeats_id or self.origin == Origin.PUSH:
            return f"Retried by {name}" if name else ""
        return f"Triggered by {name}" if name else ORIGINS[Origin(self.origin)]

    @property
    def destroys(self) -> bool:
        """Whether it is to destroy what the stack manages."""
        return self.operation == Operation.DESTROY

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def state_text(self) -> str:
        """Its state as pages show it; once it is finished, how it turned out, like “Applied”."""
        if self.state == State.UNCONFIRMED:
            return "Needs confirmation"
        if self.state != State.FINISHED:
            return State(self.state).label
        if self.kind == Kind.DRIFT:
            return "Drift" if self.has_drift else "No drift"
        if self.changes is not None and not self.changes and not self.apply_started_at:
            return "No changes"
        return "Applied" if self.kind == Kind.TRACKED else "Planned"

    @property
    def state_clause(self) -> str:
        """Its state as the end of a sentence, like “needs confirmation” or “is queued”."""
        if self.state in {State.UNCONFIRMED, State.FAILED}:
            return self.state_text.lower()
        if self.state == State.FINISHED:
            return "has ended"
        return f"{'was' if self.state in ENDED else 'is'} {self.state}"

    @property
    def is_unread(self) -> bool:
        """Whether it waits for a person with a plan that could not be read."""
        return self.state == State.UNCONFIRMED and self.added is None

    @property
    def is_waiting(self) -> bool:
        return self.state == State.QUEUED

    @property
    def push(self) -> int | None:
        """The last push that brought its commit to its branch, as far as is known."""
        same = (one.position for one in self.sources.all() if one.branch == self.branch)
        return max(filter(None, same), default=self.position)

    @property
    def proposals(self) -> list["RunSource"]:
        """The newest revision with its commit of each pull request, the open ones first."""
        newest = {one.pull_request_id: one for one in self.sources.all() if one.pull_request}
        return sorted(newest.values(), key=lambda one: (not one.is_open_proposal, -one.pk))

    @property
    def pull_request(self) -> PullRequest | None:
        """The pull request that it is planned for: an open one, or else the last one."""
        return next((one.pull_request for one in self.proposals), None)

    @property
    def is_of_fork(self) -> bool:
        """Whether its code comes from a fork: nobody of the repository pushed it."""
        sources = self.sources.all()
        return bool(sources) and all(one.is_from_fork for one in sources)

    @property
    def changes(self) -> Changes | None:
        """What its plan changes; None if it has no plan."""
        if self.added is None or self.changed is None or self.destroyed is None:
            return None
        return Changes(
            self.added,
            self.changed,
            self.destroyed,
            self.changed_outputs,
            self.imported,
            self.moved,
            self.forgotten,
        )

    @property
    def counts(self) -> str:
        """How much its plan changes, or changed once it is applied, like “2 to add, …”."""
        if self.changes is None:
            return ""
        is_applied = self.kind == Kind.TRACKED and self.state == State.FINISHED
        return self.changes.text(DONE if is_applied else TO_DO)

    @property
    def has_drift(self) -> bool:
        """Whether what there is was found to differ from the state."""
        return bool(self.drifted or (self.drifted is not None and self.changed_outputs))

    @property
    def drift_text(self) -> str:
        """What a refresh-only plan found, like “1 resource and 2 outputs changed outside”."""
        if self.drifted is None:
            return ""
        found = {"resource": self.drifted, "output": self.changed_outputs}
        counts = [
            f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in found.items() if count
        ]
        return f"{' and '.join(counts)} changed outside" if counts else "no drift"

    @property
    def behind_warning(self) -> str:
        """A sentence on what its plan lacks of the tracked branch; empty if that is nothing."""
        if self.behind == 0 or self.changes is None:
            return ""
        if self.behind is None:
            where = f"This may be behind {self.stack.branch}"
        else:
            commits = "commit" if self.behind == 1 else "commits"
            where = f"{self.behind:,} {commits} behind {self.stack.branch}"
        return f"{where}: changes may be undone by this plan."

    @property
    def commit_url(self) -> str:
        integration = self.repository.integration
        return integration.provider.commit_url(self.repository.web_url, self.sha)

    @property
    def branch_url(self) -> str:
        """The branch's page; empty if none is known, or it is a fork's."""
        is_there = self.position is not None or not any(
            one.is_from_fork for one in self.sources.all()
        )
        if not self.branch or not is_there:
            return ""
        integration = self.repository.integration
        return integration.provider.branch_url(self.repository.web_url, self.branch)

    @property
    def tool_with_version(self) -> str:
        """What it is planned and applied with, like “Terraform 1.11.4”; empty until it is known."""
        return f"{self.get_tool_display()} {self.tool_version}" if self.tool_version else ""

    @property
    def plan_duration(self) -> str:
        return duration_text(self.plan_started_at, self.plan_ended_at)

    @property
    def apply_duration(self) -> str:
        return duration_text(self.apply_started_at, self.apply_ended_at)

    def move_to(self, state: State) -> None:
        """Go to another state. Raises IllegalMove if that may not follow, or not any more."""
        if state not in MOVES[State(self.state)]:
            raise IllegalMove(f"{self} is {self.state}: it can't become {state}.")
        if not Run.objects.filter(pk=self.pk, state=self.state).move_to(state):
            raise IllegalMove(f"{self} is not {self.state} any more.")
        self.refresh_from_db(fields=["state", "moved_at"])


class RunSourceQuerySet(models.QuerySet["RunSource"]):
    def of(self, stack: Followed) -> Self:
        """Those of a stack's runs of the repository that it follows."""
        return self.filter(stack_id=stack.pk, repository_id=stack.repository_id)

    def wanting(self, stack: Followed) -> Self:
        """Those that want their run now: newest pushes, and what open pull requests propose.

        The end of a pull request also ends what its branch wants.
        """
        ours = RunSource.objects.of(stack).filter(branch=OuterRef("branch"))
        ended = ours.filter(run=OuterRef("run"), pull_request__is_from_fork=False).exclude(
            pull_request__status=PullRequestStatus.OPEN
        )
        is_proposed = Q(
            pull_request__in=PullRequest.objects.open_to(stack),
            pull_request__source_sha=F("run__sha"),
        )
        return (
            self.of(stack)
            .filter(is_proposed | Q(pull_request=None) & ~Exists(ended))
            .exclude(Exists(ours.filter(position__gt=OuterRef("position"))))
        )

    def add(self, sources: Iterable["RunSource"]) -> None:
        """Store sources of runs, unless they are known, and have the runs reported on them."""
        sources = list(sources)
        for one in sources:
            one.stack, one.repository_id = one.run.stack, one.run.repository_id
        self.bulk_create(sources, ignore_conflicts=True)
        for one in sources:
            if one.pull_request and one.revision:
                Report.objects.add_revision(one.stack, one.pull_request, one.revision, one.run.sha)


class RunSource(models.Model):
    """What brought the commit of a proposed run: a push to a branch, or a pull request's revision.

    A revision has a branch, too, and its push where that is known and not a fork's.
    """

    run = models.ForeignKey(
        # The constraint and the index below serve look-ups by run and by stack, too.
        Run,
        on_delete=models.CASCADE,
        related_name="sources",
        db_index=False,
    )
    stack = models.ForeignKey(
        Stack,
        on_delete=models.CASCADE,
        related_name="run_sources",
        db_index=False,
        help_text="the run's, for the index",
    )
    repository = models.ForeignKey(
        Repository,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text="the run's, so that looking for sources reads no runs",
    )
    branch = models.CharField(max_length=500)
    position = models.BigIntegerField(null=True, blank=True)
    pull_request = models.ForeignKey(
        PullRequest, null=True, blank=True, on_delete=models.CASCADE, related_name="run_sources"
    )
    revision = models.PositiveIntegerField(null=True, blank=True)

    objects = RunSourceQuerySet.as_manager()

    class Meta:
        ordering = ("revision", "pk")
        constraints = (
            models.UniqueConstraint(
                fields=["run", "branch", "position"],
                condition=Q(pull_request=None),
                name="one_source_per_push",
            ),
            models.UniqueConstraint(
                fields=["run", "pull_request", "revision"], name="one_source_per_revision"
            ),
            models.CheckConstraint(
                condition=Q(pull_request=None, revision=None, position__isnull=False)
                | Q(pull_request__isnull=False, revision__isnull=False),
                name="sources_are_pushes_or_revisions",
            ),
        )
        indexes = (models.Index(fields=["stack", "branch", "position"], name="source_by_push"),)

    def __str__(self) -> str:
        if self.pull_request:
            return f"{self.pull_request}, revision {self.revision}"
        return f"Push {self.position} to {self.branch}"

    @property
    def is_from_fork(self) -> bool:
        return bool(self.pull_request and self.pull_request.is_from_fork)

    @property
    def is_open_proposal(self) -> bool:
        """Whether its commit is what an open pull request would merge into the tracked branch."""
        one = self.pull_request
        place = (self.run.sha, self.run.stack.branch)
        return bool(one and one.is_open and (one.source_sha, one.target_branch) == place)

    def copied_to(self, run: Run) -> "RunSource":
        """Return the same source of another run of the commit, not stored."""
        return RunSource(
            run=run,
            branch=self.branch,
            position=self.position,
            pull_request=self.pull_request,
            revision=self.revision,
        )


def _report(runs: Sequence[Run]) -> None:
    """Have new runs of one stack and repository reported, as far as they are of code."""
    if of_code := [run for run in runs if run.is_of_code]:
        Report.objects.add_about(of_code)


def duration_text(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took, like “2 min 5 s”; empty as long as it is not over."""
    if not (start and end):
        return ""
    minutes, seconds = divmod(int((end - start).total_seconds()), 60)
    if minutes:
        return f"{minutes} min {seconds} s"
    return f"{seconds} s" if seconds else "less than 1 s"
