"""The modules that a run's code got from a registry."""

from django.db import models

from stacks.models.run import Run


class RegistrySource(models.Model):
    """A module that a run's code got from a registry, in the version that was chosen.

    It is what the code says inside the sandbox: it is for people, and opens nothing.
    """

    run = models.ForeignKey(
        # The constraint below serves look-ups by run, too.
        Run,
        on_delete=models.CASCADE,
        related_name="registry_sources",
        db_index=False,
    )
    address = models.CharField(
        max_length=500, help_text="with the registry's host, like host/namespace/name/system"
    )
    version = models.CharField(max_length=100)
    constraint = models.CharField(
        max_length=200, blank=True, help_text="on the version, as the code says, where it is known"
    )

    class Meta:
        ordering = ("address", "version")
        constraints = (
            models.UniqueConstraint(
                fields=["run", "address", "version", "constraint"],
                name="one_registry_source_per_version",
            ),
        )
        indexes = (models.Index(fields=["address", "run"], name="registry_source_by_address"),)

    def __str__(self) -> str:
        return f"{self.address} {self.version}"
