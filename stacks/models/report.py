"""Reports: statuses and comments on commits and pull requests, waiting to be sent or sent."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from core.leases import NOW, Leased, LeasedQuerySet, Moment
from core.prepared import Prepared
from stacks.rules.states import Origin
from vcs_integrations.models import Integration, Repository, takes_reports

if TYPE_CHECKING:
    from stacks.models.run import PullRequest, Run
    from stacks.models.stack import Stack

# A host may divide a policy's `genre/name` at the last slash; no slug has one.
GENRE = "stackhook"
# The name of the status for all stacks at once; no stack has this slug.
ALL_STACKS = "all"
# Others claim a killed sender's reports after this, longer than a sender may take.
LEASE = timedelta(minutes=3)
# How often an older revision's status may fail before a newer one's overtakes it.
WAITING_ATTEMPTS = 3


def policy_name(stack: "Stack") -> str:
    """Return `genre/name` as a branch policy asks for a stack's status."""
    name = ALL_STACKS if stack.integration.reports_all_stacks_at_once else stack.slug
    return f"{GENRE}/{name}"


class What(models.TextChoices):
    """The kind of a report."""

    COMMIT_STATUS = "commit_status"
    PULL_REQUEST_STATUS = "pull_request_status"
    COMMENT = "comment"


class ReportState(models.TextChoices):
    """Whether the provider has it; a refusal is final."""

    WAITING = "waiting"
    SENT = "sent"
    REFUSED = "refused"


class Without(TypedDict, total=False):
    """Why a revision has no result: nothing of what it is about changes, or a rule blocks it."""

    is_ignored: bool
    blocked_by: str


class ReportQuerySet(LeasedQuerySet["Report"]):
    def waiting(self) -> Self:
        return self.filter(state=ReportState.WAITING)

    def refused(self) -> Self:
        return self.filter(state=ReportState.REFUSED)

    def for_pages(self) -> Self:
        """With all that a page shows of a report."""
        return self.select_related(
            "stack", "repository__integration", "pull_request__repository__integration"
        )

    def of(self, integration: Integration) -> Self:
        return self.filter(repository__integration=integration)

    def due(self, at: Moment = None) -> Self:
        """Those due now, each pull request's in the order of its revisions."""
        at = at or timezone.now()
        older = Report.objects.waiting().filter(
            what=What.PULL_REQUEST_STATUS,
            pull_request=OuterRef("pull_request"),
            name=OuterRef("name"),
            revision__lt=OuterRef("revision"),
            failures__lt=WAITING_ATTEMPTS,
        )
        may = super().due(at).waiting().filter(takes_reports(at, "repository__integration__"))
        comes_first = Q(what=What.PULL_REQUEST_STATUS) & Exists(older)
        return may.exclude(comes_first)

    def claim(self, duration: timedelta, most: int = 1) -> list["Report"]:
        """Claim reports, as all work is claimed."""
        # While all are held, thousands may wait, and this need not read them each time.
        if not _any_takes_reports.rows(now=timezone.now()):
            return []
        return super().claim(duration, most)

    def renew(self) -> int:
        """Have them sent again, since something may have changed; return how many.

        The provider's refusals stay.
        """
        return self.exclude(state=ReportState.REFUSED).update(
            **_waiting_from_now(), version=F("version") + 1
        )

    def renew_overtaken(self, report: "Report") -> None:
        """Have the statuses of newer revisions sent again, since an older one's came after them.

        A policy that is not reset by new changes may use the last one of all.
        """
        newer = self.filter(
            what=What.PULL_REQUEST_STATUS,
            pull_request=report.pull_request_id,
            name=report.name,
            revision__gt=report.revision or 0,
        ).exclude(sent="")
        newer.update(is_overtaken=True)
        newer.renew()

    def renew_about(self, runs: Iterable["Run"]) -> None:
        """Have all reports sent again that are about these runs, alone or with others."""
        runs = list(runs)
        ours = Q(stack__in={run.stack_id for run in runs}) | Q(name=ALL_STACKS)
        self.filter(
            ours,
            repository__in={run.repository_id for run in runs},
            sha__in={run.sha for run in runs},
        ).renew()
        if planned := [run.pk for run in runs if run.origin == Origin.IMPACT]:
            of_module = self.exclude(module="")
            of_module.filter(pull_request__proposed_modules__run__in=planned).renew()

    def add_about(self, runs: Sequence["Run"]) -> None:
        """Have runs of one stack and repository reported on their commits."""
        stack = runs[0].stack
        self._put_on_commits(stack, runs)
        if stack.integration.reports_all_stacks_at_once:
            self._put_on_commits(None, runs)

    def add_revision(
        self,
        stack: "Stack",
        pull_request: "PullRequest",
        revision: int,
        sha: str,
        *,
        is_ignored: bool = False,
        blocked_by: str = "",
    ) -> None:
        """Have a stack's result for a revision of a pull request reported."""
        about = {
            "repository": pull_request.repository,
            "sha": sha,
            "is_ignored": is_ignored,
            "blocked_by": blocked_by,
        }
        if stack.integration.provider.has_pull_request_statuses:
            place = {"pull_request": pull_request, "revision": revision}
            self._add(stack, What.PULL_REQUEST_STATUS, place, about)
        else:
            place = {"repository": pull_request.repository, "sha": sha}
            self._add(stack, What.COMMIT_STATUS, place, about)
        comments = self.filter(what=What.COMMENT, pull_request=pull_request, name=stack.slug)
        if not comments.filter(revision__gt=revision).exists():
            about |= {"revision": revision}
            self._put(stack, What.COMMENT, {"pull_request": pull_request}, about)

    def add_module(
        self,
        module: str,
        name: str,
        pull_request: "PullRequest",
        revision: int,
        sha: str,
        **without: Unpack[Without],
    ) -> None:
        """Have a result for a module and a revision of a pull request reported, in a status and a
        comment of that name. `without` is as in `add_revision_of_module`."""
        self.add_revision_of_module(module, name, pull_request, revision, sha, **without)
        about = {"module": module, "repository": pull_request.repository, "sha": sha}
        about |= {"revision": revision} | _of_module(**without)
        self._store(What.COMMENT, name, {"pull_request": pull_request}, about)

    def add_revision_of_module(
        self,
        module: str,
        name: str,
        pull_request: "PullRequest",
        revision: int,
        sha: str,
        **without: Unpack[Without],
    ) -> None:
        """Have a result for a module and a revision of a pull request reported, in a status.

        `without` says why there is none: `is_ignored` as nothing of the module changes, or a rule
        that it is `blocked_by`.
        """
        repository = pull_request.repository
        about = {"module": module, "repository": repository, "sha": sha} | _of_module(**without)
        if repository.integration.provider.has_pull_request_statuses:
            place = {"pull_request": pull_request, "revision": revision}
            self._store(What.PULL_REQUEST_STATUS, name, place, about)
        else:
            place = {"repository": repository, "sha": sha}
            self._store(What.COMMIT_STATUS, name, place, about)

    def add_of_module(self, module: str, name: str, repository: Repository, sha: str) -> None:
        """Have a result for a module reported on a commit, in a status of that name."""
        place = {"repository": repository, "sha": sha}
        self._store(What.COMMIT_STATUS, name, place, {"module": module} | _renewed(None))

    def of_module(self, module: str) -> Self:
        return self.filter(module=module)

    def _add(
        self, stack: "Stack", what: What, place: dict[str, Any], about: dict[str, Any]
    ) -> None:
        """Have a status reported, alone and perhaps as a part of that of all stacks."""
        self._put(stack, what, place, about)
        if stack.integration.reports_all_stacks_at_once:
            self._put(None, what, place, about | {"is_ignored": False, "blocked_by": ""})

    def _put_on_commits(self, stack: "Stack | None", runs: Sequence["Run"]) -> None:
        """Have statuses on the commits of runs sent, of a stack or of all of them."""
        place = {
            "what": What.COMMIT_STATUS,
            "name": stack.slug if stack else ALL_STACKS,
            "repository": runs[0].repository,
        }
        changes = _renewed(stack)
        shas = {run.sha: None for run in runs}  # in their order
        there = self.filter(**place, sha__in=shas)
        known = set(there.values_list("sha", flat=True))
        if known:
            there.update(**changes, version=F("version") + 1)
        self.bulk_create(Report(**place, sha=sha, **changes) for sha in shas if sha not in known)

    def _put(
        self, stack: "Stack | None", what: What, place: dict[str, Any], about: dict[str, Any]
    ) -> None:
        name = stack.slug if stack else ALL_STACKS
        self._store(what, name, place, about | _renewed(stack))

    def _store(self, what: What, name: str, place: dict[str, Any], changes: dict[str, Any]) -> None:
        place |= {"what": what, "name": name}
        if not self.filter(**place).update(**changes, version=F("version") + 1):
            self.create(**place | changes)


def _of_module(*, is_ignored: bool = False, blocked_by: str = "") -> dict[str, Any]:
    return {"is_ignored": is_ignored, "blocked_by": blocked_by} | _renewed(None)


_any_takes_reports = Prepared(
    lambda: Integration.objects.filter(takes_reports(NOW)).order_by().values("pk")[:1]
)


def _renewed(stack: "Stack | None") -> dict[str, Any]:
    return {"stack": stack, "decided_at": timezone.now()} | _waiting_from_now()


def _waiting_from_now() -> dict[str, Any]:
    now = timezone.now()
    return {"state": ReportState.WAITING, "changed_at": now, "due_at": now}


class Report(Leased):
    """One place at the provider that shows a result: a status, or a comment.

    It doesn't hold the result, which is read from the runs when it is sent, so that it is never out
    of date. `version` counts how often there was something new, and `sent` is a digest of what
    the provider accepted last. Several runs of a commit share one report.
    """

    what = models.CharField(max_length=20, choices=What.choices)
    name = models.CharField(
        max_length=220, help_text="the stack's slug, or that for all stacks or for a module"
    )
    stack = models.ForeignKey(
        "stacks.Stack",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="reports",
        help_text="empty for all stacks at once, and once the stack was deleted",
    )
    module = models.CharField(
        max_length=200,
        blank=True,
        help_text="address of the module it is about, in place of a stack",
    )
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="reports")
    sha = models.CharField(max_length=64)
    pull_request = models.ForeignKey(
        "stacks.PullRequest",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="reports",
    )
    revision = models.PositiveIntegerField(null=True, blank=True)
    is_ignored = models.BooleanField(default=False, help_text="by the path rule")
    blocked_by = models.CharField(
        max_length=40, blank=True, help_text="the rule by which an open pull request has no run"
    )
    decided_at = models.DateTimeField(
        default=timezone.now, help_text="when the stack last decided about the commit"
    )

    state = models.CharField(
        max_length=20, choices=ReportState.choices, default=ReportState.WAITING
    )
    version = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(null=True, blank=True, default=timezone.now)
    problem = models.CharField(max_length=500, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    is_uncertain = models.BooleanField(
        default=False, help_text="something was posted, and may have arrived or not"
    )
    sent = models.CharField(max_length=64, blank=True)
    is_overtaken = models.BooleanField(
        default=False, help_text="an older revision's status came after the last one sent"
    )
    is_pending = models.BooleanField(
        default=False, help_text="whether the status sent last is pending"
    )
    thread_id = models.BigIntegerField(null=True, blank=True)
    comment_id = models.BigIntegerField(null=True, blank=True)
    commented_at = models.DateTimeField(
        null=True, blank=True, help_text="when the comment was posted, if that is known"
    )

    objects = ReportQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["repository", "sha", "name"],
                condition=Q(what=What.COMMIT_STATUS.value),
                name="one_status_per_commit",
            ),
            models.UniqueConstraint(
                fields=["pull_request", "revision", "name"],
                condition=Q(what=What.PULL_REQUEST_STATUS.value),
                name="one_status_per_revision",
            ),
            models.UniqueConstraint(
                fields=["pull_request", "name"],
                condition=Q(what=What.COMMENT.value),
                name="one_comment_per_pull_request",
            ),
            models.CheckConstraint(
                condition=Q(what__in=What.values) & Q(state__in=ReportState.values),
                name="report_words",
            ),
        )
        indexes = (
            models.Index(fields=["repository", "sha"], name="report_by_commit"),
            models.Index(
                fields=["module", "sha"], condition=~Q(module=""), name="report_by_module"
            ),
            models.Index(
                fields=["due_at"],
                condition=Q(state=ReportState.WAITING.value),
                name="report_due",  # read by the worker, all the time
            ),
        )

    def __str__(self) -> str:
        if self.what == What.COMMENT:
            return f"Comment of {self.name} on {self.pull_request}"
        if self.what == What.PULL_REQUEST_STATUS:
            return f"Status {self.name} of {self.pull_request}, revision {self.revision}"
        return f"Status {self.name} of commit {self.sha[:8]}"

    @property
    def kind(self) -> str:
        return "Comment" if self.what == What.COMMENT else "Status"

    @property
    def url(self) -> str:
        """The provider's page of the commit or the pull request."""
        if self.pull_request:
            return self.pull_request.web_url
        provider = self.repository.integration.provider
        return provider.commit_url(self.repository.web_url, self.sha)

    @property
    def is_for_all_stacks(self) -> bool:
        return self.name == ALL_STACKS

    @property
    def is_of_one_stack(self) -> bool:
        return not (self.is_for_all_stacks or self.module)
