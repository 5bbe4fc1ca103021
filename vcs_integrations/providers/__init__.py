"""The providers that work, by key."""

from vcs_integrations.providers.azure_devops.provider import AzureDevOps
from vcs_integrations.providers.base import Provider

PROVIDERS: dict[str, Provider] = {AzureDevOps.key: AzureDevOps()}


def provider_by_slug(slug: str) -> Provider | None:
    """Return the provider whose addresses have this slug."""
    return next((provider for provider in PROVIDERS.values() if provider.slug == slug), None)
