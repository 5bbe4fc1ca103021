"""A linked organization: its address, its endpoint, its health."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models import F, OuterRef, Q, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property

from core.backoff import wait_after
from core.encryption import WrongKey, decrypting
from core.leases import Leased, LeasedQuerySet, Moment
from core.network.ip_addresses import is_loopback
from vcs_integrations.models.credentials import Credentials
from vcs_integrations.models.delivery import Delivery
from vcs_integrations.models.endpoint import Endpoint
from vcs_integrations.models.hook_watch import HookWatch
from vcs_integrations.models.webhook_secret import (
    WebhookSecret,
    WebhookSecretQuerySet,
    new_webhook_password,
)
from vcs_integrations.providers import PROVIDERS
from vcs_integrations.providers.base import (
    BACKGROUND,
    TRANSIENT,
    CallLimits,
    Client,
    Problem,
    Provider,
    ProviderError,
    digest,
)

REFRESH_EVERY = timedelta(minutes=15)
LOOKED_AT_JUST_NOW = timedelta(minutes=1)
RETRY_FIRST_AFTER = timedelta(seconds=30)
EXPIRY_NOTICE = timedelta(days=30)

HEALTH_FIELDS = [
    "succeeded_at",
    "failed_at",
    "failures",
    "problem",
    "problem_cause",
    "problem_fix",
    "problem_evidence",
    "due_at",
]


def takes_reports(at: Moment, path: str = "") -> Q:
    """Return the condition that an integration is linked, and its reports are not held then.

    `path` leads to it from the rows that are filtered, like `repository__integration__`.
    """
    is_free = Q((f"{path}reports_held_until", None)) | Q((f"{path}reports_held_until__lte", at))
    return is_free & Q((f"{path}unlinked_at", None))


class IntegrationQuerySet(LeasedQuerySet["Integration"]):
    def linked(self) -> Self:
        return self.filter(unlinked_at=None)

    def usable(self) -> Self:
        """Those from which stacks can be made."""
        return self.linked().filter(duplicate_of=None)

    def not_joined(self) -> Self:
        """Those that were not joined to another: their endpoints lead to themselves."""
        return self.filter(endpoint__integration=F("pk"))

    def due(self, at: Moment = None) -> Self:
        """Those due to be refreshed."""
        return super().due(at).linked()

    def make_hooks_due(self) -> None:
        """Have the worker read the service hooks at once."""
        HookWatch.objects.filter(integration__in=self).update(due_at=timezone.now())

    def make_refresh_due(self) -> None:
        """Have those refreshed soon that were healthy a while ago."""
        seen_before = timezone.now() - LOOKED_AT_JUST_NOW
        self.filter(problem="", succeeded_at__lt=seen_before).update(due_at=timezone.now())

    def with_last_delivery(self) -> Self:
        """Each with `last_delivery_at`, when its newest delivery came."""
        newest = Delivery.objects.filter(integration=OuterRef("pk")).order_by("-pk")
        return self.annotate(last_delivery_at=Subquery(newest.values("received_at")[:1]))


class Integration(Leased):
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
        max_length=100, blank=True, help_text="the organization's id, once it is known"
    )
    duplicate_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="duplicates"
    )
    token_owner = models.CharField(
        max_length=255, blank=True, help_text="the token's owner, once known"
    )
    token_expires_on = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    linked_at = models.DateTimeField(default=timezone.now)
    unlinked_at = models.DateTimeField(null=True, blank=True)

    # Health: the last successful and the last failed call, and when to check again
    succeeded_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=40, blank=True)
    problem_cause = models.CharField(max_length=500, blank=True)
    problem_fix = models.CharField(max_length=500, blank=True)
    problem_evidence = models.CharField(max_length=100, blank=True)

    # Reporting: how it is done, and until when nothing is sent
    reports_all_stacks_at_once = models.BooleanField(default=False)
    reports_held_until = models.DateTimeField(null=True, blank=True)

    # Service hooks: when they were read, and how far deliveries were counted; see HookWatch
    hooks_read_at = models.DateTimeField(null=True, blank=True)
    hooks_problem = models.CharField(max_length=500, blank=True)
    counted_delivery = models.BigIntegerField(default=0)

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
                fields=["due_at"],
                condition=Q(unlinked_at=None),
                name="integration_due",  # read by the worker's sweep
            ),
        )

    def __str__(self) -> str:
        return f"{self.provider.name} · {self.organization_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        is_new = self._state.adding
        super().save(*args, **kwargs)
        if is_new:
            Endpoint.objects.create(integration=self, made_for=self)
            HookWatch.objects.create(integration=self, due_at=timezone.now())

    def get_absolute_url(self) -> str:
        """Its page; once it is unlinked that of its deliveries, which is what is left."""
        return reverse(
            "integrations:detail" if self.is_linked else "integrations:deliveries", args=[self.pk]
        )

    @property
    def provider(self) -> Provider:
        return PROVIDERS[self.provider_key]

    @property
    def is_linked(self) -> bool:
        return self.unlinked_at is None

    @property
    def was_linked_before(self) -> bool:
        """Whether its organization is already linked by another integration."""
        return self.created_at < self.linked_at

    @property
    def is_retrying(self) -> bool:
        """Whether the provider could not be reached and Stackhook retries."""
        return self.problem in TRANSIENT

    @property
    def was_reached(self) -> bool:
        """Whether a call succeeded since it was linked."""
        return self.succeeded_at is not None

    @property
    def endpoint_url(self) -> str:
        return self._url_of(self.endpoint)

    @cached_property
    def endpoint_urls(self) -> set[str]:
        """All URLs of ours that lead to this integration: its own and those of joined ones."""
        return {self._url_of(one) for one in self.endpoints.all()}

    def _url_of(self, endpoint: Endpoint) -> str:
        path = reverse("integrations:webhook", args=[self.provider.slug, endpoint.uuid])
        return f"{settings.PUBLIC_URL}{path}"

    @cached_property
    def valid_secrets(self) -> list[WebhookSecret]:
        """The webhook passwords that are accepted, the present one first; their values deferred."""
        return list(self.webhook_secrets.valid().defer("value"))

    @property
    def password_mark(self) -> str:
        """The mark of the present webhook password; empty if there is none."""
        return self.valid_secrets[0].mark if self.valid_secrets else ""

    @property
    def old_secrets(self) -> WebhookSecretQuerySet:
        """The earlier webhook passwords that were still accepted when read."""
        return self.webhook_secrets.filter(pk__in=[one.pk for one in self.valid_secrets[1:]])

    @property
    def accepts_old_password(self) -> bool:
        """Whether a webhook password before the present one is still accepted."""
        return len(self.valid_secrets) > 1

    @property
    def endpoint_refusal(self) -> str:
        """Why the provider would not deliver to the endpoint; empty if it would."""
        return self.provider.refuses_endpoint(self.endpoint_url)

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the organization is none of the real ones, which nobody reaches like this."""
        return is_loopback(str(urlsplit(self.organization_url).hostname))

    @property
    def token_days_left(self) -> int | None:
        """Days until the token ends as the admin entered it; negative once it has."""
        if self.token_expires_on is None:
            return None
        return (self.token_expires_on - timezone.now().date()).days

    @property
    def token_ends_soon(self) -> bool:
        return self.token_days_left is not None and self.token_days_left <= EXPIRY_NOTICE.days

    @property
    def token_end_text(self) -> str:
        """When the token ends, as the end of a sentence about it; empty if it is not known."""
        days = self.token_days_left
        if days is None:
            return ""
        if days < 0:
            return "has ended"
        return {0: "ends today", 1: "ends tomorrow"}.get(days, f"ends in {days} days")

    def event_name(self, event_type: str) -> str:
        """Return an event in the words of the provider's pages; one it does not know as it is."""
        return self.provider.events.get(event_type, event_type)

    def hook_name(self, event_type: str) -> str:
        """Return what a service hook of a type sends, in the words of the provider's pages."""
        return self.provider.hooks.get(event_type, event_type)

    def client(self, limits: CallLimits) -> Client:
        """Return a client with the stored token. Raises ProviderError when it is unreadable."""
        return self.provider.client(self.organization_url, self.read_credentials().token, limits)

    @cached_property
    def background_client(self) -> Client:
        """One client for all that the worker reads with this instance, over one connection.

        Raises ProviderError when the stored token is unreadable.
        """
        return self.client(BACKGROUND)

    def read_credentials(self) -> Credentials:
        """Return the token, decrypted. Raises ProviderError with the wrong key."""
        with self._reading_secrets():
            return Credentials.objects.get(integration=self)

    def read_webhook_secret(self) -> WebhookSecret:
        """Return the present webhook password, decrypted. Raises ProviderError like the above."""
        with self._reading_secrets():
            return self.webhook_secrets.valid().filter(value__isnull=False)[:1].get()

    @contextmanager
    def _reading_secrets(self) -> Iterator[None]:
        try:
            with decrypting("The stored token and webhook password", "Or enter the token again."):
                yield
        except ObjectDoesNotExist:
            raise ProviderError(
                Problem.TOKEN_REFUSED,
                f"{self} is not linked, so there is no token.",
                "Link the organization again.",
            ) from None
        except WrongKey as error:
            raise ProviderError(Problem.WRONG_KEY, error.cause, error.fix) from None

    def store_credentials(self, token: str) -> None:
        """Store the token and a new webhook password."""
        Credentials(integration=self, token=token).save()
        self.add_webhook_password()

    def add_webhook_password(self) -> None:
        """Store a new webhook password, the present one from now on; the others stay valid."""
        password = new_webhook_password()
        self.webhook_secrets.create(digest=digest(password.encode()), value=password)
        self.__dict__.pop("valid_secrets", None)

    def record_token_owner(self, name: str) -> None:
        """Store the token's owner; empty if unknown."""
        if name != self.token_owner:
            self.token_owner = name
            self.save(update_fields=["token_owner"])

    def note_good_call(self) -> None:
        """Record a successful call of background work; any other problem stays."""
        well = Integration.objects.filter(pk=self.pk, problem="")
        well.update(succeeded_at=timezone.now())

    def record_success(self) -> None:
        """Record a successful call."""
        self.succeeded_at = timezone.now()
        self.failures = 0
        self.problem = self.problem_cause = self.problem_fix = self.problem_evidence = ""
        self.due_at = self.succeeded_at + REFRESH_EVERY
        self.save(update_fields=HEALTH_FIELDS)

    def record_failure(self, error: ProviderError) -> bool:
        """Record a failed call and when to retry: soon, then less and less often.

        Returns False and stores nothing if a call succeeded meanwhile, perhaps with a new token.
        """
        unchanged = Integration.objects.filter(pk=self.pk, succeeded_at=self.succeeded_at)
        self.failed_at = timezone.now()
        self.failures += 1
        self.problem = error.problem
        self.problem_cause, self.problem_fix = error.cause[:500], error.fix[:500]
        self.problem_evidence = error.evidence[:100]
        first = RETRY_FIRST_AFTER if error.is_transient else REFRESH_EVERY
        wait = wait_after(self.failures - 1, first, REFRESH_EVERY, error.retry_after)
        self.due_at = self.failed_at + wait
        return bool(unchanged.update(**{field: getattr(self, field) for field in HEALTH_FIELDS}))
