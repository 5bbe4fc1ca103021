"""Settings → VCS providers: show, reconcile, and reveal the webhook password."""

from typing import cast

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record, with_pages
from accounts.models import User
from accounts.roles import admin_required
from core.http import HtmxHttpRequest, post_or_redirect, render_live, version_of
from vcs_integrations.audit.views import actions_on
from vcs_integrations.connections.cards import Card, cards_of
from vcs_integrations.hooks.views import integration_hooks
from vcs_integrations.models import (
    Integration,
    Subscription,
)
from vcs_integrations.organizations import checkup
from vcs_integrations.organizations.pages import linked_or_404
from vcs_integrations.providers import PROVIDERS
from vcs_integrations.providers.base import (
    ProviderError,
)
from vcs_integrations.webhooks.views import deliveries_of, result_of

ENTRIES_ON_A_CARD = 5


@require_safe
def provider_list(request: HtmxHttpRequest) -> HttpResponse:
    """The linked organizations; the page polls what changes of them."""
    cards = cards_of(Integration.objects.linked())
    return render_live(
        request,
        "vcs_integrations/connections/provider_list.html",
        "vcs_integrations/connections/list_live.html",
        version_of([card.state for card in cards]),
        _list_of(cards),
    )


@require_safe
@admin_required
def integration(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """An organization; the page polls its newest deliveries and what else changes."""
    cards = cards_of(Integration.objects.linked().filter(pk=pk))
    if not cards:
        raise Http404
    found = cards[0].integration
    looked_at = getattr(found, "checkup", None)
    in_use = _projects_in_use(found)
    newest, done = list(deliveries_of(found)[:10]), list(actions_on(found)[:ENTRIES_ON_A_CARD])
    context = {
        "card": cards[0],
        "checkup": looked_at,
        "matrix": checkup.matrix_of(looked_at.findings, in_use) if looked_at else None,
        "deliveries": newest,
        "log": with_pages(done, cast(User, request.user)),
        **integration_hooks(found),
    }
    page = "vcs_integrations/connections/integration.html"
    # Other parts ask for the whole page and select themselves from it.
    part = "vcs_integrations/connections/integration_live.html"
    return render_live(
        request,
        page,
        part if "version" in request.GET else page,
        version_of(cards[0].state, [result_of(one) for one in newest], [one.pk for one in done]),
        context,
    )


def _projects_in_use(found: Integration) -> list[str]:
    """Return the names of the projects that stacks use or that have hooks, as a test checks them.

    They were read with the card.
    """
    hooked = {hook.project_id for hook in found.subscriptions.all() if hook.is_present}
    return [
        one.name
        for one in found.projects.all()
        if vars(one)["is_used"] or one.keeps_hooks or one.external_id in hooked
    ]


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(linked_or_404)
def reconcile(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the worker read what webhooks may have missed."""
    found = linked_or_404(pk)
    with transaction.atomic():
        count = found.repositories.make_due()
        # Names may have changed.
        Integration.objects.filter(pk=found.pk).update(due_at=timezone.now())
        noun = "repository" if count == 1 else "repositories"
        if count:
            record(request, Verb.RECONCILED, found, f"{count} {noun}")
    if count:
        messages.success(
            request, f"The worker reads {count} {noun} now; Activity of a stack shows what it finds"
        )
    else:
        messages.info(request, "No stack uses a repository of this organization: nothing to read")
    return redirect(found)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(linked_or_404)
def reveal(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """Show the webhook password and record who revealed it."""
    found = linked_or_404(pk)
    is_part = bool(request.htmx)
    linked = Integration.objects.linked()
    cards = cards_of(linked.filter(pk=pk) if is_part else linked)
    card = next(card for card in cards if card.integration == found)
    try:
        password = found.read_webhook_secret().value
    except ProviderError as error:
        card.password_problem = str(error)
    else:
        record(request, Verb.PASSWORD_REVEALED, found)
        card.webhook_password = password
    if is_part:
        return render(request, "vcs_integrations/connections/card_changed.html", {"card": card})
    return render(request, "vcs_integrations/connections/provider_list.html", _list_of(cards))


def _list_of(cards: list[Card]) -> dict[str, object]:
    """Return what the list of organizations shows."""
    left_over = Subscription.objects.left_over().exclude(integration__unlinked_at=None)
    return {
        "cards": cards,
        "providers": list(PROVIDERS.values()),
        "unlinked_with_hooks": Integration.objects.filter(pk__in=left_over.values("integration")),
    }
