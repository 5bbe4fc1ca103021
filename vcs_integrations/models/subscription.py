"""Service hooks."""

from django.db import models


class Subscription(models.Model):
    """A service hook that was to be removed when its integration was unlinked.

    Those that could not be removed are left-overs; all of them have to be made anew when
    the organization is linked again.
    """

    integration = models.ForeignKey(
        # The constraint or index below serves look-ups by integration, too.
        "vcs_integrations.Integration",
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
