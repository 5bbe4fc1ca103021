"""The start page: what needs somebody, what needs attention, and the first steps."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.roles import is_admin, may_change
from dashboard.first_steps import linked_organizations, next_steps
from dashboard.health import attention
from dashboard.inbox import read_inbox
from stacks.models import Stack


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    integrations = linked_organizations()
    counts = Stack.objects.counts()
    inbox = read_inbox()
    reader_is_admin = is_admin(request)
    context = {
        "inbox": inbox,
        "integrations": integrations,
        "notices": attention(
            integrations, inbox.stuck, counts["detached"], reader_is_admin=reader_is_admin
        ),
        "steps": next_steps(
            integrations,
            has_stacks=bool(counts["all"]),
            has_runs=bool(inbox.last),
            reader_is_admin=reader_is_admin,
            reader_may_change=may_change(request),
        ),
    }
    return render(request, "dashboard/home.html", context)
