"""The ledger: the deliveries of an integration, what became of each, and replaying them."""

import json
from collections.abc import Iterable
from functools import partial

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.roles import admin_required
from core import bounded_json
from core.http import HtmxHttpRequest, post_or_redirect, render_live, version_of
from core.keyset import is_key, keyset_page
from vcs_integrations.consumer import consumer
from vcs_integrations.models import (
    Delivery,
    Integration,
)
from vcs_integrations.organizations.pages import linked_or_404
from vcs_integrations.providers.base import (
    Outcome,
)
from vcs_integrations.webhooks import processing
from vcs_integrations.webhooks.forms import DeliveryFilter

DELIVERIES_ON_A_PAGE = 50


MOST_PARTS_SHOWN = 200_000


BODY_SHOWN = 64 * 1024


@require_safe
@admin_required
def deliveries(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """The ledger: what came, and in short what became of it; the page polls it."""
    found = get_object_or_404(Integration, pk=pk)
    form = DeliveryFilter(request.GET, provider=found.provider)
    page = keyset_page(request, form.narrow(deliveries_of(found)), "pk", DELIVERIES_ON_A_PAGE)
    can_grow = page.is_first and found.is_linked
    context = {
        "integration": found,
        "form": form,
        "page": page,
        "deliveries": page.rows,
        "can_replay": found.is_linked and any(row.can_be_replayed for row in page.rows),
        "can_change": can_grow or any(row.is_waiting for row in page.rows),
    }
    return render_live(
        request,
        "vcs_integrations/webhooks/deliveries.html",
        "vcs_integrations/webhooks/delivery_list.html",
        version_of([result_of(row) for row in page.rows]),
        context,
    )


def result_of(found: Delivery) -> tuple[object, ...]:
    """Return what pages show of a delivery that changes when it is processed."""
    return found.pk, found.outcome, found.reason, found.failures, found.due_at, found.processed_at


def _list_of(pk: int) -> str:
    return reverse("integrations:deliveries", args=[linked_or_404(pk).pk])


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_list_of)
def replay(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the chosen deliveries processed once more."""
    found = linked_or_404(pk)
    chosen = [text for text in request.POST.getlist("delivery") if is_key(text)]
    _replay(request, found, found.deliveries.filter(pk__in=chosen[:DELIVERIES_ON_A_PAGE]))
    return redirect(
        f"{reverse('integrations:deliveries', args=[pk])}?{request.GET.urlencode()}".rstrip("?")
    )


def _delivery(pk: int, delivery_pk: int) -> Delivery:
    found = Delivery.objects.select_related("integration")
    return get_object_or_404(found, pk=delivery_pk, integration__pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_delivery)
def replay_one(request: HttpRequest, pk: int, delivery_pk: int) -> HttpResponse:
    """Have a delivery processed once more."""
    found = _delivery(pk, delivery_pk)
    linked = linked_or_404(pk)
    _replay(request, linked, linked.deliveries.filter(pk=found.pk))
    return redirect(found)


def _replay(request: HttpRequest, found: Integration, chosen: QuerySet[Delivery]) -> None:
    keys = ", ".join(str(key) for key in chosen.values_list("pk", flat=True))
    with transaction.atomic():
        count = processing.replay(chosen)
        if count:
            record(request, Verb.REPLAYED, found, f"Chosen: {keys}")
    if count:
        noun = "delivery" if count == 1 else "deliveries"
        messages.success(request, f"{count} {noun} will be processed again")
    else:
        messages.warning(request, "Nothing was chosen that can be replayed")


@require_safe
@admin_required
def delivery(request: HtmxHttpRequest, pk: int, delivery_pk: int) -> HttpResponse:
    """A delivery, what came of it, and its request; the page polls until it is processed."""
    found = _delivery(pk, delivery_pk)
    context = {
        "integration": found.integration,
        "delivery": found,
        "decided": consumer().decisions_on(found),
        "first_one": _first_one(found) if found.outcome == Outcome.DUPLICATE else None,
    }
    return render_live(
        request,
        "vcs_integrations/webhooks/delivery.html",
        "vcs_integrations/webhooks/result.html",
        version_of(result_of(found)),
        context,
        partial(_request_of, found),
    )


def _request_of(found: Delivery) -> dict[str, object]:
    """Return what the page shows of the request of a delivery."""
    body = bytes(found.body)
    text = _readable(body)
    return {
        "headers": {
            name: value
            for name, value in found.headers.items()
            if value.lower() != found.subscription_id  # shown by itself
        },
        "size": len(body),
        "body": text[:BODY_SHOWN],
        "is_cut": len(text) > BODY_SHOWN,
    }


@require_safe
@admin_required
def delivery_body(request: HttpRequest, pk: int, delivery_pk: int) -> HttpResponse:
    """The body as the bytes that came."""
    found = _delivery(pk, delivery_pk)
    response = HttpResponse(bytes(found.body), content_type="application/octet-stream")
    response["Content-Disposition"] = f'attachment; filename="delivery-{found.pk}.json"'
    return response


def _first_one(duplicate: Delivery) -> Delivery | None:
    """Return the delivery that a duplicate repeats, while it is kept."""
    same = Delivery.objects.filter(
        integration=duplicate.integration,
        subscription_id=duplicate.subscription_id,
        notification_id=duplicate.notification_id,
        body_digest=duplicate.body_digest,
    )
    others = same.exclude(outcome__in=[Outcome.DUPLICATE, Outcome.REFUTED])
    return others.defer("body", "headers").first()


def _readable(body: bytes) -> str:
    """Return a body's beginning for reading: indented where it is JSON, as text otherwise."""
    try:
        parsed = bounded_json.loads(body, MOST_PARTS_SHOWN)
        text = _beginning(json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(parsed))
    except ValueError:
        text = body.decode("utf-8", "replace")
    # JSON may hold lone surrogates, which no page can.
    return text.encode("utf-8", "replace").decode()


def _beginning(pieces: Iterable[str]) -> str:
    """Join pieces as far as they are shown: indenting can multiply a body's size."""
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > BODY_SHOWN:
            break
    return text


def deliveries_of(found: Integration) -> QuerySet[Delivery]:
    return found.deliveries.defer("body", "headers").select_related("integration").order_by("-pk")
