"""The pages of a stack's schedules: adding, changing and removing one."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import members_only
from core.http import HtmxHttpRequest, render_live, version_of
from stacks.models import Schedule, Stack
from stacks.schedules.forms import ScheduleForm, shown_times
from stacks.schedules.times import next_time, time_zones


def _stack(slug: str) -> Stack:
    return get_object_or_404(Stack.objects.with_repository(), slug=slug)


@require_http_methods(["GET", "HEAD", "POST"])
def schedules(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """A stack's schedules, which the page polls, with their next times; and a form to add one."""
    stack = _stack(slug)
    form = ScheduleForm(request.POST if request.method == "POST" else None, stack=stack)
    if form.is_valid():
        with transaction.atomic():
            schedule = Schedule(stack=stack)
            _store(request, schedule, form, "was added")
        return redirect("stacks:schedules", stack.slug)
    rows = list(stack.schedules.select_related("stack", "last_run__stack"))
    context = {
        "stack": stack,
        "form": form,
        "rows": [(schedule, shown_times(schedule)) for schedule in rows],
        "time_zones": time_zones,
    }
    shown = [
        (one.pk, one.due_at, one.problem, one.last_run and (one.last_run.pk, one.last_run.state))
        for one in rows
    ]
    return render_live(
        request,
        "stacks/schedules/schedules.html",
        "stacks/schedules/schedule_table.html",
        version_of(shown),
        context,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def change_schedule(request: HttpRequest, slug: str, schedule_pk: int) -> HttpResponse:
    """Change what a schedule starts, and when; its next time is counted from now."""
    stack = _stack(slug)
    schedule = get_object_or_404(stack.schedules, pk=schedule_pk)
    typed = request.POST if request.method == "POST" else None
    form = ScheduleForm(typed, stack=stack, schedule=schedule)
    if form.is_valid():
        with transaction.atomic():
            _store(request, schedule, form, "was changed")
        return redirect("stacks:schedules", stack.slug)
    context = {"stack": stack, "schedule": schedule, "form": form, "time_zones": time_zones()}
    return render(request, "stacks/schedules/change_schedule.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def remove_schedule(request: HttpRequest, slug: str, schedule_pk: int) -> HttpResponse:
    stack = _stack(slug)
    schedule = get_object_or_404(stack.schedules, pk=schedule_pk)
    if request.method != "POST":
        context = {"stack": stack, "schedule": schedule}
        return render(request, "stacks/schedules/remove_schedule.html", context)
    with transaction.atomic():
        record(request, Verb.SCHEDULES_CHANGED, stack, f"{schedule} was removed")
        schedule.delete()
    messages.success(request, "The schedule was removed")
    return redirect("stacks:schedules", stack.slug)


def _store(request: HttpRequest, schedule: Schedule, form: ScheduleForm, what: str) -> None:
    """Store what a form says, and record that."""
    for name, value in form.cleaned_data.items():
        setattr(schedule, name, value)
    schedule.due_at = next_time(schedule.cron, schedule.time_zone, timezone.now())
    schedule.failures, schedule.problem = 0, ""
    fields = ["due_at", "failures", "problem", *form.cleaned_data]
    if not schedule.runs_on_drift:  # what a drift run finds from now on starts nothing
        schedule.awaited = None
        fields.append("awaited")
    schedule.save(update_fields=fields if schedule.pk else None)
    record(request, Verb.SCHEDULES_CHANGED, schedule.stack, f"{schedule} {what}")
    messages.success(request, f"The schedule {what}")
