"""What Stackhook does with Azure DevOps Servers that speak older versions of the REST API."""

import pytest
from django.test import Client

from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.builders import make_integration, make_stack
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project, Repository
from tests.stacks.reports.sender import TO_PLAN, look, move, newest, send_all, summaries
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.hooks.watching import watch
from vcs_integrations.models import Checkup, Integration
from vcs_integrations.organizations import checkup
from vcs_integrations.providers.base import Judgment
from vcs_integrations.webhooks.processing import process_due

SERVERS = {
    "2022": ("7.0", "7.0", False),
    "2020 Update 1": ("6.1", "6.0", False),
    "2019 Update 1": ("5.1", "5.1", False),
    "2019": ("5.0", "5.0", False),
    "2019 that answers 404": ("5.0", "5.0", True),
}


def process_deliveries(emulator: Emulator) -> None:
    emulator.wait_for_deliveries()
    while process_due():
        pass


@pytest.mark.parametrize("server", SERVERS)
def test_everything_works_on_an_older_server(
    site: str,
    emulator: Emulator,
    organization: Organization,
    project: Project,
    repository: Repository,
    token: str,
    server: str,
) -> None:
    latest, released, hides_newer = SERVERS[server]
    emulator.speak(latest, released, hides_newer=hides_newer)
    integration = make_integration(organization.url, token)
    assert integration.external_id == organization.id
    stack = make_stack(integration.repositories.get(), path_rule=False)
    assert follow_from_now(stack) is None
    integration.projects.update(keeps_hooks=True)
    watch(integration.hook_watch)
    assert len(organization.subscriptions) == 4

    sha = repository.push({"main.tf": "2"})
    process_deliveries(emulator)
    repository.push({"topic.tf": "1"}, "topic")
    one = repository.open_pull_request("topic")
    process_deliveries(emulator)
    assert stack.runs.filter(sha=sha).exists()
    move(newest(stack), *TO_PLAN, State.FINISHED)
    look(stack)
    send_all()
    assert summaries(repository.statuses[sha]) == [("pending", "Run 1 waits for its turn")]
    assert summaries(one.latest_statuses(iteration=1)) == [("succeeded", "Run 2 finished")]
    assert "Run 2 finished" in one.threads[0].comments[0].content
    one.push({"topic.tf": "2"})
    look(stack)
    send_all()
    assert "Run 3 waits" in one.threads[0].comments[0].content

    assert checkup.test(Integration.objects.get()) is None
    [found] = Checkup.objects.all()
    assert {one.verdict for one in found.findings} == {Judgment.OK}
    unlink(Integration.objects.get())
    assert organization.subscriptions == []
    refused = [request for request in emulator.requests if request.status in {400, 404}]
    asked = [request for request in refused if "7.1" in request.query]
    # The first call finds out, and all others know; what looks for an address names its version.
    assert [request.path for request in asked] == ["/fabrikam/_apis/git/repositories"]


def test_a_server_that_is_too_old_is_distinguished_from_a_proxy(
    emulator: Emulator, organization: Organization, token: str, admin: Client
) -> None:
    emulator.speak("4.1")
    form = {"organization_url": organization.url, "token": token}
    page = admin.post("/settings/vcs-providers/azure-devops/set-up/", form)
    [said] = page.context["form"].errors["organization_url"]
    assert "speaks REST API 4.1; Stackhook needs 5.0 or newer. Upgrade the server" in said
    assert "proxy" not in page.content.decode()
    assert not Integration.objects.exists()
    assert len(emulator.requests) == 1
