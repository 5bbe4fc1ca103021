"""Plain as a provider."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from core.basic_auth import write_basic
from tests.providers.plain import webhook
from tests.providers.plain.client import PlainClient
from tests.providers.plain.host import ORGANIZATIONS
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


class Plain:
    """Implements `vcs_integrations.providers.base.Provider`, which documents the methods."""

    key: ClassVar[str] = "plain"
    slug: ClassVar[str] = "plain"
    name: ClassVar[str] = "Plain"
    description: ClassVar[str] = "The plainest of hosts."
    url_help: ClassVar[str] = "https://plain.example.com/your-organization"
    token_help: ClassVar[str] = "Any token that Plain gave you."
    icon: ClassVar[str] = "M4 12h16"
    hooks_help: ClassVar[str] = "Ask an owner of the organization."
    hook_steps: ClassVar[Sequence[str]] = ("Enter URL and secret.",)
    events: ClassVar[Mapping[str, str]] = webhook.EVENTS
    hooks: ClassVar[Mapping[str, str]] = {webhook.ALL: "All events"}
    push_event: ClassVar[str] = webhook.PUSH
    keeps_hook_history: ClassVar[bool] = False
    has_pull_request_statuses: ClassVar[bool] = False
    kept_headers: ClassVar[Sequence[str]] = (webhook.EVENT, webhook.DELIVERY)
    longest_comment: ClassVar[int] = 10_000
    own_servers: ClassVar[Sequence[str]] = ()

    def parse_organization_url(self, text: str) -> OrganizationUrl:
        url = text.strip().rstrip("/")
        if url not in ORGANIZATIONS:
            raise InvalidOrganizationUrl("Plain has no such organization.")
        return OrganizationUrl(url, url.rpartition("/")[2], url.removeprefix("https://"))

    def parse_repository_url(self, text: str) -> RepositoryPath | None:
        return None

    def client(self, organization_url: str, token: str, limits: CallLimits) -> Client:
        if organization_url not in ORGANIZATIONS:
            raise ProviderError(Problem.ORGANIZATION_UNKNOWN, "It is gone.", "Unlink it.")
        return PlainClient(ORGANIZATIONS[organization_url], token)

    def receive(
        self, headers: Mapping[str, str], read_body: Callable[[], bytes], secrets: Sequence[S]
    ) -> tuple[Envelope, S] | Refused:
        return webhook.receive(headers, read_body, secrets)

    def parse(self, headers: Mapping[str, str], body: bytes) -> list[Hint] | Ignored | Malformed:
        return webhook.parse(headers, body)

    def hook_for(self, event_type: str) -> str:
        return webhook.ALL if event_type in self.events else ""

    def refuses_endpoint(self, endpoint: str) -> str:
        return ""

    def service_hooks_url(self, organization_url: str, project_name: str) -> str:
        return f"{organization_url}/hooks"

    def repository_url(self, organization_url: str, project_name: str, name: str) -> str:
        return f"{organization_url}/{name}"

    def clone_url(self, organization_url: str, project_name: str, name: str) -> str:
        return f"{organization_url}/{name}.git"

    def git_header(self, token: str) -> str:
        return f"Authorization: {write_basic('plain', token)}"

    def git_addresses(self, organization_url: str) -> Sequence[str]:
        return [f"{organization_url}/"]

    def branch_url(self, repository_url: str, branch: str) -> str:
        return f"{repository_url}/branches/{branch}"

    def commit_url(self, repository_url: str, sha: str) -> str:
        return f"{repository_url}/commits/{sha}"

    def pull_request_url(self, repository_url: str, number: int) -> str:
        return f"{repository_url}/pulls/{number}"

    def refs_of(self, number: int) -> Sequence[str]:
        return [f"refs/pulls/{number}/head"]

    def merge_ref(self, number: int) -> str:
        return ""
