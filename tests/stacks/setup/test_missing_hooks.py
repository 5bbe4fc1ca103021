"""A stack whose project has no service hooks offers to create them."""

import pytest
from django.test import Client

from stacks.models import Stack
from tests.emulator.model import Organization
from tests.stacks.conftest import create
from vcs_integrations.hooks.watching import watch
from vcs_integrations.models import Integration

OFFER = "No webhook reports pushes yet."


@pytest.fixture
def created(admin: Client, world: Integration) -> Stack:
    create(admin, world)
    stack = Stack.objects.get()
    assert stack.repository.due_at is not None
    watch(Integration.objects.get(pk=world.pk).hook_watch)
    return stack


def home(client: Client) -> list[str]:
    return [notice.text for notice in client.get("/").context["notices"]]


def test_an_admin_creates_them_from_the_stack(
    admin: Client, created: Stack, organization: Organization
) -> None:
    page = admin.get(created.get_absolute_url()).content.decode()
    assert OFFER in page
    assert "Create hooks" in page
    expected = "The project Platform Team in Azure DevOps · fabrikam has no service hooks"
    assert home(admin) == [expected]
    integration = created.repository.integration
    project = created.repository.project_id
    admin.post(f"/settings/vcs-providers/{integration.pk}/hooks/keep/", {"project": project})
    assert OFFER not in admin.get(created.get_absolute_url()).content.decode()
    assert home(admin) == []
    watch(Integration.objects.get().hook_watch)
    assert len(organization.subscriptions) == 4


def test_a_member_sees_who_creates_them(member: Client, created: Stack) -> None:
    page = member.get(created.get_absolute_url()).content.decode()
    assert OFFER in page
    assert "An admin creates them" in page
    assert "Create hooks" not in page
    assert len(home(member)) == 1


def test_hooks_made_by_hand_will_do(
    admin: Client, created: Stack, organization: Organization
) -> None:
    project = organization.project("Platform Team")
    assert project
    integration = Integration.objects.get()
    organization.add_subscription(project, "git.push", integration.endpoint_url, "x")
    watch(integration.hook_watch)
    assert OFFER not in admin.get(created.get_absolute_url()).content.decode()
    assert home(admin) == []


def test_nothing_is_said_before_the_hooks_were_read(admin: Client, world: Integration) -> None:
    create(admin, world)
    assert OFFER not in admin.get(Stack.objects.get().get_absolute_url()).content.decode()
    assert home(admin) == []


def test_an_admin_who_wants_none_is_not_asked_again(admin: Client, created: Stack) -> None:
    integration = created.repository.integration
    project = created.repository.project_id
    section = admin.get(integration.get_absolute_url()).content.decode()
    assert "Stop managing the hooks of Platform Team" in section
    admin.post(f"/settings/vcs-providers/{integration.pk}/hooks/leave/", {"project": project})
    assert OFFER not in admin.get(created.get_absolute_url()).content.decode()
    assert home(admin) == []
    section = admin.get(integration.get_absolute_url()).content.decode()
    assert "Not managed: reconciliation finds its pushes" in section


def test_a_hook_for_all_projects_will_do(admin: Client, created: Stack) -> None:
    created.repository.integration.subscriptions.create(
        external_id="1", event_type="git.push", project_id=""
    )
    assert OFFER not in admin.get(created.get_absolute_url()).content.decode()


def test_create_hooks_leads_back_to_the_stack_and_nowhere_else(
    admin: Client, created: Stack
) -> None:
    url = f"/settings/vcs-providers/{created.repository.integration_id}/hooks/keep/"
    chosen = {"project": created.repository.project_id}
    answer = admin.post(url, chosen | {"next": created.get_absolute_url()})
    assert answer["Location"] == created.get_absolute_url()
    answer = admin.post(url, chosen | {"next": "https://elsewhere.example.com/"})
    assert answer["Location"].startswith("/settings/vcs-providers/")


def test_a_stack_whose_hooks_are_left_alone_says_how_pushes_are_found(
    member: Client, created: Stack
) -> None:
    created.repository.integration.projects.update(is_left_alone=True)
    page = member.get(created.get_absolute_url()).content.decode()
    assert (
        "No webhook reports pushes: Stackhook does not manage the service hooks of Platform Team."
        in page
    )
    created.repository.integration.subscriptions.create(
        external_id="1", event_type="git.push", project_id=""
    )
    assert "No webhook reports" not in member.get(created.get_absolute_url()).content.decode()
