"""A module of a repository, and webhooks that tell of its pushes."""

from collections.abc import Iterator

import pytest

from modules.models import Module
from tests.builders import make_module, make_repository
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.modules.deciding.hearing import Hearing
from vcs_integrations.models import Integration
from vcs_integrations.models import Repository as OurRepository

EVENTS = (
    "git.push",
    "git.pullrequest.created",
    "git.pullrequest.merged",
    "git.pullrequest.updated",
)


@pytest.fixture
def ours(integration: Integration, repository: Repository) -> OurRepository:
    return make_repository(integration, repository.id, name="infrastructure")


@pytest.fixture
def module(ours: OurRepository) -> Module:
    """A module without a stack beside it."""
    return make_module(ours)


@pytest.fixture
def hearing(
    integration: Integration, organization: Organization, repository: Repository, emulator: Emulator
) -> Iterator[Hearing]:
    """What the hooks send is held back until it is delivered."""
    emulator.deliveries.hold()
    for event in EVENTS:
        password = integration.read_webhook_secret().value
        organization.add_subscription(repository.project, event, integration.endpoint_url, password)
    yield Hearing(integration, emulator)
    emulator.deliveries.drop()
