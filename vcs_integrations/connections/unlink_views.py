"""Unlink an organization, and show what is left of its service hooks."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.roles import admin_required
from vcs_integrations.connections import unlinking
from vcs_integrations.connections.cards import (
    PROJECTS_ON_A_CARD,
    hooks_of_projects,
    pages_of,
)
from vcs_integrations.consumer import consumer
from vcs_integrations.models import Integration
from vcs_integrations.organizations.pages import linked_or_404
from vcs_integrations.providers.base import (
    INTERACTIVE,
    ProviderError,
    RemoteSubscription,
)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def unlink(request: HttpRequest, pk: int) -> HttpResponse:
    found = linked_or_404(pk)
    if request.method == "POST":
        hooks_before = found.subscriptions.present().count()
        left_over, failure = unlinking.unlink(found)
        if not found.is_linked:  # otherwise somebody else did it at the same moment
            record(request, Verb.UNLINKED, found, f"Service hooks left over: {len(left_over)}")
        messages.success(request, "Integration was unlinked")
        if failure:
            messages.warning(request, f"Service hooks may be left behind: {failure.cause}")
        if left_over:
            return redirect("integrations:left_over_hooks", pk=found.pk)
        if hooks_before and not failure:
            messages.info(request, f"Its service hooks are gone from {found.provider.name}")
        return redirect("integrations:list")
    hooks: list[RemoteSubscription] = []
    try:
        hooks = unlinking.hooks(found, INTERACTIVE)
        failure = None
    except ProviderError as error:
        failure = error
    context = {
        "integration": found,
        "dependents": consumer().dependents_of(found),
        "hooks": hooks_of_projects(found, hooks),
        "failure": failure,
        "projects": pages_of(found)[:PROJECTS_ON_A_CARD],
    }
    return render(request, "vcs_integrations/connections/unlink.html", context)


@require_safe
@admin_required
def left_over_hooks(request: HttpRequest, pk: int) -> HttpResponse:
    """List the hooks that unlinking could not remove, each with the page to remove it."""
    found = get_object_or_404(Integration, pk=pk)
    hooks = hooks_of_projects(found, list(found.subscriptions.left_over()))
    context = {"integration": found, "hooks": hooks}
    return render(request, "vcs_integrations/connections/left_over_hooks.html", context)
