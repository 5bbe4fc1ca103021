"""Linked organizations, what they hold, and what they sent."""

import secrets
import unicodedata
import uuid
from datetime import datetime, timedelta
from typing import Self

from django.conf import settings
from django.core.signing import BadSignature
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.urls import reverse
from django.utils import timezone
from django_cryptography.fields import encrypt
from django_cryptography.utils.crypto import InvalidToken

from vcs_integrations.backoff import wait_after
from vcs_integrations.providers import PROVIDERS
from vcs_integrations.providers.base import (
    TRANSIENT,
    Client,
    Outcome,
    Patience,
    Problem,
    Provider,
    ProviderError,
    digest,
)

REFRESH_EVERY = timedelta(minutes=15)
LOOKED_AT_JUST_NOW = timedelta(minutes=1)
RECONCILE_EVERY = timedelta(minutes=10)
RETRY_FIRST_AFTER = timedelta(seconds=30)
EXPIRY_NOTICE = timedelta(days=30)
# Each word is a condition, of which a database takes only so many.
WORDS_OF_A_SEARCH = 20
LENGTH_OF_A_SEARCH = 2000


HEALTH_FIELDS = [
    "succeeded_at",
    "failed_at",
    "failures",
    "problem",
    "problem_cause",
    "problem_fix",
    "problem_evidence",
    "refresh_at",
]


class IntegrationQuerySet(models.QuerySet["Integration"]):
    def linked(self) -> Self:
        return self.filter(unlinked_at=None)

    def usable(self) -> Self:
        """Those from which stacks can be made."""
        return self.linked().filter(duplicate_of=None)

    def due_for_refresh(self) -> Self:
        return self.linked().filter(refresh_at__lte=timezone.now())

    def hurry_refresh(self) -> None:
        """Have those looked at soon that were well when they were last seen, a while ago."""
        seen_before = timezone.now() - LOOKED_AT_JUST_NOW
        self.filter(problem="", succeeded_at__lt=seen_before).update(refresh_at=timezone.now())

    def with_last_delivery(self) -> Self:
        """Each with `last_delivery_at`, when its newest delivery came."""
        newest = Delivery.objects.filter(integration=OuterRef("pk")).order_by("-pk")
        return self.annotate(last_delivery_at=Subquery(newest.values("received_at")[:1]))

    def receiving(self) -> Self:
        """Linked ones to which something was delivered since they were linked."""
        return self.linked().with_last_delivery().filter(last_delivery_at__gte=F("linked_at"))


class Integration(models.Model):
    """One linked organization. It stays when it is unlinked, for its stacks and its endpoint."""

    provider_key = models.CharField(max_length=40)
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    # A collection of 64 characters outside ASCII has 768, percent-encoded.
    organization_url = models.CharField(max_length=1000)
    organization_name = models.CharField(max_length=100)
    organization_key = models.CharField(
        max_length=400, help_text="the same for all addresses of one organization"
    )
    external_id = models.CharField(
        max_length=100, blank=True, help_text="the organization's id, once the provider told it"
    )
    duplicate_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="duplicates"
    )
    joined_to = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="joined",
        help_text="the integration that this one turned out to be; its endpoint leads there",
    )
    endpoint_uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    webhook_password_digest = models.CharField(max_length=64, blank=True, editable=False)
    token_expires_on = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    linked_at = models.DateTimeField(default=timezone.now)
    unlinked_at = models.DateTimeField(null=True, blank=True)

    # Health: the last good and the last failed call, and when to look again
    succeeded_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0, help_text="since the last good call")
    problem = models.CharField(max_length=40, blank=True)
    problem_cause = models.CharField(max_length=500, blank=True)
    problem_fix = models.CharField(max_length=500, blank=True)
    problem_evidence = models.CharField(max_length=100, blank=True)
    refresh_at = models.DateTimeField(null=True, blank=True)

    # Reporting: how it is done, and until when nothing is sent
    reports_all_stacks_at_once = models.BooleanField(default=False)
    reports_held_until = models.DateTimeField(null=True, blank=True)

    objects = IntegrationQuerySet.as_manager()

    class Meta:
        ordering = ("created_at",)
        constraints = (
            models.UniqueConstraint(
                fields=["provider_key", "organization_key"],
                condition=Q(unlinked_at=None, duplicate_of=None),
                name="one_link_per_address",
            ),
            models.UniqueConstraint(
                fields=["provider_key", "external_id"],
                condition=Q(unlinked_at=None, duplicate_of=None) & ~Q(external_id=""),
                name="one_link_per_organization",
            ),
        )
        indexes = (
            models.Index(
                fields=["refresh_at"],
                condition=Q(unlinked_at=None),
                name="integration_due",  # read by the worker's sweep
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider.name} · {self.organization_name}"

    def get_absolute_url(self) -> str:
        return reverse("integration", args=[self.pk])

    @property
    def provider(self) -> Provider:
        return PROVIDERS[self.provider_key]

    @property
    def is_linked(self) -> bool:
        return self.unlinked_at is None

    @property
    def is_retrying(self) -> bool:
        """Whether the provider could not be reached and is tried again by itself."""
        return self.problem in TRANSIENT

    @property
    def was_reached(self) -> bool:
        """Whether there was a good call since it was linked: before, it is not known."""
        return self.succeeded_at is not None

    @property
    def endpoint_url(self) -> str:
        path = reverse("webhook", args=[self.provider.slug, self.endpoint_uuid])
        return f"{settings.PUBLIC_URL}{path}"

    @property
    def endpoint_refusal(self) -> str:
        """Why the provider would not deliver to the endpoint; empty if it would."""
        return self.provider.refuses_endpoint(self.endpoint_url)

    @property
    def token_days_left(self) -> int | None:
        """Days until the token ends as the admin entered it; negative once it has."""
        if self.token_expires_on is None:
            return None
        return (self.token_expires_on - timezone.now().date()).days

    @property
    def token_ends_soon(self) -> bool:
        return self.token_days_left is not None and self.token_days_left <= EXPIRY_NOTICE.days

    def client(self, patience: Patience) -> Client:
        """Return a client with the stored token. Raises ProviderError when it is unreadable."""
        return self.provider.client(self.organization_url, self.read_credentials().token, patience)

    def read_credentials(self) -> "Credentials":
        """Return token and password, decrypted. Raises ProviderError with the wrong key."""
        try:
            return Credentials.objects.get(integration=self)
        except Credentials.DoesNotExist:
            raise ProviderError(
                Problem.TOKEN_REFUSED,
                f"{self} is not linked, so there is no token.",
                "Link the organization again.",
            ) from None
        except (BadSignature, InvalidToken, ValueError):
            raise ProviderError(
                Problem.WRONG_KEY,
                "The stored token and webhook password can't be decrypted.",
                "Start Stackhook with the FIELD_ENCRYPTION_KEY they were stored with, or enter "
                "the token again.",
            ) from None

    def give_credentials(self, token: str) -> None:
        """Store the token and a new webhook password."""
        password = secrets.token_urlsafe(32)
        Credentials.objects.filter(integration=self).delete()
        Credentials.objects.create(integration=self, token=token, webhook_password=password)
        self.webhook_password_digest = digest(password.encode())
        self.save(update_fields=["webhook_password_digest"])

    def record_success(self) -> None:
        """Note a good call."""
        self.succeeded_at = timezone.now()
        self.failures = 0
        self.problem = self.problem_cause = self.problem_fix = self.problem_evidence = ""
        self.refresh_at = self.succeeded_at + REFRESH_EVERY
        self.save(update_fields=HEALTH_FIELDS)

    def record_failure(self, error: ProviderError) -> None:
        """Note a failed call and when to try again: soon, then less and less often.

        A good call that was noted while this one failed, with a new token perhaps, stays.
        """
        unchanged = Integration.objects.filter(pk=self.pk, succeeded_at=self.succeeded_at)
        self.failed_at = timezone.now()
        self.failures += 1
        self.problem = error.problem
        self.problem_cause, self.problem_fix = error.cause[:500], error.fix[:500]
        self.problem_evidence = error.evidence[:100]
        wait = wait_after(self.failures - 1, RETRY_FIRST_AFTER, REFRESH_EVERY)
        if not error.is_transient:
            wait = REFRESH_EVERY
        if error.retry_after:
            wait = max(wait, timedelta(seconds=error.retry_after))
        self.refresh_at = self.failed_at + wait
        unchanged.update(**{field: getattr(self, field) for field in HEALTH_FIELDS})


class Credentials(models.Model):
    """An integration's secrets, apart from it so that only who needs them decrypts them."""

    integration = models.OneToOneField(Integration, on_delete=models.CASCADE, primary_key=True)
    token = encrypt(models.CharField(max_length=4096))
    webhook_password = encrypt(models.CharField(max_length=256))

    class Meta:
        verbose_name_plural = "credentials"

    def __str__(self) -> str:
        return f"Credentials of {self.integration_id}"


class PasswordReveal(models.Model):
    """Who looked at a webhook password, and when."""

    integration = models.ForeignKey(Integration, on_delete=models.CASCADE, related_name="reveals")
    username = models.CharField(max_length=150)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"{self.username} at {self.at}"


class RepositoryQuerySet(models.QuerySet["Repository"]):
    def offered(self) -> Self:
        """Those a stack can be made from: there, enabled, and of a usable integration."""
        return self.filter(
            is_disabled=False,
            gone_at=None,
            integration__unlinked_at=None,
            integration__duplicate_of=None,
        )

    def in_use(self) -> Self:
        """Those that stacks use."""
        return self.filter(reconcile_at__isnull=False)

    def to_reconcile(self) -> Self:
        """Those that stacks use and that can be read."""
        there = self.in_use().filter(gone_at=None, is_disabled=False)
        return there.filter(integration__unlinked_at=None)

    def due_for_reconciliation(self) -> Self:
        """Those whose pushes and pull requests are to be read now."""
        now = timezone.now()
        free = Q(reconcile_lease=None) | Q(reconcile_lease__lt=now)
        return self.to_reconcile().filter(free, reconcile_at__lte=now)

    def hurry(self) -> int:
        """Let those that stacks use be reconciled at once; return how many there are."""
        return self.in_use().update(reconcile_at=timezone.now())

    def matching(self, text: str) -> Self:
        """Those whose project/name has every word of the text, in any case."""
        repositories = self
        for word in search_words(text):
            repositories = repositories.filter(search_text__contains=word)
        return repositories


def search_key(text: str) -> str:
    """Return text as the search compares it: SQLite itself folds the case of ASCII only.

    Composed and decomposed accents, as different keyboards send them, are the same.
    """
    return unicodedata.normalize("NFC", text).casefold()


def search_words(text: str) -> list[str]:
    """Return the words of a search, as they are compared."""
    return search_key(text[:LENGTH_OF_A_SEARCH]).split()[:WORDS_OF_A_SEARCH]


class Repository(models.Model):
    """A remote repository as it was last listed, keyed by the provider's id."""

    integration = models.ForeignKey(
        # The constraint or index below serves look-ups by integration, too.
        Integration,
        on_delete=models.CASCADE,
        related_name="repositories",
        db_index=False,
    )
    external_id = models.CharField(max_length=100)
    name = models.CharField(max_length=255)
    project_id = models.CharField(max_length=100)
    project_name = models.CharField(max_length=255)
    search_text = models.CharField(max_length=1024, editable=False)
    default_branch = models.CharField(max_length=500, blank=True)
    is_disabled = models.BooleanField(default=False)
    gone_at = models.DateTimeField(null=True, blank=True)

    # Reconciliation: how far it has read, and when to read on; null until a stack needs it
    seen_push_id = models.BigIntegerField(null=True, blank=True)
    seen_pull_request = models.BigIntegerField(default=0)
    reconcile_at = models.DateTimeField(null=True, blank=True)
    reconciled_at = models.DateTimeField(null=True, blank=True)
    reconcile_failures = models.PositiveIntegerField(default=0)
    reconcile_lease = models.DateTimeField(
        null=True, blank=True, help_text="until then a worker reads it, and no other does"
    )

    objects = RepositoryQuerySet.as_manager()

    class Meta:
        ordering = ("search_text",)
        verbose_name_plural = "repositories"
        constraints = (
            models.UniqueConstraint(
                fields=["integration", "external_id"], name="one_repository_per_id"
            ),
        )
        indexes = (
            models.Index(fields=["integration", "search_text"], name="repository_list"),
            models.Index(fields=["integration", "project_name"], name="repository_projects"),
            models.Index(
                fields=["reconcile_at"],
                condition=Q(reconcile_at__isnull=False),
                name="repository_due",  # read by the worker's sweep
            ),
        )

    def __str__(self) -> str:
        return f"{self.project_name}/{self.name}"

    @property
    def web_url(self) -> str:
        integration = self.integration
        return integration.provider.repository_url(
            integration.organization_url, self.project_name, self.name
        )


class Subscription(models.Model):
    """A service hook that was to be removed when its integration was unlinked.

    Those that could not be removed are left-overs; all of them have to be made anew when
    the organization is linked again.
    """

    integration = models.ForeignKey(
        # The constraint or index below serves look-ups by integration, too.
        Integration,
        on_delete=models.CASCADE,
        related_name="subscriptions",
        db_index=False,
    )
    external_id = models.CharField(max_length=100)
    event_type = models.CharField(max_length=100)
    project_id = models.CharField(max_length=100, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("project_id", "event_type")
        constraints = (
            models.UniqueConstraint(
                fields=["integration", "external_id"], name="one_subscription_per_id"
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_type} in {self.project_id}"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self) -> Self:
        """Those that wait to be processed, now."""
        return self.filter(process_at__lte=timezone.now())

    def waiting(self) -> Self:
        """Those that are not processed yet."""
        # Said so that SQLite takes the index of the few that wait; `exclude` reads them all.
        return self.filter(process_at__isnull=False)


class Delivery(models.Model):
    """One stored webhook request and what became of it; it is its own place in the queue."""

    integration = models.ForeignKey(
        # The constraint or index below serves look-ups by integration, too.
        Integration,
        on_delete=models.CASCADE,
        related_name="deliveries",
        db_index=False,
    )
    received_at = models.DateTimeField(default=timezone.now)
    outcome = models.CharField(max_length=20, choices=[(o.value, o.value) for o in Outcome])
    reason = models.CharField(max_length=200, blank=True)
    event_type = models.CharField(max_length=100, blank=True)
    subscription_id = models.UUIDField(null=True, blank=True)
    notification_id = models.BigIntegerField(null=True, blank=True)
    repository_id = models.CharField(max_length=100, blank=True)
    repository_name = models.CharField(max_length=200, blank=True)
    project_id = models.CharField(max_length=100, blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField()

    # When to process it, null once that is done; a worker that takes it moves the time ahead
    process_at = models.DateTimeField(null=True, blank=True)
    processed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = (
            # A repeat is stored too, as a duplicate; only one row may count.
            models.UniqueConstraint(
                fields=["integration", "subscription_id", "notification_id"],
                condition=~Q(outcome=Outcome.DUPLICATE.value),
                name="one_delivery_per_notification",
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=[o.value for o in Outcome]), name="delivery_outcome"
            ),
        )
        indexes = (
            models.Index(fields=["integration", "-id"], name="delivery_list"),
            models.Index(fields=["received_at"], name="delivery_age"),  # read by the pruning
            models.Index(
                fields=["process_at"],
                condition=Q(process_at__isnull=False),
                name="delivery_due",  # read by the worker, all the time
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_type or 'delivery'} {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("delivery", args=[self.integration_id, self.pk])

    @property
    def event_name(self) -> str:
        """The event in the provider's words."""
        return self.integration.provider.events.get(self.event_type, self.event_type)

    def settle(self, outcome: Outcome, reason: str = "") -> bool:
        """Note what processing it came to; False where another worker has done so meanwhile."""
        as_taken = Delivery.objects.waiting().filter(pk=self.pk, processed_at=self.processed_at)
        return bool(
            as_taken.update(
                outcome=outcome,
                reason=reason[:200],
                process_at=None,
                processed_at=timezone.now(),
            )
        )

    def postpone(self, reason: str, until: datetime) -> None:
        """Note why it could not be processed yet, and when to try again."""
        self.attempts += 1
        self.reason, self.process_at = reason[:200], until
        still_waiting = Delivery.objects.waiting().filter(pk=self.pk)
        still_waiting.update(attempts=self.attempts, reason=self.reason, process_at=self.process_at)

    @property
    def is_waiting(self) -> bool:
        return self.process_at is not None

    @property
    def can_be_replayed(self) -> bool:
        return self.outcome in REPLAYABLE

    @property
    def outcome_text(self) -> str:
        return OUTCOME_TEXTS[Outcome(self.outcome)]


# The others tell nothing that a stack could use.
REPLAYABLE = {Outcome.STORED, Outcome.RUN, Outcome.NO_RUN}
OUTCOME_TEXTS = {
    Outcome.STORED: "Stored",
    Outcome.RUN: "Run",
    Outcome.NO_RUN: "No run",
    Outcome.TEST: "Test received",
    Outcome.DUPLICATE: "Duplicate",
    Outcome.UNKNOWN_EVENT: "Ignored: unknown event",
    Outcome.UNREADABLE: "Unreadable",
}
