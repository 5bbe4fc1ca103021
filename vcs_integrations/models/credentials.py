"""An integration's token."""

from django.db import models

from core.encrypted_fields import EncryptedTextField


class Credentials(models.Model):
    """An integration's token, apart from it so that only who needs it decrypts it."""

    integration = models.OneToOneField(
        "vcs_integrations.Integration", on_delete=models.CASCADE, primary_key=True
    )
    token = EncryptedTextField()

    class Meta:
        verbose_name_plural = "credentials"

    def __str__(self) -> str:
        return str(self.integration)
