"""Downloads: who got a version of a module from the registry."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import User
from modules.models.version import ModuleVersion
from stacks.models import Stack


class Download(models.Model):
    """A stack, in one of its runs, or a person that got a version; once for each of them.

    It stays listed for them when it is yanked.
    """

    version = models.ForeignKey(
        # The constraints below serve look-ups by version, too.
        ModuleVersion,
        on_delete=models.CASCADE,
        related_name="downloaded",
        db_index=False,
    )
    stack = models.ForeignKey(
        Stack, null=True, blank=True, on_delete=models.CASCADE, related_name="module_downloads"
    )
    person = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.CASCADE, related_name="module_downloads"
    )
    at = models.DateTimeField(default=timezone.now, help_text="the first time")

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=["version", "stack"], name="one_download_per_stack"),
            models.UniqueConstraint(fields=["version", "person"], name="one_download_per_person"),
            models.CheckConstraint(
                condition=Q(stack=None) ^ Q(person=None), name="download_by_stack_or_person"
            ),
        )

    def __str__(self) -> str:
        return f"{self.version} for {self.stack or self.person}"
