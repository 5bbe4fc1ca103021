"""The provider's projects, in which service hooks live."""

from typing import Self

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from vcs_integrations.models.repository import Repository
from vcs_integrations.models.subscription import HookAction, HookState, Subscription


class ProjectQuerySet(models.QuerySet["Project"]):
    def kept(self) -> Self:
        """Those whose service hooks Stackhook makes and keeps."""
        return self.filter(keeps_hooks=True)

    def refused(self) -> Self:
        """Those where something was refused whose retry is not due yet."""
        return self.filter(retry_at__gt=timezone.now())

    def to_repair(self) -> Self:
        """Those that exist, without those whose refusal is not due for a retry."""
        return self.there().filter(Q(retry_at=None) | Q(retry_at__lte=timezone.now()))

    def start_over(self) -> None:
        """Retry at once what was refused; clear what an earlier token or link left behind."""
        self.update(retry_at=None, refusal_cause="", refusal_fix="", silent_since=None)

    def without_hooks(self) -> Self:
        """Those that stacks use, but whose pushes no webhook reports or is about to report.

        None before the hooks were read once: until then nothing is known.
        """
        return self._used_without(Subscription.objects.present()).filter(
            keeps_hooks=False,
            is_left_alone=False,
            integration__duplicate_of=None,
            integration__hooks_read_at__isnull=False,
        )

    def left_alone(self) -> Self:
        """Those that stacks use, without webhooks because an admin wants none."""
        working = Subscription.objects.present().filter(state=HookState.OK)
        return self._used_without(working).filter(is_left_alone=True)

    def unreported(self, repository: Repository) -> "Project | None":
        """Return a repository's project if no webhook reports its pushes, as wanted or not."""
        return (
            (self.without_hooks() | self.left_alone())
            .filter(integration=repository.integration_id, external_id=repository.project_id)
            .first()
        )

    def _used_without(self, hooks: models.QuerySet[Subscription]) -> Self:
        """Those of linked organizations that stacks use, without such hooks for them or for all."""
        same = {"integration": OuterRef("integration"), "project_id": OuterRef("external_id")}
        return self.there().filter(
            Exists(Repository.objects.in_use().filter(**same)),
            ~Exists(hooks.filter(**same)),
            ~Exists(hooks.filter(**same | {"project_id": ""})),
            integration__unlinked_at=None,
        )

    def with_use(self) -> Self:
        """Each with `is_used`, whether stacks use it."""
        same = {"integration": OuterRef("integration"), "project_id": OuterRef("external_id")}
        return self.annotate(is_used=Exists(Repository.objects.in_use().filter(**same)))

    def there(self) -> Self:
        """Those with repositories that the token may read."""
        return self.filter(is_gone=False)


class Project(models.Model):
    """A project of a linked organization, and how its service hooks are managed."""

    integration = models.ForeignKey(
        # The constraint below serves look-ups by integration, too.
        "vcs_integrations.Integration",
        on_delete=models.CASCADE,
        related_name="projects",
        db_index=False,
    )
    external_id = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    is_gone = models.BooleanField(default=False)
    keeps_hooks = models.BooleanField(
        default=False, help_text="Stackhook makes its hooks and repairs them"
    )
    is_left_alone = models.BooleanField(
        default=False, help_text="an admin wants nothing done or said about its hooks"
    )

    # What the token's owner may not do, reported once and retried rarely
    refusal_cause = models.CharField(max_length=500, blank=True)
    refusal_fix = models.CharField(max_length=500, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)

    # Whether it delivers: the last webhook of a push, when hooks were repaired, and a push of
    # which no webhook came
    repaired_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    silent_since = models.DateTimeField(null=True, blank=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(
                fields=["integration", "external_id"], name="one_project_per_id"
            ),
        )

    def __str__(self) -> str:
        return self.name

    def forget_refusal(self) -> None:
        """Record that nothing is refused any more."""
        self.refusal_cause = self.refusal_fix = ""
        self.retry_at = None
        self.save(update_fields=["refusal_cause", "refusal_fix", "retry_at"])

    @property
    def has_unseen_hooks(self) -> bool:
        """Whether a hook was made that the token may not see."""
        hooks = self.integration.subscriptions.present().filter(state=HookState.UNSEEN)
        return hooks.filter(project_id=self.external_id).exists()

    def record(self, kind: HookAction.Kind, reason: str, event_type: str = "") -> None:
        """Put what was done about its hooks into the record; without event, about all of them."""
        HookAction.objects.create(
            integration=self.integration,
            project_id=self.external_id,
            project_name=self.name,
            event_type=event_type,
            kind=kind,
            reason=reason[:500],
        )

    def note_repair(self) -> None:
        """Record that hooks were repaired, and have repositories that stacks use read at once."""
        Project.objects.filter(pk=self.pk).update(repaired_at=timezone.now())
        self.integration.repositories.filter(project_id=self.external_id).make_due()
