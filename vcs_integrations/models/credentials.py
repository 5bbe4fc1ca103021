"""An integration's token."""

from django.db import models

from core.encrypted_fields import EncryptedTextField


class Credentials(models.Model):
    """An integration's token, in its own table so that it is decrypted only where needed."""

    integration = models.OneToOneField(
        "vcs_integrations.Integration", on_delete=models.CASCADE, primary_key=True
    )
    token = EncryptedTextField()

    class Meta:
        verbose_name_plural = "credentials"

    def __str__(self) -> str:
        return str(self.integration)
