"""The service hooks that post to us, as they were last read, and what was done about them."""

import re
from collections.abc import Collection
from typing import Self

from django.db import models
from django.db.models import Q

from vcs_integrations.providers.base import HookStatus, RemoteSubscription

# What the hooks we make send as user name: that they are ours, and with which password.
OUR_USERNAME = re.compile(r"stackhook-([0-9a-f]{8})")


class HookState(models.TextChoices):
    """How Stackhook judges a service hook; the text follows "The hook"."""

    OK = "ok", "works"
    ON_PROBATION = "on_probation", "is on probation: its events are dropped"
    DISABLED_BY_USER = "disabled_by_user", "was disabled"
    DISABLED_BY_SYSTEM = "disabled_by_system", "was disabled after failures"
    OWNER_INACTIVE = "owner_inactive", "was disabled: its owner left or lost rights"
    WRONG_URL = "wrong_url", "posts to another URL than the webhook endpoint"
    WRONG_FILTERS = "wrong_filters", "leaves events out"
    REDUCED = "reduced", "sends reduced details"
    WRONG_VERSION = "wrong_version", "asks for another resource version than 1.0"
    WRONG_PASSWORD = "wrong_password", "posts with another webhook password"
    UNSEEN = "unseen", "was made, but the token may not see it"
    UNKNOWN = "unknown", "is in a state that Stackhook does not know"


# Nothing is delivered, and an update does not revive it.
DEAD_STATES = {
    HookState.ON_PROBATION,
    HookState.DISABLED_BY_USER,
    HookState.DISABLED_BY_SYSTEM,
    HookState.OWNER_INACTIVE,
}
# What reading a hook reveals.
READ_FIELDS = [
    "event_type",
    "project_id",
    "is_ours",
    "state",
    "owner",
    "changed_by",
    "filters",
    "password_mark",
    "is_of_before",
    "removed_at",
]
STATES_OF_STATUSES = {
    HookStatus.ON_PROBATION: HookState.ON_PROBATION,
    HookStatus.DISABLED_BY_USER: HookState.DISABLED_BY_USER,
    HookStatus.DISABLED_BY_SYSTEM: HookState.DISABLED_BY_SYSTEM,
    HookStatus.OWNER_INACTIVE: HookState.OWNER_INACTIVE,
    HookStatus.UNKNOWN: HookState.UNKNOWN,
}


REMOVED_BY_SOMEBODY = "Somebody removed it"


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    def present(self) -> Self:
        """Those that the provider holds, as far as is known."""
        return self.filter(removed_at=None, is_of_before=False)

    def behind(self, mark: str) -> Self:
        """Those not known to have the password with that mark."""
        return self.present().filter(~Q(password_mark=mark) | Q(has_wrong_password=True))

    def of_before(self) -> Self:
        """Those from before the last unlinking, which have to be recreated."""
        return self.filter(is_of_before=True)

    def left_over(self) -> Self:
        """Those that unlinking could not remove."""
        return self.of_before().filter(removed_at=None)


class Subscription(models.Model):
    """One service hook that posts to us, of the provider's `hooks` one, in one project."""

    integration = models.ForeignKey(
        # The constraint or index below serves look-ups by integration, too.
        "vcs_integrations.Integration",
        on_delete=models.CASCADE,
        related_name="subscriptions",
        db_index=False,
    )
    external_id = models.CharField(max_length=100)
    event_type = models.CharField(max_length=100)
    project_id = models.CharField(max_length=100, blank=True, help_text="empty: all projects")
    is_ours = models.BooleanField(default=False, help_text="made by Stackhook, not by hand")
    state = models.CharField(max_length=20, choices=HookState, default=HookState.OK)
    owner = models.CharField(max_length=200, blank=True)
    changed_by = models.CharField(max_length=200, blank=True)
    filters = models.CharField(max_length=200, blank=True)
    password_mark = models.CharField(
        max_length=8, blank=True, help_text="which webhook password it was last known to post with"
    )
    has_wrong_password = models.BooleanField(
        default=False, help_text="a test of it was refused for its password"
    )
    is_of_before = models.BooleanField(
        default=False, help_text="as it was when the organization was unlinked"
    )
    removed_at = models.DateTimeField(null=True, blank=True)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        ordering = ("project_id", "event_type", "external_id")
        constraints = (
            models.UniqueConstraint(
                fields=["integration", "external_id"], name="one_subscription_per_id"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[*HookState.values]), name="subscription_state"
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_type} in {self.project_id}"

    @property
    def is_present(self) -> bool:
        """Whether the provider holds it, as far as is known."""
        return self.removed_at is None and not self.is_of_before

    @property
    def is_dead(self) -> bool:
        """Whether nothing is delivered by it, so that it has to be recreated."""
        return self.state in DEAD_STATES

    @property
    def works(self) -> bool:
        """Whether its events arrive; one made by hand may have an old password for a while."""
        if self.state == HookState.WRONG_PASSWORD and not self.is_ours:
            accepted = {secret.mark for secret in self.integration.valid_secrets}
            return self.password_mark in accepted and not self.has_wrong_password
        return self.state == HookState.OK

    @property
    def why(self) -> str:
        """What is wrong with it, in a sentence."""
        text = f"It {self.get_state_display()}"
        if self.state == HookState.DISABLED_BY_USER:
            return f"{text} by {self.changed_by or 'somebody'}"
        if self.state == HookState.OWNER_INACTIVE:
            return f"{text}. Its owner is {self.owner or 'unknown'}"
        if self.state == HookState.WRONG_FILTERS:
            return f"{text}: it is limited by {self.filters}"
        return text

    def update_from(
        self, remote: RemoteSubscription, endpoints: Collection[str], mark: str
    ) -> None:
        """Store what was read; `endpoints` are our URLs, `mark` is the present password's."""
        self.event_type, self.project_id = remote.event_type, remote.project_id
        self.owner, self.filters = remote.owner, remote.filters
        self.changed_by = remote.changed_by
        self.is_of_before, self.removed_at = False, None
        if ours := OUR_USERNAME.fullmatch(remote.username):
            self.is_ours, self.password_mark = True, ours[1]
        self.state = self._read_state(remote, endpoints, mark)

    def _read_state(
        self, remote: RemoteSubscription, endpoints: Collection[str], mark: str
    ) -> HookState:
        if remote.status != HookStatus.ENABLED:
            return STATES_OF_STATUSES[remote.status]
        if remote.url.lower().rstrip("/") + "/" not in {one.lower() for one in endpoints}:
            return HookState.WRONG_URL
        if remote.filters:
            return HookState.WRONG_FILTERS
        if remote.sends_less or (self.is_ours and not remote.sends_all):
            return HookState.REDUCED
        if remote.is_wrong_version:
            return HookState.WRONG_VERSION
        if self.password_mark not in {"", mark} or self.has_wrong_password:
            return HookState.WRONG_PASSWORD
        return HookState.OK


class HookAction(models.Model):
    """What was done about a service hook, by whom, and why."""

    class Kind(models.TextChoices):
        CREATED = "created", "Created"
        RECREATED = "recreated", "Created again"
        CORRECTED = "corrected", "Corrected"
        REMOVED = "removed", "Removed"
        REFUSED = "refused", "Refused"

    integration = models.ForeignKey(
        "vcs_integrations.Integration",
        on_delete=models.CASCADE,
        related_name="hook_actions",
        db_index=False,  # the index below serves
    )
    project_id = models.CharField(max_length=100)
    project_name = models.CharField(max_length=255)
    event_type = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=20, choices=Kind)
    reason = models.CharField(max_length=500)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=["created", "recreated", "corrected", "removed", "refused"]),
                name="hook_action_kind",
            ),
        )
        indexes = (models.Index(fields=["integration", "-id"], name="hook_action_list"),)

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.event_type} in {self.project_name}"

    @property
    def hook_name(self) -> str:
        """What the hook sends, in the provider's words."""
        return self.integration.hook_name(self.event_type)
