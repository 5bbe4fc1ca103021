"""Azure DevOps as a provider: what the rest of the product calls."""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

from django.conf import settings

from vcs_integrations.providers.azure_devops import diagnosis, organization_url, webhook
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.azure_devops.endpoint import refuses_endpoint
from vcs_integrations.providers.base import (
    Client,
    Envelope,
    InvalidOrganizationUrl,
    OrganizationUrl,
    Patience,
    Problem,
    ProviderError,
    RepositoryPath,
)
from vcs_integrations.providers.events import Hint, Ignored, Malformed


class AzureDevOps:
    """Implements `vcs_integrations.providers.base.Provider`, which documents the methods."""

    key: ClassVar[str] = "azure_devops"
    slug: ClassVar[str] = "azure-devops"
    name: ClassVar[str] = "Azure DevOps"
    description: ClassVar[str] = "Microsoft's service for planning and building software, with Git."
    url_help: ClassVar[str] = (
        "https://dev.azure.com/your-organization or https://your-organization.visualstudio.com. "
        "Any address from inside it will do."
    )
    token_help: ClassVar[str] = (
        "In Azure DevOps: User settings → Personal access tokens → New Token. Choose this one "
        "organization, not “All accessible organizations” (Microsoft ends those tokens on "
        "2026-12-01), and the scope Code: Read & write."
    )
    hooks_help: ClassVar[str] = diagnosis.HOOK_ADMINS
    events: ClassVar[Mapping[str, str]] = webhook.EVENTS
    push_event: ClassVar[str] = webhook.PUSH
    kept_headers: ClassVar[Sequence[str]] = (
        "Content-Type",
        "Content-Length",
        "User-Agent",
        "Request-Id",
        "X-VSS-ActivityId",
        "X-VSS-SubscriptionId",
    )
    # "A discussion comment cannot be longer than 150000 characters", it says.
    longest_comment: ClassVar[int] = 150_000

    @property
    def own_servers(self) -> Sequence[str]:
        return list(settings.AZURE_DEVOPS_SERVERS)

    def parse_organization_url(self, text: str) -> OrganizationUrl:
        return organization_url.parse_organization_url(text, self.own_servers)

    def parse_repository_url(self, text: str) -> RepositoryPath | None:
        return organization_url.parse_repository_url(text, self.own_servers)

    def client(self, organization_url: str, token: str, patience: Patience) -> Client:
        try:
            self.parse_organization_url(organization_url)
        except InvalidOrganizationUrl as error:  # a server that was listed once
            raise ProviderError(
                Problem.NOT_ALLOWED,
                f"{organization_url} may not be called any more, so nothing was sent there.",
                "The operator lists the server in AZURE_DEVOPS_SERVERS again, or you unlink it.",
            ) from error
        return AzureDevOpsClient(organization_url, token, patience)

    def authenticate(self, authorization: str, password_digest: str) -> bool:
        return webhook.authenticate(authorization, password_digest)

    def read_envelope(self, body: bytes) -> Envelope:
        return webhook.read_envelope(body)

    def parse(self, body: bytes) -> list[Hint] | Ignored | Malformed:
        return webhook.parse(body)

    def refuses_endpoint(self, endpoint: str) -> str:
        return refuses_endpoint(endpoint)

    def service_hooks_url(self, organization_url: str, project_name: str) -> str:
        return _below(organization_url, project_name, "_settings", "serviceHooks")

    def repository_url(self, organization_url: str, project_name: str, name: str) -> str:
        return _below(organization_url, project_name, "_git", name)

    def branch_url(self, repository_url: str, branch: str) -> str:
        return f"{repository_url}?version=GB{quote(branch, safe='')}"

    def commit_url(self, repository_url: str, sha: str) -> str:
        return f"{repository_url}/commit/{quote(sha, safe='')}"

    def pull_request_url(self, repository_url: str, number: int) -> str:
        return f"{repository_url}/pullrequest/{number}"

    def merge_ref(self, number: int) -> str:
        return f"refs/pull/{number}/merge"


def _below(url: str, *names: str) -> str:
    """Return the address of what has these names; the URL itself where they lead out of it."""
    if any(organization_url.leads_elsewhere(name) for name in names):
        return url
    return "/".join([url, *(quote(name, safe="") for name in names)])
