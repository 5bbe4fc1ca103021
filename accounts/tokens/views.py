"""A person's own tokens, and those of others, which admins may revoke."""

from typing import cast

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.models import PersonalToken, User
from accounts.roles import about_oneself, admin_required
from accounts.tokens.forms import TokenForm
from accounts.tokens.records import create_token, revoke
from accounts.tokens.registry_host import host_of, token_variable, why_unusable
from core.http import post_or_redirect

ON_A_PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@about_oneself
def tokens(request: HttpRequest) -> HttpResponse:
    """One's own tokens. A new one is in the answer to its form, and never shown again."""
    person = cast(User, request.user)
    # An empty form is one with no name, and not one that was not sent.
    form = TokenForm(request.POST if request.method == "POST" else None)
    value = ""
    if form.is_valid():
        with transaction.atomic():
            name, days = form.cleaned_data["name"], form.cleaned_data["days"]
            token, value = create_token(person, name, days)
            record(request, Verb.TOKEN_CREATED, person, token.name)
        form = TokenForm()
    context = {
        "form": form,
        "value": value,
        "page": Paginator(person.tokens.all(), ON_A_PAGE).get_page(request.GET.get("page")),
        "host": host_of(settings.PUBLIC_URL),
        "variable": token_variable(settings.PUBLIC_URL),
        "why_unusable": why_unusable(settings.PUBLIC_URL),
    }
    return render(request, "accounts/tokens/tokens.html", context)


def _own_page(token_pk: int) -> str:
    return reverse("accounts:tokens")


@require_http_methods(["GET", "HEAD", "POST"])
@about_oneself
@post_or_redirect(_own_page)
def revoke_token(request: HttpRequest, token_pk: int) -> HttpResponse:
    """Revoke one of one's own tokens."""
    person = cast(User, request.user)
    _revoke(request, get_object_or_404(PersonalToken, pk=token_pk, user=person))
    return redirect("accounts:tokens")


def _page_of_person(pk: int, token_pk: int) -> str:
    return reverse("accounts:edit_person", args=[pk])


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@post_or_redirect(_page_of_person)
def revoke_token_of(request: HttpRequest, pk: int, token_pk: int) -> HttpResponse:
    """Revoke a token of somebody."""
    found = PersonalToken.objects.select_related("user")
    _revoke(request, get_object_or_404(found, pk=token_pk, user=pk))
    return redirect("accounts:edit_person", pk)


def _revoke(request: HttpRequest, token: PersonalToken) -> None:
    with transaction.atomic():
        if revoke(PersonalToken.objects.filter(pk=token.pk)):
            record(request, Verb.TOKEN_REVOKED, token.user, token.name)
    messages.success(request, f"Token {token.name} was revoked")
