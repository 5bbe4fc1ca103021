"""An integration's secrets."""

import secrets

from django.db import models

from core.encrypted_fields import EncryptedTextField


def new_webhook_password() -> str:
    """Return a password with 256 random bits, short and without whitespace for any provider."""
    return secrets.token_urlsafe(32)


class Credentials(models.Model):
    """An integration's secrets, apart from it so that only who needs them decrypts them."""

    integration = models.OneToOneField(
        "vcs_integrations.Integration", on_delete=models.CASCADE, primary_key=True
    )
    token = EncryptedTextField()
    webhook_password = EncryptedTextField()

    class Meta:
        verbose_name_plural = "credentials"

    def __str__(self) -> str:
        return str(self.integration)
