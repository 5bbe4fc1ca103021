"""The section “Service hooks” of an integration's page, and what its buttons do."""

import pytest
from django.test import Client

from tests.builders import store_integration
from tests.emulator.model import Organization, Project
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.hooks.watching import watch
from vcs_integrations.models import HookTest, Integration, Verdict


@pytest.fixture
def read(integration: Integration) -> Integration:
    """An organization whose hooks were read."""
    watch(Integration.objects.get(pk=integration.pk).hook_watch)
    return integration


def section(client: Client, integration: Integration) -> str:
    page: str = client.get(integration.get_absolute_url()).content.decode()
    return page[page.index('id="hooks"') :]


def post(client: Client, integration: Integration, deed: str, **data: str) -> list[str]:
    """Press a button of the section; return the notifications."""
    url = f"{integration.get_absolute_url()}hooks/{deed}/"
    response = client.post(url, data, follow=True)
    return [str(message) for message in response.context["messages"]]


def test_create_hooks_of_one_project(
    admin: Client, read: Integration, project: Project, organization: Organization
) -> None:
    organization.add_project("Other").add_repository("other", {"a": "1"})
    assert "Create hooks" in section(admin, read)
    messages = post(admin, read, "keep", project=project.id)
    assert messages == ["The worker checks the hooks of Platform Team now"]
    assert "The worker reads them now" in section(admin, read)
    watch(Integration.objects.get().hook_watch)
    page = section(admin, read)
    assert "All work" in page
    assert "Managed by Stackhook" in page
    assert page.count("There was none") == 4
    assert {hook.publisher_inputs["projectId"] for hook in organization.subscriptions} == {
        project.id
    }


@pytest.mark.on_postgresql
def test_create_hooks_of_all_projects(
    admin: Client, integration: Integration, organization: Organization
) -> None:
    organization.add_project("Other").add_repository("other", {"a": "1"})
    admin.post(f"{integration.get_absolute_url()}test/")  # lists the new repository
    messages = post(admin, integration, "keep", project="all")
    assert messages[-1] == "The worker checks the hooks of 2 projects now"
    watch(Integration.objects.get().hook_watch)
    assert len(organization.subscriptions) == 8


@pytest.mark.parametrize("deed", ["keep", "leave"])
def test_a_project_that_is_not_there(admin: Client, read: Integration, deed: str) -> None:
    for key in ("no-such", "", "nul\0"):
        assert post(admin, read, deed, project=key) == ["That project no longer exists"]


def test_leave_alone(
    admin: Client, read: Integration, project: Project, organization: Organization
) -> None:
    post(admin, read, "keep", project=project.id)
    watch(Integration.objects.get().hook_watch)
    messages = post(admin, read, "leave", project=project.id)
    assert messages == ["The hooks of Platform Team stay as they are and are not repaired any more"]
    organization.unsubscribe(organization.subscriptions[0])
    watch(Integration.objects.get().hook_watch)
    assert len(organization.subscriptions) == 3
    page = section(admin, read)
    assert "3 of 4 work" in page
    assert "It is missing" in page


def test_each_state_is_said_in_words(
    admin: Client, read: Integration, project: Project, organization: Organization
) -> None:
    url = Integration.objects.get().endpoint_url
    add = organization.add_subscription
    add(project, "git.push", url, "x").set_status("onProbation")
    add(project, "git.pullrequest.created", url, "x", resourceDetailsToSend="none")
    owner = add(project, "git.pullrequest.updated", url, "x")
    owner.set_status("disabledByInactiveIdentity")
    filters = {"branch": "main"}
    add(project, "git.pullrequest.merged", url, "x", publisher_inputs=filters)
    watch(Integration.objects.get().hook_watch)
    page = section(admin, read)
    assert "It is on probation: its events are dropped" in page
    assert "It sends reduced details" in page
    assert "Its owner is Ann Admin" in page
    assert "It leaves events out: it is limited by branch" in page
    assert "0 of 4 work" in page
    assert "Not managed: what breaks is only shown" in page


@pytest.mark.on_postgresql
def test_a_hook_is_tested_from_its_project(
    admin: Client, read: Integration, project: Project, organization: Organization
) -> None:
    organization.add_subscription(project, "git.push", read.endpoint_url, "x")
    watch(Integration.objects.get().hook_watch)
    hook = read.subscriptions.get()
    response = admin.post(f"{read.get_absolute_url()}hooks/test/", {"hook": hook.pk}, follow=True)
    assert "Test of a service hook" in response.content.decode()
    assert post(admin, read, "test", hook="999") == ["That hook no longer exists"]


def test_without_a_worker_the_page_asks_again_and_again(admin: Client, read: Integration) -> None:
    assert 'hx-trigger="every 2s"' not in section(admin, read)
    post(admin, read, "read")
    assert 'hx-trigger="every 2s"' in section(admin, read)
    part = admin.get(f"{read.get_absolute_url()}hooks/", headers={"HX-Request": "true"})
    assert "<html" not in part.content.decode()
    assert 'id="hooks"' in part.content.decode()


def test_unlinking_removes_verifies_and_lists_what_is_left(
    admin: Client, read: Integration, project: Project, organization: Organization
) -> None:
    post(admin, read, "keep", project=project.id)
    watch(Integration.objects.get().hook_watch)
    organization.deny("Ann Admin", "delete_subscriptions")
    response = admin.post(f"{read.get_absolute_url()}unlink/", follow=True)
    page = response.content.decode()
    assert response.redirect_chain[-1][0].endswith("/left-over-hooks/")
    for event in ("Code pushed", "Pull request created", "Pull request updated"):
        assert event in page
    assert "_settings/serviceHooks" in page


@pytest.mark.on_postgresql
def test_a_hook_that_says_it_is_removed_and_is_not_is_a_left_over(
    read: Integration, project: Project, organization: Organization
) -> None:
    organization.add_subscription(project, "git.push", read.endpoint_url, "x")
    organization.unsubscribe = lambda subscription: None  # type: ignore[method-assign]
    left_over, failure = unlink(Integration.objects.get())
    assert failure is None
    assert [hook.event_type for hook in left_over] == ["git.push"]


def test_linking_again_recreates_the_hooks(
    admin: Client, read: Integration, project: Project, organization: Organization, token: str
) -> None:
    post(admin, read, "keep", project=project.id)
    watch(Integration.objects.get().hook_watch)
    unlink(Integration.objects.get())
    assert organization.subscriptions == []
    form = {"organization_url": organization.url, "token": token}
    admin.post("/settings/vcs-providers/azure-devops/set-up/", form)
    again = Integration.objects.get()
    assert again.is_linked
    watch(again.hook_watch)
    assert len(organization.subscriptions) == 4
    assert (
        "Create these service hooks again"
        not in admin.get(again.get_absolute_url()).content.decode()
    )


def test_all_projects_leaves_out_what_is_left_alone(
    admin: Client, integration: Integration, organization: Organization, project: Project
) -> None:
    organization.add_project("Other").add_repository("other", {"a": "1"})
    admin.post(f"{integration.get_absolute_url()}test/")
    post(admin, integration, "leave", project=project.id)
    messages = post(admin, integration, "keep", project="all")
    assert messages == ["The worker checks the hooks of Other now"]


def test_a_double_has_no_section_of_its_own(admin: Client, read: Integration) -> None:
    double = store_integration("double", duplicate_of=read)
    assert 'id="hooks"' not in admin.get(double.get_absolute_url()).content.decode()
    assert admin.get(f"{double.get_absolute_url()}hooks/").status_code == 404


def test_a_sample_that_a_disabled_hook_sent_does_not_say_that_it_works(
    admin: Client, site: str, read: Integration, project: Project, organization: Organization
) -> None:
    hook = organization.add_subscription(
        project, "git.push", read.endpoint_url, read.read_webhook_secret().value
    )
    hook.set_status("disabledByUser")
    watch(Integration.objects.get().hook_watch)
    test = HookTest.objects.create(
        integration=read,
        external_id=hook.id,
        event_type="git.push",
        project_name="Platform Team",
        verdict=Verdict.WORKS,
    )
    page = admin.get(test.get_absolute_url()).content.decode()
    assert "The way is clear, but the hook does not deliver." in page
    assert "The hook works." not in page


def test_the_card_leads_to_create_hooks_while_there_are_none(
    admin: Client, member: Client, integration: Integration
) -> None:
    """Whoever has just linked an organization sees what comes next."""
    button = f'href="{integration.get_absolute_url()}#hooks">Create hooks</a>'
    assert button in admin.get("/settings/vcs-providers/").content.decode()
    assert "Create hooks" not in member.get("/settings/vcs-providers/").content.decode()
    integration.projects.update(is_left_alone=True)
    assert button not in admin.get("/settings/vcs-providers/").content.decode()
    integration.projects.update(is_left_alone=False)
    post(admin, integration, "keep", project="all")
    watch(Integration.objects.get().hook_watch)
    assert button not in admin.get("/settings/vcs-providers/").content.decode()
