"""Link an organization, edit an integration, and test it."""

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import admin_required
from core.http import HtmxHttpRequest, post_or_redirect
from vcs_integrations.connections import linking
from vcs_integrations.connections.cards import cards_of
from vcs_integrations.connections.forms import EditForm, SetUpForm
from vcs_integrations.models import (
    Checkup,
    Integration,
)
from vcs_integrations.organizations import checkup
from vcs_integrations.organizations.pages import linked_or_404
from vcs_integrations.providers import provider_by_slug
from vcs_integrations.providers.base import (
    Judgment,
    Provider,
    ProviderError,
)

MISSING_RIGHTS_SHOWN = 3


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def set_up(request: HttpRequest, provider_slug: str) -> HttpResponse:
    provider = _provider(provider_slug)
    form = SetUpForm(request.POST or None, provider=provider)
    if form.is_valid() and _link(request, provider, form):
        return redirect("integrations:list")
    context = {"form": form, "provider": provider}
    return render(request, "vcs_integrations/connections/set_up.html", context)


def _link(request: HttpRequest, provider: Provider, form: SetUpForm) -> bool:
    """Link what the form says and show the result; on False the form shows why it failed."""
    address = form.cleaned_data["organization_url"]
    try:
        linked, failure = linking.link(provider, address, form.cleaned_data["token"], form.details)
    except linking.AlreadyLinked as error:
        form.add_error(
            "organization_url",
            format_html(
                "{} is already linked as “{}”: <a href='{}'>edit that link</a> instead.",
                error.integration.organization_url,
                error.integration.name,
                reverse("integrations:edit", args=[error.integration.pk]),
            ),
        )
        return False
    except ProviderError as error:
        messages.error(request, f"Connecting to {provider.name} failed: {error.cause}")
        form.blame(error)
        return False
    record(request, Verb.LINKED, linked, failure.cause if failure else "")
    messages.success(request, "New integration was created")
    if linked.was_linked_before:
        messages.info(request, "Its webhook endpoint and its stacks from before are back")
    if failure:
        messages.warning(
            request, f"Connecting to {provider.name} failed: {failure.cause.rstrip('.')}, retrying"
        )
    else:
        messages.success(request, f"Connecting to {provider.name} succeeded")
    typed = request.POST["organization_url"].strip().rstrip("/")
    if typed != address.url:
        messages.info(request, f"The address was understood as {address.url}")
    return True


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    found = linked_or_404(pk)
    form = EditForm(request.POST or None, integration=found)
    if form.is_valid() and _edit(request, found, form):
        return redirect("integrations:list")
    return render(
        request, "vcs_integrations/connections/edit.html", {"form": form, "integration": found}
    )


def _edit(request: HttpRequest, found: Integration, form: EditForm) -> bool:
    """Store what the form says, after trying a new token; on False the form shows why it failed."""
    token, password_is_new = form.cleaned_data["token"], False
    anyway: bool = form.cleaned_data.get("replace_anyway", False)
    try:
        if token:
            password_is_new = linking.replace_token(found, token, anyway=anyway)
    except linking.LacksRights as error:
        messages.error(
            request, "The token was not replaced: it lacks rights that the present one has"
        )
        form.refuse_token(error.findings)
        return False
    except ProviderError as error:
        messages.error(request, f"Connecting to {found.provider.name} failed: {error.cause}")
        form.blame(error)
        return False
    if token:
        # At once: the token is already stored, by calls that no transaction may span.
        record(request, Verb.TOKEN_REPLACED, found, "Replaced anyway." if anyway else "")
    of_token = {"token", "replace_anyway"}
    changed = [str(form[name].label) for name in form.changed_data if name not in of_token]
    with transaction.atomic():
        linking.describe(found, form.details)
        found.reports_all_stacks_at_once = form.cleaned_data["reports_all_stacks_at_once"]
        found.save(update_fields=["reports_all_stacks_at_once"])
        if changed:
            record(request, Verb.EDITED, found, ", ".join(changed))
    messages.success(request, "Integration was changed")
    if token:
        messages.success(request, f"Connecting to {found.provider.name} succeeded")
        _warn_of_missing_rights(request, found)
        if not found.token_expires_on:
            messages.warning(request, "Enter the new token's expiry date to be warned")
    if password_is_new:
        messages.warning(request, "The webhook password is new, too: enter it in each service hook")
    return True


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(linked_or_404)
def test(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """Test the connection and each right."""
    found = linked_or_404(pk)
    failure = checkup.test(found)
    record(request, Verb.TESTED, found, failure.cause if failure else "Connecting succeeded.")
    if failure:
        messages.error(request, f"Connecting to {found.provider.name} failed: {failure}")
    else:
        messages.success(request, f"Connecting to {found.provider.name} succeeded")
        _warn_of_missing_rights(request, found)
    if not request.htmx:
        return redirect("integrations:list")
    cards = cards_of(Integration.objects.linked().filter(pk=found.pk))
    if not cards:  # it joined its predecessor, which has a card of its own
        response = HttpResponse()
        response["HX-Refresh"] = "true"
        return response
    response = render(
        request,
        "vcs_integrations/connections/card_changed.html",
        {"card": cards[0]},
    )
    response["HX-Trigger"] = "checkup"  # the integration's page shows what was found
    return response


def _warn_of_missing_rights(request: HttpRequest, found: Integration) -> None:
    looked_at = Checkup.objects.filter(integration=found).first()
    findings = looked_at.findings if looked_at else []
    missing = [checkup.in_words(one) for one in findings if one.verdict == Judgment.MISSING]
    if not missing:
        return
    more = len(missing) - MISSING_RIGHTS_SHOWN
    messages.warning(
        request,
        format_html(
            "The token lacks {}: {}{}. <a href='{}#checkup'>What to do</a>",
            "a right" if len(missing) == 1 else f"{len(missing)} rights",
            ", ".join(missing[:MISSING_RIGHTS_SHOWN]),
            f" and {more} more" if more > 0 else "",
            found.get_absolute_url(),
        ),
    )


def _provider(slug: str) -> Provider:
    provider = provider_by_slug(slug)
    if provider is None:
        raise Http404
    return provider
