"""What the token of an integration may do."""

from django.db import models

from vcs_integrations.providers.base import Finding, Judgment, Right


class Checkup(models.Model):
    """What the last test of the present token found; there is none until somebody tests it."""

    integration = models.OneToOneField(
        "vcs_integrations.Integration", on_delete=models.CASCADE, primary_key=True
    )
    checked_at = models.DateTimeField()
    stored_findings = models.JSONField(help_text="each with the fields of a `Finding`")

    def __str__(self) -> str:
        return f"Checkup of {self.integration_id}"

    @property
    def findings(self) -> list[Finding]:
        return [
            Finding(**one | {"right": Right(one["right"]), "verdict": Judgment(one["verdict"])})
            for one in self.stored_findings
        ]
