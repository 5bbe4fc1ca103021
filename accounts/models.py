"""People who sign in, their tokens, and the audit log of what they did."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone


class User(AbstractUser):
    """A person. A model of our own from the start, since it can't be replaced later."""


class Team(models.Model):
    """People who are given roles together; on its own it gives them nothing."""

    name = models.CharField(max_length=100, unique=True)
    people = models.ManyToManyField(User, blank=True, related_name="teams")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("accounts:edit_team", args=[self.pk])


class PersonalToken(models.Model):
    """A token with which programs of a person read the module registry, as its digest.

    It holds until it expires or is revoked, and as long as its person may sign in and has a role.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256, in hexadecimal")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="empty: never")
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"Token {self.name} of {self.user}"

    @property
    def has_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def has_ended(self) -> bool:
        return self.revoked_at is not None or self.has_expired


class Verb(models.TextChoices):
    """What a person did."""

    LINKED = "linked", "Linked"
    EDITED = "edited", "Edited"
    TESTED = "tested", "Tested"
    TOKEN_REPLACED = "token_replaced", "Replaced the token"
    PASSWORD_REVEALED = "password_revealed", "Revealed the webhook password"
    PASSWORD_ROTATED = "password_rotated", "Changed the webhook password"
    HOOKS_CREATED = "hooks_created", "Had service hooks created"
    HOOKS_LEFT = "hooks_left", "Stopped repairing service hooks"
    HOOK_TESTED = "hook_tested", "Tested a service hook"
    UNLINKED = "unlinked", "Unlinked"
    REPLAYED = "replayed", "Replayed deliveries"
    RECONCILED = "reconciled", "Had repositories reconciled"
    STACK_CREATED = "stack_created", "Created a stack"
    STACK_CHANGED = "stack_changed", "Changed a stack"
    STACK_DELETED = "stack_deleted", "Deleted a stack"
    ENVIRONMENT_CHANGED = "environment_changed", "Changed an environment"
    SHARED_ENVIRONMENT_CREATED = "shared_environment_created", "Created a shared environment"
    SHARED_ENVIRONMENT_CHANGED = "shared_environment_changed", "Changed a shared environment"
    SHARED_ENVIRONMENT_DELETED = "shared_environment_deleted", "Deleted a shared environment"
    SCHEDULES_CHANGED = "schedules_changed", "Changed schedules"
    STATE_GRANTED = "state_granted", "Let a stack read outputs"
    STATE_REVOKED = "state_revoked", "Let a stack no longer read outputs"
    STATE_DOWNLOADED = "state_downloaded", "Downloaded a state"
    STATE_COMPARED = "state_compared", "Compared states"
    STATE_UPLOADED = "state_uploaded", "Uploaded a state"
    STATE_RESTORED = "state_restored", "Restored a state"
    STATE_UNLOCKED = "state_unlocked", "Unlocked a state"
    RUN_APPROVED = "run_approved", "Approved a run"
    RUN_CONFIRMED = "run_confirmed", "Confirmed a run"
    RUN_DISCARDED = "run_discarded", "Discarded a run"
    RUN_CANCELED = "run_canceled", "Canceled a run"
    FORK_ALLOWED = "fork_allowed", "Allowed a commit of a fork"
    PULL_REQUESTS_PLANNED = "pull_requests_planned", "Had open pull requests planned"
    RUN_TRIGGERED = "run_triggered", "Triggered a run"
    RUN_RETRIED = "run_retried", "Retried a run"
    MODULE_CREATED = "module_created", "Created a module"
    MODULE_CHANGED = "module_changed", "Changed a module"
    MODULE_DELETED = "module_deleted", "Deleted a module"
    VERSION_YANKED = "version_yanked", "Yanked a version"
    VERSION_RESTORED = "version_restored", "Restored a version"
    MODULE_CHECKED_AGAIN = "module_checked_again", "Had a module checked again"
    PERSON_ADDED = "person_added", "Added a person"
    PERSON_CHANGED = "person_changed", "Changed a person"
    PERSON_REMOVED = "person_removed", "Removed a person"
    TEAM_CREATED = "team_created", "Created a team"
    TEAM_CHANGED = "team_changed", "Changed a team"
    TEAM_DELETED = "team_deleted", "Deleted a team"
    TOKEN_CREATED = "token_created", "Created a personal token"
    TOKEN_REVOKED = "token_revoked", "Revoked a personal token"
    CHANNEL_CREATED = "channel_created", "Created a notification channel"
    CHANNEL_CHANGED = "channel_changed", "Changed a notification channel"
    CHANNEL_DELETED = "channel_deleted", "Deleted a notification channel"
    NOTIFICATION_RESENT = "notification_resent", "Resent a notification"


class SecurityEvent(models.TextChoices):
    """Who came in and went out, and what was refused."""

    SIGNED_IN = "signed_in", "Signed in"
    SIGNED_OUT = "signed_out", "Signed out"
    PASSWORD_WRONG = "password_wrong", "Wrong password"
    THROTTLED = "throttled", "Too many wrong passwords"
    ACCESS_REFUSED = "access_refused", "Access refused"
    WEBHOOK_REFUSED = "webhook_refused", "Webhook password refused"
    RUN_PASSWORD_REFUSED = "run_password_refused", "Run password refused"
    TOKEN_REFUSED = "token_refused", "Token refused"


class AuditEntry(models.Model):
    """Something that a person did, or that was refused.

    It refers to nothing, so that it stays when the person or the thing is removed: `person` is a
    username, empty if nobody known acted, and `thing` the name that the thing had. A refusal
    happened `count` times between `at` and `until`.
    """

    verb = models.CharField(max_length=40, choices=[*Verb.choices, *SecurityEvent.choices])
    person = models.CharField(max_length=150)
    address = models.GenericIPAddressField(null=True)
    thing_kind = models.CharField(max_length=100)  # the label of its model, like "stacks.stack"
    thing_id = models.BigIntegerField(null=True)
    thing = models.TextField()
    note = models.TextField()
    at = models.DateTimeField()
    until = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)

    # The URL of the thing, where it has one; `with_pages` sets it.
    page = ""

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(verb__in=[*Verb.values, *SecurityEvent.values]),
                name="audit_entry_verb",
            ),
        )
        indexes = (
            models.Index(fields=["verb", "-id"], name="audit_entry_by_verb"),
            models.Index(fields=["thing_kind", "thing_id", "-id"], name="audit_entry_by_thing"),
            # Read by the counting of refusals.
            models.Index(fields=["verb", "person", "at"], name="audit_entry_by_hour"),
        )

    def __str__(self) -> str:
        return f"{self.person}: {self.get_verb_display()} {self.thing}"
