"""The contract of providers, kept by the plainest of hosts."""

import hmac
import urllib.request
from collections.abc import Iterator, Mapping
from urllib.error import HTTPError

import pytest
from pytest_django import Settings

from tests.providers.contract import Contract, Request
from tests.providers.plain.host import ORGANIZATIONS, Organization
from vcs_integrations.models import Integration

URL = "https://plain.example.com/fabrikam"


class PlainHost:
    """Implements `tests.providers.contract.Host`."""

    url, token = URL, "plain-token"

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self.organization = Organization(URL, self.token, self._post)
        self._repository = self.organization.add_repository("infrastructure")
        self.push("main", {"main.tf": ""})

    def push(self, branch: str, files: Mapping[str, str]) -> str:
        message = f"Commit {len(self._repository.commits)}"
        return self.organization.push(self._repository, branch, files, message)

    def open_pull_request(self, source: str) -> int:
        return self.organization.open_pull_request(self._repository, source, "main")

    def close(self, number: int, *, merged: bool) -> None:
        self.organization.close(self._repository, number, merged=merged)

    def settle(self) -> None:
        """Do nothing: whatever was done was answered at once."""

    def statuses_on_page_of(self, number: int) -> list[str]:
        source = self._repository.branches[self._repository.pull_requests[number].source]
        return sorted({one.name for one in self._repository.statuses.get(source.sha, [])})

    def hooks(self) -> int:
        return len(self.organization.hooks)

    def prove(self, body: bytes, secret: str) -> dict[str, str]:
        return {"X-Plain-Signature": hmac.new(secret.encode(), body, "sha256").hexdigest()}

    def requests(self) -> list[Request]:
        return self._requests

    def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self._requests.append(Request(headers, body))
        with urllib.request.urlopen(urllib.request.Request(url, body, dict(headers))):
            pass


class TestPlain(Contract):
    key = "plain"

    @pytest.fixture
    def host(self) -> Iterator[PlainHost]:
        host = PlainHost()
        ORGANIZATIONS[URL] = host.organization
        yield host
        del ORGANIZATIONS[URL]

    def test_a_secret_that_no_key_reads_any_more_has_the_request_sent_again(
        self, linked: Integration, host: PlainHost, settings: Settings
    ) -> None:
        settings.FIELD_ENCRYPTION_KEY = "another key"
        with pytest.raises(HTTPError, match="503"):
            host.push("main", {"network/a.tf": "1"})
        assert not linked.deliveries.exists()
