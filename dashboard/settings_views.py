"""The page that leads to all settings."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from vcs_integrations.providers import PROVIDERS


@require_safe
def settings(request: HttpRequest) -> HttpResponse:
    """Name the settings that the person may read."""
    providers = [provider.name for provider in PROVIDERS.values()]
    return render(request, "dashboard/settings.html", {"providers": providers})
