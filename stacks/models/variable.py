"""The environment that the programs of a stack's runs find."""

from django.db import models
from django.utils import timezone

from core.encrypted_fields import EncryptedTextField, new_row_id
from stacks.models.stack import Stack


class StackVariable(models.Model):
    """A variable of a stack's environment; a secret one is never shown again."""

    id = models.BigIntegerField(primary_key=True, default=new_row_id, editable=False)
    stack = models.ForeignKey(
        # The constraint below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="variables",
        db_index=False,
    )
    name = models.CharField(max_length=200)
    value = EncryptedTextField()
    is_secret = models.BooleanField(default=False)
    is_for_proposed = models.BooleanField(
        default=False,
        help_text="whether proposed runs find it, too, if it is secret; any other they find always",
    )
    is_checked = models.BooleanField(
        default=False, help_text="whether an admin set it, or confirmed where it sends secrets"
    )

    class Meta:
        ordering = ("name",)
        constraints = (
            models.UniqueConstraint(fields=["stack", "name"], name="one_variable_per_name"),
        )

    def __str__(self) -> str:
        return f"{self.name} of {self.stack}"


class FormerSecret(models.Model):
    """A value that a secret variable had once. It is never shown, only masked."""

    id = models.BigIntegerField(primary_key=True, default=new_row_id, editable=False)
    stack = models.ForeignKey(Stack, on_delete=models.CASCADE, related_name="former_secrets")
    value = EncryptedTextField()
    kept_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-kept_at",)

    def __str__(self) -> str:
        return f"A former secret of {self.stack}"
