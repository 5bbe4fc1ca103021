"""Webhook passwords: they prove that a webhook comes from a hook of an integration."""

import secrets
from typing import Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.encrypted_fields import EncryptedTextField, new_row_id


def new_webhook_password() -> str:
    """Return a password with 256 random bits, short and without whitespace for any provider."""
    return secrets.token_urlsafe(32)


class WebhookSecretQuerySet(models.QuerySet["WebhookSecret"]):
    def valid(self) -> Self:
        """Those that are accepted now."""
        return self.filter(~Q(valid_until__lte=timezone.now()))

    def end(self) -> bool:
        """Stop accepting them, and erase their values; False if none was accepted."""
        return bool(self.valid().update(valid_until=timezone.now(), value=None))


class WebhookSecret(models.Model):
    """A webhook password of an integration, accepted at all its endpoints.

    The newest is the present one. Earlier ones stay valid until every hook has it.
    """

    id = models.BigIntegerField(primary_key=True, default=new_row_id, editable=False)
    integration = models.ForeignKey(
        "vcs_integrations.Integration", on_delete=models.CASCADE, related_name="webhook_secrets"
    )
    digest = models.CharField(max_length=64, editable=False)
    # Erased once it is not accepted any more, or no key reads it; the present one has it.
    value = EncryptedTextField(null=True)  # type: ignore[misc]
    valid_from = models.DateTimeField(default=timezone.now)
    valid_until = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(
        null=True, blank=True, help_text="when a delivery last came with it, as far as counted"
    )

    objects = WebhookSecretQuerySet.as_manager()

    class Meta:
        verbose_name = "webhook password"
        ordering = ("-valid_from",)

    def __str__(self) -> str:
        return f"{self.mark} of {self.integration}"

    @property
    def mark(self) -> str:
        """What distinguishes it from others without revealing it; anybody may see it."""
        return self.digest[:8]
