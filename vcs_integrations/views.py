"""Settings → VCS providers: link, test, reconcile, reveal, edit, unlink, the deliveries."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, F, Min, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit import Verb, lines, record
from accounts.roles import admin_required
from vcs_integrations import bounded_json, checkup, linking, processing, unlinking
from vcs_integrations.audit_pages import actions_on
from vcs_integrations.dependents import dependents_of
from vcs_integrations.forms import DeliveryFilter, EditForm, SetUpForm
from vcs_integrations.hook_views import integration_hooks
from vcs_integrations.keyset import is_key, keyset_page
from vcs_integrations.models import (
    Checkup,
    Delivery,
    HookState,
    Integration,
    Repository,
    Subscription,
)
from vcs_integrations.providers import PROVIDERS, provider_by_slug
from vcs_integrations.providers.base import (
    INTERACTIVE,
    Judgement,
    Outcome,
    Provider,
    ProviderError,
    RemoteSubscription,
)

PROJECTS_ON_A_CARD = 12
MOST_PROJECTS = 300
DELIVERIES_ON_A_PAGE = 50
DECISIONS_SHOWN = 100
ENTRIES_ON_A_CARD = 5
MOST_PARTS_SHOWN = 200_000
BODY_SHOWN = 64 * 1024
MISSING_RIGHTS_SHOWN = 3


@dataclass
class Card:
    """What the page shows of one integration; the password only when it was asked for."""

    integration: Integration
    projects: list[tuple[str, str]] = field(default_factory=list)  # name, service-hooks page
    more_projects: list[tuple[str, str]] = field(default_factory=list)
    hooks_to_make_anew: list["HookOfProject"] = field(default_factory=list)
    reconciliation: "Reconciliation | None" = None
    backlog: "Backlog | None" = None
    hooks: "HookCounts | None" = None
    webhook_password: str = field(default="", repr=False)  # a log may show a card
    password_problem: str = ""


@dataclass(frozen=True)
class Reconciliation:
    """How many repositories stacks use, since when all are read, and how many can't be just now.

    `since` is None while some are still to be read for the first time.
    """

    repositories: int
    failing: int
    since: datetime | None


@dataclass(frozen=True)
class Backlog:
    """How many reports wait to be sent, since when the oldest does, and why they still do.

    `failing` are those that were tried, `problem` is the last reason; empty where none was.
    """

    waiting: int
    since: datetime
    failing: int
    problem: str


@dataclass(frozen=True)
class HookCounts:
    """How many hooks there are, and how many of them don't work."""

    count: int
    broken: int


@dataclass(frozen=True)
class HookOfProject:
    """A service hook in the words of the provider's pages, with the page to set it up."""

    event: str
    project: str
    url: str


@require_safe
def provider_list(request: HttpRequest) -> HttpResponse:
    return _show_list(request, _cards(list(Integration.objects.linked())))


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def set_up(request: HttpRequest, provider_slug: str) -> HttpResponse:
    provider = _provider(provider_slug)
    form = SetUpForm(request.POST or None, provider=provider)
    if form.is_valid() and _link(request, provider, form):
        return redirect("provider_list")
    context = {"form": form, "provider": provider}
    return render(request, "vcs_integrations/set_up.html", context)


def _link(request: HttpRequest, provider: Provider, form: SetUpForm) -> bool:
    """Link what the form says and tell how it went; on False the form shows why not."""
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
                reverse("edit_integration", args=[error.integration.pk]),
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
        messages.info(request, "It was linked before: its endpoint and its stacks are back")
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


@require_safe
@admin_required
def integration(request: HttpRequest, pk: int) -> HttpResponse:
    found = _linked(pk)
    looked_at = Checkup.objects.filter(integration=found).first()
    context = {
        "card": _cards([found])[0],
        "checkup": looked_at,
        "rights": checkup.by_right(looked_at.findings) if looked_at else [],
        "deliveries": _deliveries(found)[:10],
        "log": lines(list(actions_on(found)[:ENTRIES_ON_A_CARD]), cast(User, request.user)),
        **integration_hooks(found),
    }
    return render(request, "vcs_integrations/integration.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    found = _linked(pk)
    form = EditForm(request.POST or None, integration=found)
    if form.is_valid() and _edit(request, found, form):
        return redirect("provider_list")
    return render(request, "vcs_integrations/edit.html", {"form": form, "integration": found})


def _edit(request: HttpRequest, found: Integration, form: EditForm) -> bool:
    """Store what the form says, the token only once it was tried; on False the form shows why."""
    token, password_is_new = form.cleaned_data["token"], False
    all_the_same: bool = form.cleaned_data.get("replace_all_the_same", False)
    try:
        if token:
            password_is_new = linking.replace_token(found, token, all_the_same=all_the_same)
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
        # Nothing in between: the token was tried and stored by calls that no transaction may span.
        record(request, Verb.TOKEN_REPLACED, found, "Wanted all the same." if all_the_same else "")
    of_token = {"token", "replace_all_the_same"}
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
            messages.warning(request, "Enter the day on which the new token ends, to be warned")
    if password_is_new:
        messages.warning(request, "The webhook password is new, too: enter it in each service hook")
    return True


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def test(request: HttpRequest, pk: int) -> HttpResponse:
    """Try the connection and each right; who only opens the address is led to the card."""
    found = _linked(pk)
    if request.method != "POST":
        return redirect(found)
    failure = checkup.test(found)
    record(request, Verb.TESTED, found, failure.cause if failure else "Connecting succeeded.")
    if failure:
        messages.error(request, f"Connecting to {found.provider.name} failed: {failure}")
    else:
        messages.success(request, f"Connecting to {found.provider.name} succeeded")
        _warn_of_missing_rights(request, found)
    if not request.headers.get("HX-Request"):
        return redirect("provider_list")
    changed = Integration.objects.get(pk=found.pk)
    if not changed.is_linked:  # it joined its predecessor, which has a card of its own
        response = HttpResponse()
        response["HX-Refresh"] = "true"
        return response
    response = render(request, "vcs_integrations/card_changed.html", {"card": _cards([changed])[0]})
    response["HX-Trigger"] = "checkup"  # the integration's page shows what was found
    return response


def _warn_of_missing_rights(request: HttpRequest, found: Integration) -> None:
    looked_at = Checkup.objects.filter(integration=found).first()
    findings = looked_at.findings if looked_at else []
    missing = [checkup.in_words(one) for one in findings if one.verdict == Judgement.MISSING]
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


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def reconcile(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the worker read what webhooks may have missed; opening the address leads to the card."""
    found = _linked(pk)
    if request.method != "POST":
        return redirect(found)
    with transaction.atomic():
        count = found.repositories.hurry()
        # Names may have changed.
        Integration.objects.filter(pk=found.pk).update(refresh_at=timezone.now())
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
def reveal(request: HttpRequest, pk: int) -> HttpResponse:
    """Show the webhook password and record who looked; opening the address leads to the card."""
    found = _linked(pk)
    if request.method != "POST":
        return redirect(found)
    is_part = bool(request.headers.get("HX-Request"))
    cards = _cards([found] if is_part else list(Integration.objects.linked()))
    card = next(card for card in cards if card.integration == found)
    try:
        password = found.read_credentials().webhook_password
    except ProviderError as error:
        card.password_problem = str(error)
    else:
        record(request, Verb.PASSWORD_REVEALED, found)
        card.webhook_password = password
    if is_part:
        return render(request, "vcs_integrations/card_changed.html", {"card": card})
    return _show_list(request, cards)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def unlink(request: HttpRequest, pk: int) -> HttpResponse:
    found = _linked(pk)
    if request.method == "POST":
        hooks_before = found.subscriptions.present().count()
        left_over, failure = unlinking.unlink(found)
        if not found.is_linked:  # else somebody else did it in this moment
            record(request, Verb.UNLINKED, found, f"Service hooks left over: {len(left_over)}")
        messages.success(request, "Integration was unlinked")
        if failure:
            messages.warning(request, f"Service hooks may be left behind: {failure.cause}")
        if left_over:
            return redirect("left_over_hooks", pk=found.pk)
        if hooks_before and not failure:
            messages.info(request, f"Its service hooks are gone from {found.provider.name}")
        return redirect("provider_list")
    hooks: list[RemoteSubscription] = []
    try:
        hooks = unlinking.hooks(found, INTERACTIVE)
        failure = None
    except ProviderError as error:
        failure = error
    projects = _projects([found])[found.pk]
    context = {
        "integration": found,
        "dependents": dependents_of(found),
        "hooks": _hooks_of_projects(found, hooks, projects),
        "failure": failure,
        "projects": _with_pages(found, projects)[:PROJECTS_ON_A_CARD],
    }
    return render(request, "vcs_integrations/unlink.html", context)


@require_safe
@admin_required
def left_over_hooks(request: HttpRequest, pk: int) -> HttpResponse:
    """List the hooks that unlinking could not remove, each with the page to remove it."""
    found = get_object_or_404(Integration, pk=pk)
    hooks = list(found.subscriptions.left_over())
    projects = _projects([found])[found.pk]
    context = {"integration": found, "hooks": _hooks_of_projects(found, hooks, projects)}
    return render(request, "vcs_integrations/left_over_hooks.html", context)


@require_safe
@admin_required
def deliveries(request: HttpRequest, pk: int) -> HttpResponse:
    """The ledger: what came, and in short what became of it."""
    found = get_object_or_404(Integration, pk=pk)
    form = DeliveryFilter(request.GET, provider=found.provider)
    page = keyset_page(request, form.narrow(_deliveries(found)), "pk", DELIVERIES_ON_A_PAGE)
    context = {
        "integration": found,
        "form": form,
        "page": page,
        "deliveries": page.rows,
        "can_replay": found.is_linked and any(row.can_be_replayed for row in page.rows),
    }
    template = "delivery_list" if request.headers.get("HX-Request") else "deliveries"
    response = render(request, f"vcs_integrations/{template}.html", context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def replay(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the chosen deliveries processed once more; opening the address leads to the list."""
    found = _linked(pk)
    page = redirect(f"{reverse('deliveries', args=[pk])}?{request.GET.urlencode()}".rstrip("?"))
    if request.method != "POST":
        return page
    chosen = [text for text in request.POST.getlist("delivery") if is_key(text)]
    _replay(request, found, found.deliveries.filter(pk__in=chosen[:DELIVERIES_ON_A_PAGE]))
    return page


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
def replay_one(request: HttpRequest, pk: int, delivery_pk: int) -> HttpResponse:
    """Have a delivery processed once more; opening the address leads to its page."""
    found = _delivery(pk, delivery_pk)
    if request.method == "POST":
        linked = _linked(pk)
        _replay(request, linked, linked.deliveries.filter(pk=found.pk))
    return redirect(found)


def _replay(request: HttpRequest, found: Integration, chosen: QuerySet[Delivery]) -> None:
    keys = ", ".join(str(key) for key in chosen.values_list("pk", flat=True))
    with transaction.atomic():
        count = processing.replay(chosen)
        if count:
            record(request, Verb.REPLAYED, found, f"Chosen: {keys}")
    if count:
        noun = "delivery is" if count == 1 else "deliveries are"
        messages.success(request, f"{count} {noun} processed again")
    else:
        messages.warning(request, "Nothing was chosen that can be replayed")


@require_safe
@admin_required
def delivery(request: HttpRequest, pk: int, delivery_pk: int) -> HttpResponse:
    found = _delivery(pk, delivery_pk)
    body = bytes(found.body)
    text = _readable(body)
    # Each a `stacks.models.Decision`: for a stack, a run or the reason for none
    decisions = list(found.decisions.for_pages().order_by("pk")[: DECISIONS_SHOWN + 1])
    context = {
        "integration": found.integration,
        "delivery": found,
        "headers": {
            name: value
            for name, value in found.headers.items()
            if value.lower() != str(found.subscription_id)  # shown by itself
        },
        "size": len(body),
        "body": text[:BODY_SHOWN],
        "is_cut": len(text) > BODY_SHOWN,
        "decisions": decisions[:DECISIONS_SHOWN],
        "has_more_decisions": len(decisions) > DECISIONS_SHOWN,
        "first_one": _first_one(found) if found.outcome == Outcome.DUPLICATE else None,
    }
    return render(request, "vcs_integrations/delivery.html", context)


@require_safe
@admin_required
def delivery_body(request: HttpRequest, pk: int, delivery_pk: int) -> HttpResponse:
    """The body as the bytes that came."""
    found = _delivery(pk, delivery_pk)
    response = HttpResponse(bytes(found.body), content_type="application/octet-stream")
    response["Content-Disposition"] = f'attachment; filename="delivery-{found.pk}.json"'
    return response


def _provider(slug: str) -> Provider:
    provider = provider_by_slug(slug)
    if provider is None:
        raise Http404
    return provider


def _linked(pk: int) -> Integration:
    return get_object_or_404(Integration.objects.linked(), pk=pk)


def _delivery(pk: int, delivery_pk: int) -> Delivery:
    found = Delivery.objects.select_related("integration")
    return get_object_or_404(found, pk=delivery_pk, integration__pk=pk)


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


def _deliveries(found: Integration) -> QuerySet[Delivery]:
    return found.deliveries.defer("body", "headers").select_related("integration").order_by("-pk")


def _show_list(request: HttpRequest, cards: list[Card]) -> HttpResponse:
    left_over = Subscription.objects.left_over().exclude(integration__unlinked_at=None)
    context = {
        "cards": cards,
        "providers": list(PROVIDERS.values()),
        "unlinked_with_hooks": Integration.objects.filter(pk__in=left_over.values("integration")),
    }
    return render(request, "vcs_integrations/provider_list.html", context)


def _cards(integrations: list[Integration]) -> list[Card]:
    """Return the cards of integrations, with a constant number of queries."""
    annotated = (
        Integration.objects.filter(pk__in=[one.pk for one in integrations])
        .select_related("duplicate_of")
        .prefetch_related(Prefetch("subscriptions", Subscription.objects.of_before()))
        .with_last_delivery()
    )
    projects = _projects(integrations)
    reconciliations = _reconciliations(integrations)
    backlogs = _backlogs(integrations)
    hooks = _hook_counts(integrations)
    return [
        Card(
            integration=one,
            projects=_with_pages(one, projects[one.pk])[:PROJECTS_ON_A_CARD],
            more_projects=_with_pages(one, projects[one.pk])[PROJECTS_ON_A_CARD:MOST_PROJECTS],
            hooks_to_make_anew=_hooks_of_projects(
                one,
                [hook for hook in one.subscriptions.all() if hook.is_of_before],
                projects[one.pk],
            ),
            reconciliation=reconciliations.get(one.pk),
            backlog=backlogs.get(one.pk),
            hooks=hooks.get(one.pk),
        )
        for one in annotated
    ]


def _projects(integrations: list[Integration]) -> dict[int, dict[str, str]]:
    """Return each integration's projects, id to name, in the order of their names."""
    rows = (
        Repository.objects.filter(integration__in=integrations, gone_at=None)
        .order_by("project_name")
        .values_list("integration_id", "project_id", "project_name")
        .distinct()
    )
    projects: dict[int, dict[str, str]] = defaultdict(dict)
    for pk, project_id, name in rows:
        projects[pk][project_id] = name
    return projects


def _reconciliations(integrations: list[Integration]) -> dict[int, Reconciliation]:
    """Return how far the repositories of integrations are read, of those that stacks use."""
    rows = (
        Repository.objects.in_use()
        .filter(integration__in=integrations)
        .order_by()
        .values("integration_id")
        .annotate(
            count=Count("pk"),
            failing=Count("pk", filter=Q(reconcile_failures__gt=0)),
            unread=Count("pk", filter=Q(reconciled_at=None)),
            since=Min("reconciled_at"),
        )
    )
    return {
        row["integration_id"]: Reconciliation(
            row["count"], row["failing"], None if row["unread"] else row["since"]
        )
        for row in rows
    }


def _backlogs(integrations: list[Integration]) -> dict[int, Backlog]:
    """Return what waits to be reported, a `stacks.models.Report` each; nothing where none does."""
    waiting = Repository.objects.filter(reports__state="waiting").order_by()
    tried = waiting.filter(integration=OuterRef("integration_id"), reports__attempts__gt=0)
    rows = (
        waiting.filter(integration__in=integrations)
        .values("integration_id")
        .annotate(
            waiting=Count("reports"),
            since=Min("reports__news_at"),
            failing=Count("reports", filter=Q(reports__attempts__gt=0)),
            problem=Subquery(tried.order_by("-reports__failed_at").values("reports__problem")[:1]),
        )
    )
    return {
        row["integration_id"]: Backlog(
            row["waiting"], row["since"], row["failing"], row["problem"] or ""
        )
        for row in rows
    }


def _hook_counts(integrations: list[Integration]) -> dict[int, HookCounts]:
    """Return how many hooks post to integrations; nothing where none does."""
    # Made by hand and with the old password, which is still accepted.
    accepted = Q(
        state=HookState.WRONG_PASSWORD,
        is_ours=False,
        has_wrong_password=False,
        integration__old_password_digest__startswith=F("password_mark"),
    ) & ~Q(password_mark="")
    rows = (
        Subscription.objects.present()
        .filter(integration__in=integrations)
        .order_by()
        .values("integration_id")
        .annotate(count=Count("pk"), broken=Count("pk", filter=~Q(state=HookState.OK) & ~accepted))
    )
    return {row["integration_id"]: HookCounts(row["count"], row["broken"]) for row in rows}


def _with_pages(found: Integration, projects: dict[str, str]) -> list[tuple[str, str]]:
    """Return projects by name, each with the page of its service hooks."""
    return [
        (name, found.provider.service_hooks_url(found.organization_url, name))
        for name in projects.values()
    ]


def _hooks_of_projects(
    found: Integration,
    hooks: Sequence[Subscription] | Sequence[RemoteSubscription],
    projects: dict[str, str],
) -> list[HookOfProject]:
    """Return hooks in the words of the provider's pages."""
    return [
        HookOfProject(
            event=found.event_name(hook.event_type),
            project=(name := projects.get(hook.project_id, hook.project_id)),
            url=found.provider.service_hooks_url(found.organization_url, name),
        )
        for hook in hooks
    ]


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
