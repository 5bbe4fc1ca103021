"""The start page: what needs somebody, what needs attention, and the first steps."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from accounts.roles import is_admin, may_change
from core.http import HtmxHttpRequest, render_live, version_of
from dashboard.first_steps import linked_organizations, next_steps
from dashboard.health import attention
from dashboard.inbox import read_inbox
from stacks.models import Stack


@require_safe
def home(request: HtmxHttpRequest) -> HttpResponse:
    """The start page; it polls all that it shows."""
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
    health = [(one.pk, one.problem, one.succeeded_at, one.token_expires_on) for one in integrations]
    deliveries = [vars(one)["last_delivery_at"] for one in integrations]
    return render_live(
        request,
        "dashboard/home.html",
        "dashboard/home_live.html",
        version_of(inbox, context["notices"], context["steps"], health, deliveries),
        context,
    )
