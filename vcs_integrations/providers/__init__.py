"""The providers that `VCS_PROVIDERS` in the settings names, by key."""

from django.conf import settings
from django.utils.module_loading import import_string

from vcs_integrations.providers.base import Provider

PROVIDERS: dict[str, Provider] = {
    provider.key: provider()
    for provider in (import_string(path) for path in settings.VCS_PROVIDERS)
}


def provider_by_slug(slug: str) -> Provider | None:
    """Return the provider whose addresses have this slug."""
    return next((provider for provider in PROVIDERS.values() if provider.slug == slug), None)
