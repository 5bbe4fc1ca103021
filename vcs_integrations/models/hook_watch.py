"""The work of reading and repairing the service hooks of an organization."""

from typing import Self

from django.db import models

from core.leases import Leased, LeasedQuerySet, Moment


class HookWatchQuerySet(LeasedQuerySet["HookWatch"]):
    def due(self, at: Moment = None) -> Self:
        """Those whose hooks are due to be read."""
        return super().due(at).filter(integration__unlinked_at=None, integration__duplicate_of=None)


class HookWatch(Leased):
    """When the service hooks of an organization are read again, and who does it."""

    integration = models.OneToOneField(
        "vcs_integrations.Integration",
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="hook_watch",
    )

    objects = HookWatchQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "hook watches"
        indexes = (models.Index(fields=["due_at"], name="hook_watch_due"),)

    def __str__(self) -> str:
        return f"The hooks of {self.integration_id}"
