"""Stacks, the pull requests and runs of their repositories, and why there is a run or none."""

from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify

from stacks.triggers import RULE_TEXTS, Rule
from vcs_integrations.dependents import Dependents
from vcs_integrations.events import RemoteCommit
from vcs_integrations.models import (
    Delivery,
    Integration,
    Repository,
    search_key,
    search_words,
)

RESERVED_SLUGS = {"new"}


HEAD_FIELDS = [
    "head_sha",
    "head_message",
    "head_author",
    "head_authored_at",
    "head_read_at",
    "branch_gone_at",
    "head_push_id",
]
PRUNED_AT_ONCE = 500
HEAD_IS_FRESH = timedelta(minutes=1)


class StackQuerySet(models.QuerySet["Stack"]):
    def with_repository(self) -> Self:
        return self.select_related("repository__integration")

    def of(self, integration: Integration) -> Self:
        return self.filter(repository__integration=integration)

    def detached(self) -> Self:
        """Those whose integration was unlinked."""
        return self.exclude(repository__integration__unlinked_at=None)

    def matching(self, text: str) -> Self:
        """Those that have every word of the text in their name, labels, branch or repository."""
        stacks = self
        for word in search_words(text):
            stacks = stacks.filter(
                Q(search_text__contains=word) | Q(repository__search_text__contains=word)
            )
        return stacks


class Stack(models.Model):
    """What is run: one branch of one repository, from one folder of it."""

    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=110, unique=True, editable=False)
    description = models.CharField(max_length=500, blank=True)
    repository = models.ForeignKey(Repository, on_delete=models.PROTECT, related_name="stacks")
    branch = models.CharField(max_length=500, help_text="the tracked branch's short name")
    project_root = models.CharField(max_length=500, blank=True, help_text="empty for the top")
    labels = models.JSONField(default=list, blank=True)
    search_text = models.TextField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    # Behavior: what becomes a run
    path_rule = models.BooleanField(default=True)
    extra_globs = models.JSONField(default=list, blank=True)
    runs_drafts = models.BooleanField(default=True)
    runs_forks = models.BooleanField(default=False)
    pull_requests_only = models.BooleanField(default=False)

    # Since when it follows this branch: what was pushed before starts nothing
    followed_at = models.DateTimeField(default=timezone.now)
    followed_push_id = models.BigIntegerField(null=True, blank=True)

    # The tracked branch's newest commit; its push orders it, so that it never moves backwards
    head_push_id = models.BigIntegerField(null=True, blank=True)
    head_sha = models.CharField(max_length=64, blank=True)
    head_message = models.TextField(blank=True)
    head_author = models.CharField(max_length=255, blank=True)
    head_authored_at = models.DateTimeField(null=True, blank=True)
    head_read_at = models.DateTimeField(null=True, blank=True)
    branch_gone_at = models.DateTimeField(null=True, blank=True)

    objects = StackQuerySet.as_manager()

    class Meta:
        ordering = (Lower("name"),)
        constraints = (models.UniqueConstraint(fields=["name"], name="one_stack_per_name"),)
        indexes = (models.Index(Lower("name"), name="stack_list"),)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self.slug:
            self.slug = unused_slug(self.name)
        self.search_text = search_key(" ".join([self.name, self.branch, *self.labels]))
        with transaction.atomic():
            super().save(*args, **kwargs)
            # From now on its repository is read, at once: what is open there has to be known.
            unread = Repository.objects.filter(pk=self.repository_id, reconcile_at=None)
            unread.update(reconcile_at=timezone.now())

    def get_absolute_url(self) -> str:
        return reverse("stack", args=[self.slug])

    @property
    def integration(self) -> Integration:
        return self.repository.integration

    @property
    def is_detached(self) -> bool:
        return not self.integration.is_linked

    @property
    def branch_url(self) -> str:
        return self.integration.provider.branch_url(self.repository.web_url, self.branch)

    @property
    def head_url(self) -> str:
        return self.integration.provider.commit_url(self.repository.web_url, self.head_sha)

    @property
    def head_is_due(self) -> bool:
        """Whether a page should read the head again: it is a while ago, and it can be read."""
        if self.is_detached or self.integration.is_retrying:
            return False
        return self.head_read_at is None or timezone.now() - self.head_read_at > HEAD_IS_FRESH

    @property
    def head_title(self) -> str:
        """The first line of the head commit's message."""
        return self.head_message.strip().partition("\n")[0][:200]

    def move_head(self, push_id: int, commit: RemoteCommit) -> None:
        """Note the tracked branch's newest commit, unless a later push is known."""
        self.head_sha, self.head_message = commit.sha[:64], commit.message[:10_000]
        self.head_author, self.head_authored_at = commit.author[:255], commit.authored_at
        self.branch_gone_at = None
        self._save_head(push_id)

    def lose_head(self, push_id: int) -> None:
        """Note that the tracked branch was deleted; what was its head stays to be seen."""
        self.branch_gone_at = self.branch_gone_at or timezone.now()
        self._save_head(push_id)

    def follow(self, repository: Repository, branch: str) -> None:
        """Track another branch, whose head is not known yet; runs of the old one are canceled."""
        if (repository, branch) == (self.repository, self.branch):
            return
        with transaction.atomic():
            # No worker may start a run of the old branch meanwhile.
            Repository.objects.select_for_update().get(pk=self.repository_id)
            self.runs.move_to(State.CANCELED)
            self.head_sha = self.head_message = self.head_author = ""
            self.head_authored_at = self.head_read_at = self.branch_gone_at = None
            self.head_push_id = self.followed_push_id = None
            self.followed_at = timezone.now()
            self.repository, self.branch = repository, branch
            self.save()

    def _save_head(self, push_id: int) -> None:
        """Store the head, unless a later push or another branch is followed by now."""
        self.head_push_id, self.head_read_at = push_id, timezone.now()
        same = Stack.objects.filter(pk=self.pk, repository=self.repository, branch=self.branch)
        same.filter(Q(head_push_id=None) | Q(head_push_id__lte=push_id)).update(
            **{field: getattr(self, field) for field in HEAD_FIELDS}
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
    merge_status = models.CharField(max_length=40, blank=True)
    iteration = models.PositiveIntegerField(default=0, help_text="the newest one that was read")
    version = models.PositiveIntegerField(default=0, help_text="how often it was stored")

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(
                fields=["repository", "number"], name="one_pull_request_per_number"
            ),
        )
        indexes = (
            models.Index(
                fields=["repository", "target_branch"],
                condition=Q(status="active"),
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
    def has_conflicts(self) -> bool:
        return self.merge_status == "conflicts"


class Kind(models.TextChoices):
    """What a run is for: the tracked branch, or code that is proposed for it."""

    TRACKED = "tracked"
    PROPOSED = "proposed"


class State(models.TextChoices):
    """A run's own word; what the provider is told is its status."""

    QUEUED = "queued"
    PREPARING = "preparing"
    PLANNING = "planning"
    UNCONFIRMED = "unconfirmed"
    CONFIRMED = "confirmed"
    APPLYING = "applying"
    FINISHED = "finished"
    FAILED = "failed"
    DISCARDED = "discarded"
    CANCELED = "canceled"
    SUPERSEDED = "superseded"


_EARLY_ENDS = {State.CANCELED, State.SUPERSEDED}
MOVES: dict[State, set[State]] = {
    State.QUEUED: {State.PREPARING, *_EARLY_ENDS},
    State.PREPARING: {State.PLANNING, State.FAILED, *_EARLY_ENDS},
    State.PLANNING: {State.UNCONFIRMED, State.FINISHED, State.FAILED, *_EARLY_ENDS},
    State.UNCONFIRMED: {State.CONFIRMED, State.DISCARDED, *_EARLY_ENDS},
    State.CONFIRMED: {State.APPLYING, State.CANCELED},
    State.APPLYING: {State.FINISHED, State.FAILED},
    State.FINISHED: set(),
    State.FAILED: set(),
    State.DISCARDED: set(),
    State.CANCELED: set(),
    State.SUPERSEDED: set(),
}
ENDED = {state for state, moves in MOVES.items() if not moves}
# A proposed run only plans.
TRACKED_ONLY = {State.UNCONFIRMED, State.CONFIRMED, State.APPLYING, State.DISCARDED}
# Ends after which a commit may be run again.
DOES_NOT_COUNT = {State.CANCELED, State.SUPERSEDED}


class IllegalMove(Exception):
    """A run can't go from its state to that one, or no longer."""


class RunQuerySet(models.QuerySet["Run"]):
    def for_pages(self) -> Self:
        """With all that a page shows of a run."""
        return self.select_related(
            "stack", "repository__integration", "pull_request__repository__integration"
        )

    def that_count(self) -> Self:
        return self.exclude(state__in=DOES_NOT_COUNT)

    def move_to(self, state: State) -> int:
        """Move those that may; return how many did."""
        may = self.filter(state__in=[before for before, after in MOVES.items() if state in after])
        return may.update(state=state, moved_at=timezone.now())


class Run(models.Model):
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
    branch = models.CharField(max_length=500, blank=True)
    push_id = models.BigIntegerField(null=True, blank=True)
    pull_request = models.ForeignKey(
        PullRequest, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs"
    )
    iteration = models.PositiveIntegerField(null=True, blank=True)
    repeats = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="repeated_by"
    )
    is_reconciled = models.BooleanField(default=False, help_text="no webhook told of it")
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    moved_at = models.DateTimeField(default=timezone.now)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(fields=["stack", "number"], name="one_run_per_number"),
            models.UniqueConstraint(
                fields=["stack", "repository", "push_id"],
                condition=Q(kind=Kind.TRACKED.value, repeats=None),
                name="one_tracked_run_per_push",
            ),
            models.UniqueConstraint(
                fields=["stack", "repository", "sha"],
                condition=Q(kind=Kind.PROPOSED.value, repeats=None)
                & ~Q(state__in=sorted(DOES_NOT_COUNT)),
                name="one_proposed_run_per_commit",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=Kind.values) & Q(state__in=State.values), name="run_words"
            ),
            models.CheckConstraint(
                condition=~Q(kind=Kind.PROPOSED.value, state__in=sorted(TRACKED_ONLY)),
                name="proposed_runs_only_plan",
            ),
            models.CheckConstraint(
                condition=Q(kind=Kind.PROPOSED.value)
                | Q(push_id__isnull=False)
                | Q(repeats__isnull=False),
                name="tracked_runs_know_their_push",
            ),
        )
        indexes = (
            models.Index(fields=["stack", "sha"], name="run_by_commit"),
            models.Index(fields=["stack", "branch", "push_id"], name="run_by_push"),
        )

    def __str__(self) -> str:
        return f"Run {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.stack.slug, self.number])

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def is_waiting(self) -> bool:
        return self.state == State.QUEUED

    @property
    def commit_url(self) -> str:
        integration = self.repository.integration
        return integration.provider.commit_url(self.repository.web_url, self.sha)

    @property
    def branch_url(self) -> str:
        """The branch's page; empty where none is known, or it is a fork's."""
        if not self.branch or (self.pull_request and self.pull_request.is_from_fork):
            return ""
        integration = self.repository.integration
        return integration.provider.branch_url(self.repository.web_url, self.branch)

    def move_to(self, state: State) -> None:
        """Go to another state. Raises IllegalMove where that may not follow, or not any more."""
        if state not in MOVES[State(self.state)]:
            raise IllegalMove(f"{self} is {self.state}: it can't become {state}.")
        if not Run.objects.filter(pk=self.pk, state=self.state).move_to(state):
            raise IllegalMove(f"{self} is not {self.state} any more.")
        self.refresh_from_db(fields=["state", "moved_at"])


class DecisionQuerySet(models.QuerySet["Decision"]):
    def for_pages(self) -> Self:
        """With all that a page shows of a decision; a delivery's body is not among it."""
        related = self.select_related("stack", "run__stack", "delivery")
        return related.defer("delivery__body", "delivery__headers")


class Decision(models.Model):
    """What an event meant for a stack, by which rule, in a sentence for people."""

    stack = models.ForeignKey(
        # The index below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="decisions",
        db_index=False,
    )
    delivery = models.ForeignKey(
        Delivery,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="decisions",
        help_text="empty where a reconciliation found the event",
    )
    subject = models.CharField(max_length=700, help_text="the event: which push or pull request")
    rule = models.CharField(max_length=40)
    sentence = models.CharField(max_length=500)
    run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="decisions"
    )
    decided_at = models.DateTimeField(default=timezone.now)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        ordering = ("-pk",)
        indexes = (
            models.Index(fields=["stack", "-id"], name="decision_list"),
            models.Index(fields=["stack", "subject"], name="decision_by_subject"),
            models.Index(fields=["decided_at"], name="decision_age"),  # read by the pruning
        )

    def __str__(self) -> str:
        return f"{self.rule}: {self.sentence}"

    @property
    def rule_text(self) -> str:
        return RULE_TEXTS[Rule(self.rule)]


def prune_decisions() -> None:
    """Delete the decisions that were kept as long as deliveries are; the runs stay."""
    oldest = timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)
    old = Decision.objects.filter(decided_at__lt=oldest)
    # In portions, so that a webhook gets its turn to write in between.
    while portion := list(old.values_list("pk", flat=True)[:PRUNED_AT_ONCE]):
        Decision.objects.filter(pk__in=portion).delete()


def unused_slug(name: str) -> str:
    """Return a slug for a stack's name that no other stack has."""
    base = slugify(name)[:100] or "stack"
    taken = set(Stack.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    taken |= RESERVED_SLUGS
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return next(slug for slug in [base, *numbered] if slug not in taken)


def stacks_depending_on(integration: Integration) -> Dependents:
    """Return the stacks that unlinking an integration would detach."""
    stacks = Stack.objects.of(integration)
    return Dependents(
        kind="stack",
        count=stacks.count(),
        first=[(stack.name, stack.get_absolute_url()) for stack in stacks[:20]],
    )
