"""Settings → VCS providers → an integration's reports: what waits to be sent, and why."""

from typing import Any

from django.contrib import messages
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.roles import admin_required
from core.http import HtmxHttpRequest, post_or_redirect, render_live, version_of
from stacks.models import Report
from vcs_integrations.models import Integration
from vcs_integrations.organizations.pages import linked_or_404

REPORTS_SHOWN = 50


@require_safe
@admin_required
def reports(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """The reports that wait, the oldest first, and what was refused last; the page polls both."""
    found = get_object_or_404(Integration, pk=pk)
    ours = Report.objects.of(found).for_pages()
    waiting = ours.waiting()
    problems = waiting.exclude(problem="").order_by(F("failed_at").desc(nulls_last=True))
    held_until = found.reports_held_until
    context: dict[str, Any] = {
        "integration": found,
        "count": waiting.count(),
        "waiting": list(waiting.order_by("changed_at", "pk")[:REPORTS_SHOWN]),
        "last_problem": problems.first(),
        "refused": list(ours.refused().order_by("-failed_at", "-pk")[:REPORTS_SHOWN]),
        "held_until": held_until if held_until and held_until > timezone.now() else None,
    }
    shown = [(one.pk, one.failures, one.problem) for one in context["waiting"] + context["refused"]]
    return render_live(
        request,
        "stacks/reports/reports.html",
        "stacks/reports/report_tables.html",
        version_of(shown, context["count"], context["held_until"], found.is_linked),
        context,
    )


def _list_of(pk: int) -> str:
    return reverse("stacks:reports", args=[linked_or_404(pk).pk])


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_list_of)
def retry_reports(request: HttpRequest, pk: int) -> HttpResponse:
    """Make all that wait due now."""
    found = linked_or_404(pk)
    count = Report.objects.of(found).waiting().count()
    Report.objects.of(found).waiting().update(due_at=timezone.now())
    noun = "report" if count == 1 else "reports"
    if count:
        messages.success(request, f"The worker sends {count} {noun} now")
    else:
        messages.info(request, "Nothing waits")
    return redirect("stacks:reports", pk=found.pk)
