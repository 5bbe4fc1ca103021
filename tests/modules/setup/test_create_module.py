"""Creating a module step by step."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from modules.models import Module, VersionsFrom
from tests.builders import make_module
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project
from tests.stacks.conftest import errors, source, step, values
from vcs_integrations.models import Integration

NEW = "/modules/new/"
NETWORK = "Platform Team/terraform-azurerm-network"


@pytest.fixture
def world(organization: Organization, project: Project, integration: Integration) -> Integration:
    """A linked organization with a repository for one module, and one for several."""
    project.add_repository("terraform-azurerm-network", {"main.tf": ""})
    files = {"modules/dns/main.tf": "", "modules/vpc/main.tf": "", "docs/a.md": ""}
    project.add_repository("modules", files)
    return integration


def typed(world: Integration, **changes: str) -> dict[str, str]:
    """Return what is typed in all steps, as the last one sends it."""
    named = {"name": "network", "system": "azurerm", "namespace": "stackhook"}
    return source(world, repository=NETWORK, step="3") | named | {"versions_from": "tags"} | changes


def test_the_form_leads_through_all_steps_to_the_module(member: Client, world: Integration) -> None:
    before = timezone.now()
    first = member.get(NEW)
    assert step(first) == "Integrate VCS"
    second = member.post(NEW, source(world, repository=NETWORK, branch=""))
    assert step(second) == "Name module"
    assert values(second)["name"] == "network"
    assert values(second)["system"] == "azurerm"
    page = second.content.decode()
    assert f"From <strong>{NETWORK}</strong>, branch <strong>main</strong>" in page
    assert "stackhook (this installation)" in page
    assert "platform-team (the project Platform Team)" in page
    third = member.post(NEW, values(second) | {"step": "2", "namespace": "platform-team"})
    assert step(third) == "Publish versions"
    assert "as <strong>platform-team/network/azurerm</strong>" in third.content.decode()
    created = member.post(NEW, values(third) | {"step": "3", "applies_tests": "on"}, follow=True)
    assert created.redirect_chain == [("/modules/platform-team/network/azurerm/", 302)]
    module = Module.objects.get()
    assert module.address == "platform-team/network/azurerm"
    assert (str(module.repository), module.branch, module.folder) == (NETWORK, "main", "")
    assert (module.versions_from, module.tag_prefix) == (VersionsFrom.TAGS, "")
    assert module.applies_tests
    assert module.due_at
    assert before <= module.due_at <= timezone.now()
    assert module.repository.due_at, "the pushes of its repository are read from now on"
    assert "was created" in created.content.decode()


def test_a_folder_suggests_the_name_and_the_prefix_of_its_tags(
    member: Client, world: Integration
) -> None:
    many = source(world, repository="Platform Team/modules", folder="/modules//vpc/")
    second = member.post(NEW, many)
    assert step(second) == "Name module"
    assert values(second)["folder"] == "modules/vpc"
    assert (values(second)["name"], values(second)["system"]) == ("vpc", "")
    third = member.post(NEW, values(second) | {"step": "2", "system": "AWS"})
    assert values(third)["tag_prefix"] == "vpc"
    assert "folder <strong>modules/vpc</strong>, as <strong>stackhook/vpc/aws</strong>" in (
        third.content.decode()
    )
    member.post(NEW, values(third) | {"step": "3"})
    module = Module.objects.get()
    assert (module.address, module.folder, module.tag_prefix) == (
        "stackhook/vpc/aws",
        "modules/vpc",
        "vpc",
    )


def test_another_source_changes_what_was_suggested_and_not_what_was_typed(
    member: Client, world: Integration
) -> None:
    many = source(world, repository="Platform Team/modules", folder="modules/vpc")
    second = member.post(NEW, many)
    own = values(second) | {"system": "aws"}
    first = member.post(NEW, own | {"step": "2", "back": "1"})
    assert step(first) == "Integrate VCS"
    again = member.post(NEW, values(first) | {"step": "1", "folder": "modules/dns"})
    assert (values(again)["name"], values(again)["system"]) == ("dns", "aws")
    assert values(again)["tag_prefix"] == "dns"


def test_a_suggestion_that_was_cleared_does_not_come_back(
    member: Client, world: Integration
) -> None:
    many = source(world, repository="Platform Team/modules", folder="modules/vpc")
    second = member.post(NEW, many)
    third = member.post(NEW, values(second) | {"step": "2", "system": "aws"})
    back = member.post(NEW, values(third) | {"step": "3", "tag_prefix": "", "back": "1"})
    again = member.post(NEW, values(back) | {"step": "2"})
    assert step(again) == "Publish versions"
    assert values(again)["tag_prefix"] == ""


@pytest.mark.parametrize(
    ("field", "text", "what_to_do"),
    [
        ("folder", "modules", "terraform-azurerm-network"),
        ("folder", "../x", "Use a folder inside the repository"),
        ("name", "", "Give the module a name."),
        ("name", "net work", "letter or digit first and last"),
        ("name", "x" * 65, "64 are the most"),
        ("system", "azure-rm", "letters and digits"),
        ("system", "", "Enter the system"),
        ("namespace", "another", "Choose from the list"),
        ("versions_from", "", "Fill this in."),
        ("tag_prefix", "a b", "Git takes no such name"),
    ],
)
def test_what_is_wrong_is_named_in_its_step_and_nothing_is_lost(
    member: Client, world: Integration, field: str, text: str, what_to_do: str
) -> None:
    sent = typed(world, applies_tests="on") | {field: text}
    response = member.post(NEW, sent)
    assert field in response.context["form"].errors
    shown = values(response)
    assert {name: shown[name] for name in sent if name not in {"step", field}} == {
        name: value for name, value in sent.items() if name not in {"step", field}
    }
    if field != "folder":
        assert what_to_do in errors(response, field)
    assert not Module.objects.exists()


def test_a_folder_that_is_not_there_is_refused_with_those_that_are(
    member: Client, world: Integration
) -> None:
    many = source(world, repository="Platform Team/modules", folder="modules/vcp")
    response = member.post(NEW, many)
    assert errors(response, "folder") == (
        "main has no folder “modules/vcp”. Is it one of “modules/dns”, “modules/vpc”?"
    )


def test_a_folder_is_taken_as_typed_while_files_cant_be_read(
    member: Client, world: Integration, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules.setup import folders
    from vcs_integrations.providers.base import Problem, ProviderError

    def fail(*_: object) -> Any:
        raise ProviderError(Problem.UNAVAILABLE, "It is down.", "Try again later.")

    monkeypatch.setattr(folders, "files_of", fail)
    second = member.post(NEW, source(world, repository=NETWORK, folder="later"))
    assert step(second) == "Name module"


def test_an_address_is_taken_once_in_any_case(member: Client, world: Integration) -> None:
    make_module(world, "network", namespace="stackhook")
    response = member.post(NEW, typed(world, name="Network", system="AzureRM"))
    assert step(response) == "Name module"
    assert errors(response, "name") == ("Another module has this address. Choose a different name.")
    assert Module.objects.count() == 1
    member.post(NEW, typed(world, name="Network", system="aws"))
    assert Module.objects.filter(name="network", system="aws").exists()


def test_an_address_that_is_taken_at_the_same_moment_is_refused(
    member: Client, world: Integration, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules.setup.forms import PublishForm

    clean = PublishForm.clean

    def meanwhile(self: PublishForm) -> dict[str, Any]:
        make_module(world, "network", namespace="stackhook")
        return clean(self)

    monkeypatch.setattr(PublishForm, "clean", meanwhile)
    response = member.post(NEW, typed(world))
    assert step(response) == "Name module"
    assert "Another module has this address" in errors(response, "name")
    assert Module.objects.count() == 1


def test_versions_from_a_file_have_no_prefix(member: Client, world: Integration) -> None:
    member.post(NEW, typed(world, versions_from="file", tag_prefix="network"))
    module = Module.objects.get()
    assert (module.versions_from, module.tag_prefix) == ("file", "")


def test_the_operator_chooses_the_namespace(
    member: Client, world: Integration, settings: Settings
) -> None:
    settings.MODULE_NAMESPACE = "fabrikam"
    second = member.post(NEW, source(world, repository=NETWORK))
    assert "fabrikam (this installation)" in second.content.decode()
    assert "stackhook (" not in second.content.decode()


def test_without_an_organization_the_page_says_what_is_needed(member: Client, db: None) -> None:
    assert "No organization is linked" in member.get(NEW).content.decode()
    assert "No organization is linked" in member.post(NEW).content.decode()


def test_a_member_and_an_admin_may_create_a_module(
    world: Integration, admin: Client, member: Client
) -> None:
    member.post(NEW, typed(world))
    admin.post(NEW, typed(world, name="other"))
    assert Module.objects.count() == 2
