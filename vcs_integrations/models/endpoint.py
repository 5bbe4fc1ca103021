"""The addresses of ours that webhooks are sent to."""

import uuid

from django.db import models


class Endpoint(models.Model):
    """An integration's endpoint; it moves when that turns out to be one that was linked before.

    An integration shows the endpoint that was made for it, and is reached by all that lead to it.
    """

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    integration = models.ForeignKey(
        "vcs_integrations.Integration",
        on_delete=models.CASCADE,
        related_name="endpoints",
        help_text="where it leads",
    )
    made_for = models.OneToOneField(
        "vcs_integrations.Integration", on_delete=models.CASCADE, related_name="endpoint"
    )

    def __str__(self) -> str:
        return str(self.uuid)
