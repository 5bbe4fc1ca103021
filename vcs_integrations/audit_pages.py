"""Settings → Audit log: who did what, when, and to what."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from accounts.audit import Verb, entries, lines, matching
from accounts.roles import admin_required
from vcs_integrations.keyset import keyset_page

ENTRIES_ON_A_PAGE = 50


class AuditFilter(forms.Form):
    """Which entries to show; a choice that makes no sense is as none."""

    person = forms.CharField(label="Who", max_length=150, required=False)
    verb = forms.ChoiceField(
        label="What", required=False, choices=[("", "Anything"), *Verb.choices]
    )
    thing = forms.CharField(label="To what", max_length=200, required=False)

    def narrow(self, log: "QuerySet[Any]") -> "QuerySet[Any]":
        """Return those of the entries that are to be shown."""
        self.is_valid()
        return matching(log, **{name: self.cleaned_data.get(name, "") for name in self.fields})

    @property
    def is_used(self) -> bool:
        """Whether anything is chosen."""
        return any(self.cleaned_data.values())


@require_safe
@admin_required
def audit_log(request: HttpRequest) -> HttpResponse:
    form = AuditFilter(request.GET)
    page = keyset_page(request, form.narrow(entries()), "pk", ENTRIES_ON_A_PAGE)
    context = {"form": form, "page": page, "log": lines(page.rows)}
    template = "audit_list" if request.headers.get("HX-Request") else "audit_log"
    response = render(request, f"vcs_integrations/{template}.html", context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response
