"""Azure DevOps as a provider: what the rest of the product calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

from django.conf import settings

from core.basic_auth import write_basic
from vcs_integrations.providers.azure_devops import diagnosis, organization_url, webhook
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.azure_devops.endpoint import refuses_endpoint
from vcs_integrations.providers.azure_devops.organization_url import git_addresses
from vcs_integrations.providers.base import (
    CallLimits,
    Client,
    Envelope,
    InvalidOrganizationUrl,
    OrganizationUrl,
    Problem,
    ProviderError,
    Refused,
    RepositoryPath,
    S,
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
    # A pipe that loops: build, release, and on again.
    icon: ClassVar[str] = (
        "M8 8a4 4 0 1 0 0 8c4 0 4-8 8-8a4 4 0 1 1 0 8c-4 0-4-8-8-8zM8 12h.01M16 12h.01"
    )
    hooks_help: ClassVar[str] = diagnosis.HOOK_ADMINS
    hook_steps: ClassVar[Sequence[str]] = (
        "The page is “Project settings → Service hooks”. Choose “Create subscription”, the service "
        f"“Web Hooks”, and one of these events: “{'”, “'.join(webhook.EVENTS.values())}”. "
        "Leave its filters at “Any”.",
        "As “URL” enter the webhook endpoint, leave the “Basic authentication username” empty, and "
        "as “Basic authentication password” enter the webhook password. Keep “All” for resource "
        "details and messages.",
        "Select “Test”: the delivery is listed as “Test received”. Then select “Finish”.",
        f"Do this for each of the {len(webhook.EVENTS)} events.",
    )
    events: ClassVar[Mapping[str, str]] = webhook.EVENTS
    # A subscription is for one event.
    hooks: ClassVar[Mapping[str, str]] = webhook.EVENTS
    keeps_hook_history: ClassVar[bool] = True
    has_pull_request_statuses: ClassVar[bool] = True
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

    def client(self, organization_url: str, token: str, limits: CallLimits) -> Client:
        try:
            self.parse_organization_url(organization_url)
        except InvalidOrganizationUrl as error:  # a server that was listed once
            raise ProviderError(
                Problem.NOT_ALLOWED,
                f"{organization_url} may not be called any more, so nothing was sent there.",
                "Ask the operator to list the server in AZURE_DEVOPS_SERVERS again, or unlink it.",
            ) from error
        return AzureDevOpsClient(organization_url, token, limits)

    def receive(
        self, headers: Mapping[str, str], read_body: Callable[[], bytes], secrets: Sequence[S]
    ) -> tuple[Envelope, S] | Refused:
        return webhook.receive(headers, read_body, secrets)

    def parse(self, headers: Mapping[str, str], body: bytes) -> list[Hint] | Ignored | Malformed:
        return webhook.parse(body)

    def hook_for(self, event_type: str) -> str:
        return event_type if event_type in self.hooks else ""

    def refuses_endpoint(self, endpoint: str) -> str:
        return refuses_endpoint(endpoint)

    def service_hooks_url(self, organization_url: str, project_name: str) -> str:
        return _below(organization_url, project_name, "_settings", "serviceHooks")

    def repository_url(self, organization_url: str, project_name: str, name: str) -> str:
        return _below(organization_url, project_name, "_git", name)

    def clone_url(self, organization_url: str, project_name: str, name: str) -> str:
        return self.repository_url(organization_url, project_name, name)

    def git_header(self, token: str) -> str:
        # With a personal access token any user name will do.
        return f"Authorization: {write_basic('', token)}"

    def git_addresses(self, organization_url: str) -> Sequence[str]:
        return git_addresses(organization_url, self.own_servers)

    def branch_url(self, repository_url: str, branch: str) -> str:
        return f"{repository_url}?version=GB{quote(branch, safe='')}"

    def commit_url(self, repository_url: str, sha: str) -> str:
        return f"{repository_url}/commit/{quote(sha, safe='')}"

    def pull_request_url(self, repository_url: str, number: int) -> str:
        return f"{repository_url}/pullrequest/{number}"

    def refs_of(self, number: int) -> Sequence[str]:
        return [self.merge_ref(number)]

    def merge_ref(self, number: int) -> str:
        return f"refs/pull/{number}/merge"


def _below(url: str, *names: str) -> str:
    """Return the address of what has these names; the URL itself where they lead out of it."""
    if any(organization_url.leads_elsewhere(name) for name in names):
        return url
    return "/".join([url, *(quote(name, safe="") for name in names)])
