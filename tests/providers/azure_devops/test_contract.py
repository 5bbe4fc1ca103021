"""The contract of providers, kept by Azure DevOps as its emulator answers for it."""

import json
from collections.abc import Mapping

import pytest

from core.basic_auth import write_basic
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.providers.contract import Contract, Request


class EmulatedHost:
    """Implements `tests.providers.contract.Host`."""

    def __init__(self, emulator: Emulator, organization: Organization, token: str) -> None:
        self._emulator, self._organization = emulator, organization
        self.url, self.token = organization.url, token
        [project] = organization.projects
        [self._repository] = project.repositories

    def push(self, branch: str, files: Mapping[str, str]) -> str:
        self._repository.push({**files}, branch)
        sha = self._repository.tip(branch)
        assert sha
        return sha

    def open_pull_request(self, source: str) -> int:
        return self._repository.open_pull_request(source).id

    def close(self, number: int, *, merged: bool) -> None:
        one = self._repository.pull_request(number)
        if merged:
            one.complete()
        else:
            one.abandon()

    def settle(self) -> None:
        self._emulator.wait_for_deliveries()

    def statuses_on_page_of(self, number: int) -> list[str]:
        one = self._repository.pull_request(number)
        newest = len(one.iterations)
        return sorted({s.context.name for s in one.statuses if s.iteration_id == newest})

    def hooks(self) -> int:
        return len(self._organization.subscriptions)

    def prove(self, body: bytes, secret: str) -> dict[str, str]:
        return {"Authorization": write_basic("", secret)}

    def requests(self) -> list[Request]:
        return [
            Request(
                {
                    "Authorization": write_basic("", one.consumer_inputs["basicAuthPassword"]),
                    "Content-Type": "application/json; charset=utf-8",
                },
                json.dumps(one.event).encode(),
            )
            for one in self._organization.history
        ]


class TestAzureDevOps(Contract):
    key = "azure_devops"

    @pytest.fixture
    def host(
        self, emulator: Emulator, organization: Organization, repository: Repository, token: str
    ) -> EmulatedHost:
        return EmulatedHost(emulator, organization, token)
