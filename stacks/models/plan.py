"""What a run's plan does: a row for each resource and output, and beside it what changes in each.

The rows are listed and searched; what changes are values, which are encrypted, many in one part,
so that a page decrypts the parts of what it shows.
"""

import json
import zlib
from typing import Any, Self

from django.db import models
from django.urls import reverse

from core.encrypted_fields import EncryptedBytesField, new_row_id
from core.encryption import decrypting
from stacks.models.run import Run


class ChangeKind(models.TextChoices):
    """What a row is about."""

    RESOURCE = "resource", "Resource"
    OUTPUT = "output", "Output"
    DRIFT = "drift", "Drift"


class PlanChange(models.Model):
    """What happens to one resource or output; all texts are masked, and none is a value.

    `number` counts in the order in which people read a plan: what destroys comes first.
    """

    run = models.ForeignKey(
        # The constraint below serves look-ups by run, too.
        Run,
        on_delete=models.CASCADE,
        related_name="plan_changes",
        db_index=False,
    )
    number = models.PositiveIntegerField()
    part = models.PositiveIntegerField(help_text="which of its run's parts has its values")
    kind = models.CharField(max_length=20, choices=ChangeKind.choices)
    action = models.CharField(max_length=20)
    also = models.CharField(max_length=20, blank=True, help_text="what happens in addition")
    address = models.CharField(max_length=501)
    moved_from = models.CharField(max_length=501, blank=True)
    deposed = models.CharField(
        max_length=60, blank=True, help_text="the key of what an earlier replacement left"
    )
    module = models.CharField(max_length=501, blank=True, help_text="empty for the root module")
    reason = models.CharField(max_length=60, blank=True, help_text="Terraform's word for it")
    forced_by = models.CharField(
        max_length=501, blank=True, help_text="the attributes that can't be changed in place"
    )
    search_text = models.TextField(help_text="address, type and attributes, case-folded")

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=["run", "number"], name="one_plan_change_per_number"),
            models.CheckConstraint(
                condition=models.Q(kind__in=ChangeKind.values), name="plan_words"
            ),
        )
        indexes = (models.Index(fields=["run", "kind", "number"], name="plan_change_list"),)

    def __str__(self) -> str:
        return f"{self.action} {self.address}"

    def get_absolute_url(self) -> str:
        return reverse(
            "stacks:plan_change", args=[self.run.stack.slug, self.run.number, self.number]
        )

    @property
    def name(self) -> str:
        """The address within its module."""
        return self.address.removeprefix(f"{self.module}.") if self.module else self.address


class PlanPart(models.Model):
    """The values that some changes of a plan have, masked, by the numbers of the changes."""

    id = models.BigIntegerField(primary_key=True, default=new_row_id)
    run = models.ForeignKey(
        # The constraint below serves look-ups by run, too.
        Run,
        on_delete=models.CASCADE,
        related_name="plan_parts",
        db_index=False,
    )
    number = models.PositiveIntegerField()
    packed = EncryptedBytesField()

    class Meta:
        ordering = ("number",)
        constraints = (
            models.UniqueConstraint(fields=["run", "number"], name="one_plan_part_per_number"),
        )

    def __str__(self) -> str:
        return f"Part {self.number} of the plan of run {self.run_id}"

    @classmethod
    def of(cls, run: Run, number: int, values: dict[int, dict[str, Any]]) -> Self:
        """Return a part of a run's plan, not stored yet."""
        return cls(run=run, number=number, packed=zlib.compress(json.dumps(values).encode()))

    def read(self) -> dict[int, dict[str, Any]]:
        """Return the values, by the number of their change."""
        return {
            int(number): one for number, one in json.loads(zlib.decompress(self.packed)).items()
        }


def values_of(run: Run, part: int) -> dict[int, dict[str, Any]]:
    """Return the values of a part of a plan by the number of their change.

    They are none once they were removed. Raises WrongKey.
    """
    with decrypting("The values of this plan", "Or retry the run to plan again."):
        found = PlanPart.objects.filter(run=run, number=part).first()
    return found.read() if found else {}
