"""What is run: a branch of a repository, from a folder of it."""

from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Count, Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone
from django.utils.text import slugify

from accounts.models import Team
from stacks.models.report import ALL_STACKS, Report
from stacks.rules.paths import in_repository, named_files
from stacks.rules.states import ENDED, State
from stacks.rules.triggers import Rule
from vcs_integrations.models import Integration, Repository, search_key, search_words
from vcs_integrations.providers.events import RemoteCommit

RESERVED_SLUGS = {"new", ALL_STACKS}
HEAD_FIELDS = [
    "head_sha",
    "head_message",
    "head_author",
    "head_authored_at",
    "head_written_by",
    "head_pushed_by",
    "head_read_at",
    "branch_gone_at",
    "head_position",
]
# How long nothing may move before pull requests are planned again.
QUIET = timedelta(seconds=30)
HEAD_IS_FRESH = timedelta(minutes=1)
MOST_APPROVALS = 3


class Tool(models.TextChoices):
    """The program that plans and applies."""

    TERRAFORM = "terraform", "Terraform"
    OPENTOFU = "opentofu", "OpenTofu"


class Backend(models.TextChoices):
    """Who keeps the state of what a stack manages."""

    STACKHOOK = "stackhook", "Stackhook"
    OWN = "own", "Backend in the code"


class Confirmers(models.TextChoices):
    """Who may confirm the runs of a stack, by the role that they have at least."""

    MEMBERS = "member", "Members, approvers and admins"
    APPROVERS = "approver", "Approvers and admins"


class Reach(models.TextChoices):
    """Which other repositories the code of a stack may have fetched."""

    PROJECT = "project", "Those of its own project"
    LISTED = "listed", "Those of its own project, and these"
    ORGANIZATION = "organization", "All of the organization that the token may read"


class StackQuerySet(models.QuerySet["Stack"]):
    def with_repository(self) -> Self:
        return self.select_related("repository__integration")

    def of(self, integration: Integration) -> Self:
        return self.filter(repository__integration=integration)

    def reachable(self) -> Self:
        """Those whose repository can be read, as far as is known."""
        return self.filter(
            repository__gone_at=None,
            repository__is_disabled=False,
            repository__integration__unlinked_at=None,
        )

    def with_drift(self) -> Self:
        """Those of which the newest comparison found that something was changed outside."""
        return self.filter(
            Q(drift_run__drifted__gt=0)
            | Q(drift_run__drifted__isnull=False, drift_run__changed_outputs__gt=0)
        )

    def forget_drift(self) -> None:
        """Forget what was found, since what there is, or what it is compared with, changes."""
        self.update(drift_run=None)

    def plan_again_once_quiet(self) -> None:
        """Have the worker look for out-of-date plans once nothing more moves."""
        self.update(plan_again_at=timezone.now() + QUIET)

    def counts(self) -> dict[str, int]:
        """Return how many there are (`all`), and how many whose integration was unlinked."""
        unlinked = Q(repository__integration__unlinked_at__isnull=False)
        return self.aggregate(all=Count("pk"), detached=Count("pk", filter=unlinked))

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
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="who created it, and may delete it as admins may",
    )

    # Behavior: what becomes a run
    path_rule = models.BooleanField(default=True)
    extra_globs = models.JSONField(default=list, blank=True)
    runs_drafts = models.BooleanField(default=True)
    runs_forks = models.BooleanField(default=False)
    pull_requests_only = models.BooleanField(default=False)
    autodeploy = models.BooleanField(default=False, help_text="a plan is applied unconfirmed")
    plans_merged = models.BooleanField(
        default=True, help_text="pull requests are planned as they would be merged"
    )
    plans_again = models.BooleanField(
        default=True, help_text="pull requests are planned again once their plan is out of date"
    )
    fetches_submodules = models.BooleanField(default=True)
    fetches_lfs = models.BooleanField(default=True)

    runs_on_modules = models.BooleanField(
        default=False, help_text="a push to a module that its last run used starts a tracked run"
    )

    plans_module_changes = models.BooleanField(
        default=True, help_text="proposed code of the modules that it uses is planned, too"
    )

    # Who confirms its runs, as an admin says
    confirmers = models.CharField(
        max_length=20, choices=Confirmers.choices, default=Confirmers.MEMBERS
    )
    approvals_needed = models.PositiveSmallIntegerField(
        default=1, help_text="how many people have to approve a plan"
    )
    excludes_author = models.BooleanField(
        default=False, help_text="whoever wrote a commit can't confirm its run"
    )

    # Which other repositories its code may have fetched, as an admin says
    reach = models.CharField(max_length=20, choices=Reach.choices, default=Reach.PROJECT)
    readable = models.ManyToManyField(
        Repository, blank=True, related_name="+", help_text="those that are listed"
    )

    # Backend: what plans and applies, and who keeps the state
    tool = models.CharField(max_length=20, choices=Tool.choices, default=Tool.TERRAFORM)
    tool_version = models.CharField(
        max_length=200,
        blank=True,
        help_text="one version, or a constraint on it; empty for what the code says",
    )
    backend = models.CharField(max_length=20, choices=Backend.choices, default=Backend.STACKHOOK)

    # Arguments: what the tool is run with, and the commands before and after it
    var_files = models.JSONField(default=list, blank=True, help_text="from the project root")
    backend_config = models.JSONField(
        default=list, blank=True, help_text="values, and files from the project root"
    )
    workspace = models.CharField(max_length=90, blank=True)
    plan_arguments = models.JSONField(default=list, blank=True)
    apply_arguments = models.JSONField(default=list, blank=True)
    commands = models.JSONField(default=dict, blank=True, help_text="like before_init: [make]")

    # Since when it follows this branch: what was pushed before starts nothing
    followed_at = models.DateTimeField(default=timezone.now)
    followed_position = models.BigIntegerField(null=True, blank=True)
    plans_older = models.BooleanField(
        null=True,
        blank=True,
        help_text="whether pull requests that were open before are planned; empty until counted",
    )
    plan_older_at = models.DateTimeField(
        null=True, blank=True, help_text="when the worker continues planning them"
    )
    plan_again_at = models.DateTimeField(
        null=True, blank=True, help_text="when the worker looks for plans that are out of date"
    )

    # The tracked branch's newest commit; its push orders it, so that it never moves backwards
    head_position = models.BigIntegerField(null=True, blank=True)
    head_sha = models.CharField(max_length=64, blank=True)
    head_message = models.TextField(blank=True)
    head_author = models.CharField(max_length=255, blank=True)
    head_authored_at = models.DateTimeField(null=True, blank=True)
    head_written_by = models.JSONField(default=list, blank=True)
    head_pushed_by = models.CharField(max_length=255, blank=True)
    head_read_at = models.DateTimeField(null=True, blank=True)
    branch_gone_at = models.DateTimeField(null=True, blank=True)

    # The newest run that compared what there is with what was applied; none since either changed
    drift_run = models.ForeignKey(
        "stacks.Run", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    objects = StackQuerySet.as_manager()

    class Meta:
        ordering = (Lower("name"),)
        constraints = (
            models.UniqueConstraint(fields=["name"], name="one_stack_per_name"),
            models.CheckConstraint(
                condition=Q(tool__in=Tool.values)
                & Q(backend__in=Backend.values)
                & Q(reach__in=Reach.values)
                & Q(confirmers__in=Confirmers.values),
                name="stack_words",
            ),
            models.CheckConstraint(
                condition=Q(approvals_needed__range=(1, MOST_APPROVALS)),
                name="some_approvals_are_needed",
            ),
            models.CheckConstraint(
                condition=Q(autodeploy=False)
                | Q(confirmers=Confirmers.MEMBERS.value, approvals_needed=1, excludes_author=False),
                name="autodeploy_needs_no_approval",
            ),
        )
        indexes = (
            models.Index(Lower("name"), name="stack_list"),
            models.Index(
                fields=["plan_older_at"],
                condition=Q(plan_older_at__isnull=False),
                name="stack_plans_older",  # read by the worker, all the time
            ),
            models.Index(
                fields=["plan_again_at"],
                condition=Q(plan_again_at__isnull=False),
                name="stack_plans_again",  # so is this one
            ),
        )

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self.slug:
            self.slug = unused_slug(self.name)
        self.search_text = search_key(" ".join([self.name, self.branch, *self.labels]))
        with transaction.atomic():
            super().save(*args, **kwargs)
            # Read its repository at once: open pull requests have to be known.
            repository = Repository.objects.filter(pk=self.repository_id)
            if self.plans_older is not None:
                repository = repository.filter(due_at=None)
            repository.update(due_at=timezone.now())

    def get_absolute_url(self) -> str:
        return reverse("stacks:detail", args=[self.slug])

    @property
    def integration(self) -> Integration:
        return self.repository.integration

    @property
    def is_detached(self) -> bool:
        return not self.integration.is_linked

    @property
    def restricts_confirmation(self) -> bool:
        """Whether not every member may confirm its runs alone."""
        is_for_all = self.confirmers == Confirmers.MEMBERS and self.approvals_needed == 1
        return self.excludes_author or not is_for_all

    @property
    def confirmation_text(self) -> str:
        """Who confirms its runs, like “2 approvals: approvers and admins”."""
        number = f"{self.approvals_needed} approvals" if self.approvals_needed > 1 else "1 approval"
        without = ", but not whoever wrote the commit" if self.excludes_author else ""
        return f"{number}: {self.get_confirmers_display().lower()}{without}"

    @property
    def teams_text(self) -> str:
        """The teams that have a role on it, like “Ops: Approver, Web: Member”; one query."""
        return ", ".join(map(str, self.team_roles.select_related("team")))

    @property
    def files_read(self) -> list[str]:
        """Files of the repository that its runs read by name, wherever they are."""
        named = named_files(self.var_files, self.backend_config)
        found = (in_repository(self.project_root, path) for path in named)
        return [path for path in found if path]

    @property
    def branch_url(self) -> str:
        return self.integration.provider.branch_url(self.repository.web_url, self.branch)

    @property
    def head_url(self) -> str:
        return self.integration.provider.commit_url(self.repository.web_url, self.head_sha)

    @property
    def head_is_due(self) -> bool:
        """Whether a page should read the head again: it is stale, and can be read."""
        if self.is_detached or self.integration.is_retrying:
            return False
        return self.head_read_at is None or timezone.now() - self.head_read_at > HEAD_IS_FRESH

    @property
    def head_title(self) -> str:
        """The first line of the head commit's message."""
        return self.head_message.strip().partition("\n")[0][:200]

    def move_head(self, position: int, commit: RemoteCommit) -> None:
        """Set a commit as the tracked branch's newest one; `save_head` stores it."""
        self.head_sha, self.head_message = commit.sha[:64], commit.message[:10_000]
        self.head_author, self.head_authored_at = commit.author[:255], commit.authored_at
        self.head_written_by, self.head_pushed_by = commit.written_by, commit.pushed_by
        self.branch_gone_at = None
        self.head_position = position

    def lose_head(self, position: int) -> None:
        """Mark the tracked branch as deleted; its last head stays visible."""
        self.branch_gone_at = self.branch_gone_at or timezone.now()
        self.head_position = position

    def save_head(self) -> None:
        """Store the head, unless a later push or another branch is followed by now."""
        self.head_read_at = timezone.now()
        same = Stack.objects.filter(pk=self.pk, repository=self.repository, branch=self.branch)
        same.filter(Q(head_position=None) | Q(head_position__lte=self.head_position)).update(
            **{field: getattr(self, field) for field in HEAD_FIELDS}
        )

    def follow(self, repository: Repository, branch: str) -> None:
        """Track another branch, whose head is not known yet; runs of the old one are canceled."""
        if (repository, branch) == (self.repository, self.branch):
            return
        with transaction.atomic():
            # No worker may start a run of the old branch meanwhile.
            Repository.objects.select_for_update().get(pk=self.repository_id)
            self.runs.move_to(State.CANCELED)
            self.head_sha = self.head_message = self.head_author = self.head_pushed_by = ""
            self.head_written_by = []
            self.head_authored_at = self.head_read_at = self.branch_gone_at = None
            self.head_position = self.followed_position = None
            self.followed_at = timezone.now()
            self.plans_older = self.plan_older_at = self.plan_again_at = None
            # An admin may be choosing at this moment, and chose for the code that was there.
            self.reach = Stack.objects.select_for_update().get(pk=self.pk).reach
            if repository != self.repository:
                self.reach = Reach.PROJECT
                self.readable.clear()
            self.repository, self.branch = repository, branch
            self.save()
            Stack.objects.filter(pk=self.pk).forget_drift()
            self.refresh_from_db(fields=["drift_run"])
            # What is pending because it was older than the stack would stay pending for good.
            self.reports.filter(blocked_by=Rule.BEFORE_STACK).renew()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            # What was reported as pending would stay pending for good.
            Report.objects.renew_about(self.runs.exclude(state__in=ENDED))
            return super().delete(*args, **kwargs)


class TeamRole(models.Model):
    """What the people of a team are on a stack at least, as an admin says."""

    class Role(models.TextChoices):
        MEMBER = "member", "Member"
        APPROVER = "approver", "Approver"

    stack = models.ForeignKey(
        # The constraint below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="team_roles",
        db_index=False,
    )
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=20, choices=Role.choices)

    class Meta:
        ordering = ("team__name",)
        constraints = (
            models.UniqueConstraint(fields=["stack", "team"], name="one_role_per_team"),
            models.CheckConstraint(
                condition=Q(role__in=["member", "approver"]), name="team_role_words"
            ),
        )

    def __str__(self) -> str:
        return f"{self.team}: {self.get_role_display()}"


def unused_slug(name: str) -> str:
    """Return a slug for a stack's name that no other stack has."""
    base = slugify(name)[:100] or "stack"
    taken = set(Stack.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    taken |= RESERVED_SLUGS
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return next(slug for slug in [base, *numbered] if slug not in taken)
