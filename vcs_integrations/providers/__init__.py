"""The providers that work, by key."""

from vcs_integrations.providers.azure_devops.provider import AzureDevOps
from vcs_integrations.providers.base import Provider

PROVIDERS: dict[str, Provider] = {AzureDevOps.key: AzureDevOps()}
