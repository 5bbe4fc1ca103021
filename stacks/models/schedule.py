"""Schedules: when a stack is run, or compared with what there is, without a push."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.urls import reverse

from core.leases import Leased, LeasedQuerySet, Moment
from stacks.models.run import Run
from stacks.models.stack import Stack
from stacks.rules.states import ENDED


class Starts(models.TextChoices):
    """What a schedule starts."""

    DRIFT = "drift", "Drift detection"
    TRACKED = "tracked", "Tracked run"
    DESTROY = "destroy", "Destroy run"


class ScheduleQuerySet(LeasedQuerySet["Schedule"]):
    def due(self, at: Moment = None) -> Self:
        """Those due now, of stacks that can be reached; the others wait."""
        return super().due(at).filter(stack__in=Stack.objects.reachable())

    def answered(self) -> Self:
        """Those whose drift run has ended, and that are to act on its result; see `due`."""
        ended = self.free().filter(awaited__state__in=ENDED)
        return ended.filter(stack__in=Stack.objects.reachable())


class Schedule(Leased):
    """When a stack is run: a cron expression in a time zone. `due_at` is the next time.

    A time that was missed is made up for once: the next one is counted from when it was.
    """

    stack = models.ForeignKey(Stack, on_delete=models.CASCADE, related_name="schedules")
    what = models.CharField(max_length=20, choices=Starts.choices)
    cron = models.CharField(max_length=100)
    time_zone = models.CharField(max_length=64)
    runs_on_drift = models.BooleanField(
        default=False, help_text="a tracked run is started where drift was found"
    )
    last_at = models.DateTimeField(null=True, blank=True, help_text="when it was due last")
    last_run = models.ForeignKey(
        Run, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    awaited = models.ForeignKey(
        Run,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="the drift run whose result it acts on",
    )
    problem = models.CharField(max_length=500, blank=True, help_text="why it started nothing")

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.CheckConstraint(
                condition=Q(what__in=Starts.values)
                & (Q(runs_on_drift=False) | Q(what=Starts.DRIFT.value)),
                name="schedule_words",
            ),
        )
        indexes = (
            models.Index(fields=["due_at"], name="schedule_due"),  # read by the worker
        )

    def __str__(self) -> str:
        return f"{self.get_what_display()}: {self.cron}, {self.time_zone}"

    def get_absolute_url(self) -> str:
        return reverse("stacks:schedules", args=[self.stack.slug])
