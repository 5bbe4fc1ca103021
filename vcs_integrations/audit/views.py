"""Settings → Audit log: who did what, when, from where, and to what; also as a file."""

# Not next to the log in accounts, which may not import integrations.

from typing import cast

from django import forms
from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from accounts.audit.records import (
    SecurityEvent,
    Verb,
    entries,
    entries_about,
    json_lines,
    matching,
    with_pages,
)
from accounts.models import AuditEntry, User
from accounts.roles import admin_required
from core.http import HtmxHttpRequest
from core.keyset import keyset_page
from vcs_integrations.models import Integration

ENTRIES_ON_A_PAGE = 50


class AuditFilter(forms.Form):
    """Which entries to show; an invalid choice is ignored."""

    person = forms.CharField(label="Who", max_length=150, required=False)
    verb = forms.ChoiceField(
        label="What",
        required=False,
        choices=[("", "Anything"), *Verb.choices, *SecurityEvent.choices],
    )
    thing = forms.CharField(label="To what", max_length=200, required=False)
    # By its key: its name changes, and may be the beginning of another's.
    integration = forms.ModelChoiceField(
        queryset=Integration.objects.all(), required=False, widget=forms.HiddenInput
    )

    def chosen(self) -> QuerySet[AuditEntry]:
        """Return the entries that the filter lets through."""
        self.is_valid()
        names = ("person", "verb", "thing")
        log = entries_of(self.only_about) if self.only_about else entries()
        return matching(log, **{name: self.cleaned_data.get(name, "") for name in names})

    @property
    def only_about(self) -> Integration | None:
        """The only integration whose entries are shown, if one is chosen."""
        found: Integration | None = self.cleaned_data.get("integration")
        return found

    @property
    def is_used(self) -> bool:
        """Whether any filter is set."""
        return any(self.cleaned_data.values())


def entries_of(integration: Integration) -> QuerySet[AuditEntry]:
    """Return entries about an integration, and about links that turned out to be the same one."""
    same = Q(pk=integration.pk) | Q(endpoint__integration=integration)
    return entries_about(Integration.objects.filter(same))


def actions_on(integration: Integration) -> QuerySet[AuditEntry]:
    """Return what people did to an integration, without refused webhooks."""
    return entries_of(integration).exclude(verb=SecurityEvent.WEBHOOK_REFUSED)


@require_safe
@admin_required
def audit_log(request: HtmxHttpRequest) -> HttpResponseBase:
    form = AuditFilter(request.GET)
    if "export" in request.GET:
        return _export(form.chosen())
    page = keyset_page(request, form.chosen(), "pk", ENTRIES_ON_A_PAGE)
    context = {"form": form, "page": page, "log": with_pages(page.rows, cast(User, request.user))}
    template = "audit_list" if request.htmx else "audit_log"
    response = render(request, f"vcs_integrations/audit/{template}.html", context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response


def _export(log: QuerySet[AuditEntry]) -> StreamingHttpResponse:
    """Answer with entries as JSON lines (https://jsonlines.org)."""
    return StreamingHttpResponse(
        json_lines(log),
        content_type="application/jsonl",
        headers={"Content-Disposition": 'attachment; filename="stackhook-audit-log.jsonl"'},
    )
