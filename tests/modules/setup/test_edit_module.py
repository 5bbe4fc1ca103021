"""Changing and deleting a module, yanking and restoring its versions."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.audit.records import Verb, entries
from modules.deciding.moved_tags import notify_of_move
from modules.models import Archive, Module, ModuleVersion, VersionState
from stacks.models import RegistrySource
from stacks.rules.states import State
from tests.builders import make_module, make_run, make_stack, make_version
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project
from tests.stacks.conftest import errors
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Integration, Notice

ADDRESS = "fabrikam/network/azurerm"
PAGE = f"/modules/{ADDRESS}/"
TAGS = {"branch": "main", "folder": "", "versions_from": "tags", "tag_prefix": ""}


@pytest.fixture
def module(linked: Integration) -> Module:
    now = timezone.now()
    return make_module(linked, "network", due_at=None, imported_at=now)


@pytest.fixture
def version(module: Module) -> ModuleVersion:
    return make_version(module, "1.0.0")


@pytest.fixture
def real(organization: Organization, project: Project, integration: Integration) -> Module:
    """A module of a repository that can be read."""
    files = {"modules/network/main.tf": "", "modules/dns/main.tf": ""}
    repository = project.add_repository("modules", files)
    repository.push({"modules/vpc/main.tf": ""}, branch="next")
    stored = integration.repositories.filter(name="modules").first()
    if stored is None:
        from vcs_integrations.organizations.refreshing import refresh
        from vcs_integrations.providers.base import INTERACTIVE

        refresh(integration, INTERACTIVE)
        stored = integration.repositories.get(name="modules")
    read = {"imported_at": timezone.now(), "pull_requests_read_at": timezone.now()}
    return make_module(stored, "network", folder="modules/network", **read)


# Edit


def test_the_page_says_that_the_address_stays(member: Client, module: Module) -> None:
    page = member.get(f"{PAGE}edit/").content.decode()
    assert f"Its address <strong>{ADDRESS}</strong> and its repository never change" in page


def test_a_change_has_tags_read_again(member: Client, module: Module) -> None:
    changed = member.post(f"{PAGE}edit/", TAGS | {"tag_prefix": "net/", "applies_tests": "on"})
    assert changed["Location"] == PAGE
    module.refresh_from_db()
    assert (module.tag_prefix, module.applies_tests) == ("net", True)
    assert module.due_at
    assert module.imported_at is None


def test_what_decides_about_no_tag_imports_nothing_again(member: Client, module: Module) -> None:
    member.post(f"{PAGE}edit/", TAGS | {"applies_tests": "on"})
    module.refresh_from_db()
    assert module.applies_tests
    assert module.imported_at


def test_branch_and_folder_change_to_what_is_there(member: Client, real: Module) -> None:
    sent = TAGS | {"branch": "next", "folder": "modules/vpc"}
    assert member.post(f"{PAGE}edit/", sent).status_code == 302
    real.refresh_from_db()
    assert (real.branch, real.folder) == ("next", "modules/vpc")
    assert real.pull_requests_read_at is None  # they are decided again, and no tag is
    assert real.imported_at
    wrong = member.post(f"{PAGE}edit/", TAGS | {"branch": "main", "folder": "modules/vpc"})
    assert "Is it one of “modules/dns”, “modules/network”?" in errors(wrong, "folder")
    wrong = member.post(f"{PAGE}edit/", TAGS | {"branch": "none", "folder": "modules/vpc"})
    assert "has no branch “none”" in errors(wrong, "branch")
    real.refresh_from_db()
    assert (real.branch, real.folder) == ("next", "modules/vpc")


def test_another_folder_has_its_version_file_read(member: Client, real: Module) -> None:
    member.post(f"{PAGE}edit/", TAGS | {"versions_from": "file"})
    Module.objects.update(imported_at=timezone.now())
    sent = {"versions_from": "file", "branch": "next", "folder": "modules/vpc"}
    assert member.post(f"{PAGE}edit/", sent).status_code == 302
    real.refresh_from_db()
    assert (real.imported_at, real.pull_requests_read_at) == (None, None)


def test_nothing_is_asked_of_the_provider_while_branch_and_folder_stay(
    member: Client, real: Module, emulator: Emulator
) -> None:
    before = len(emulator.requests)
    sent = TAGS | {"folder": "modules/network", "applies_tests": "on"}
    assert member.post(f"{PAGE}edit/", sent).status_code == 302
    assert len(emulator.requests) == before


def test_a_detached_module_keeps_its_source(member: Client, module: Module) -> None:
    unlink(module.integration)
    refused = member.post(f"{PAGE}edit/", TAGS | {"branch": "next"})
    assert "Link its organization again" in refused.content.decode()
    assert member.post(f"{PAGE}edit/", TAGS | {"applies_tests": "on"}).status_code == 302


def test_name_namespace_system_and_repository_cannot_be_sent(
    member: Client, module: Module
) -> None:
    member.post(
        f"{PAGE}edit/",
        TAGS | {"name": "x", "namespace": "x", "system": "x", "repository": "x", "provider": "7"},
    )
    module.refresh_from_db()
    assert module.address == ADDRESS
    assert str(module.repository) == "Web/tools"


# Delete


def test_an_admin_deletes_a_module_that_nobody_uses(admin: Client, version: ModuleVersion) -> None:
    other = make_version(make_module(version.module.repository, "dns"), "1.0.0")
    assert other.archive == version.archive
    make_version(version.module, "1.1.0")
    assert "2 published versions" in admin.get(f"{PAGE}delete/").content.decode()
    assert admin.post(f"{PAGE}delete/")["Location"] == "/modules/"
    assert not Module.objects.filter(name="network").exists()
    assert list(Archive.objects.all()) == [other.archive]
    assert entries().get(verb=Verb.MODULE_DELETED).thing == ADDRESS


@pytest.mark.parametrize("how", ["registry", "git"])
def test_a_module_that_stacks_use_is_deleted_only_with_its_address_typed(
    admin: Client, module: Module, how: str
) -> None:
    run = make_run(make_stack(module.integration, "Network"), 1, state=State.FINISHED)
    if how == "registry":
        RegistrySource.objects.create(
            run=run, address=f"stackhook.example.com/{ADDRESS}", version="1.0.0"
        )
    else:
        run.module_sources.create(repository=module.repository, ref="v1.0.0", sha="a" * 40)
    page = admin.get(f"{PAGE}delete/").content.decode()
    assert "1 stack uses it" in page
    assert "/stacks/network/" in page
    for typed in ({}, {"address": ""}, {"address": "network"}):
        refused = admin.post(f"{PAGE}delete/", typed)
        assert f"Type {ADDRESS} to delete it anyway." in errors(refused, "address")
        assert Module.objects.exists()
    assert admin.post(f"{PAGE}delete/", {"address": f" {ADDRESS} "}).status_code == 302
    assert not Module.objects.exists()
    assert entries().get(verb=Verb.MODULE_DELETED).note == "Used by 1 stack"


# Yank and restore


def test_an_admin_yanks_a_version_with_a_reason(admin: Client, version: ModuleVersion) -> None:
    path = f"{PAGE}versions/1.0.0/"
    page = admin.get(f"{path}yank/").content.decode()
    assert "Nobody else finds it from now on" in page
    assert "only for the stacks and people that loaded it before" in page
    refused = admin.post(f"{path}yank/", {"reason": "  "})
    assert errors(refused, "reason") == "Say why, for those who use this version."
    assert admin.post(f"{path}yank/", {"reason": "It leaks"})["Location"] == path
    version.refresh_from_db()
    assert (version.yanked_by_name, version.yanked_because) == ("alice", "It leaks")
    assert version.is_yanked
    assert not ModuleVersion.objects.listed().exists()
    assert ModuleVersion.objects.published().exists()
    page = admin.get(path).content.decode()
    assert "It leaks" in page
    assert f'href="{path}restore/"' in page


def test_a_moved_tag_needs_no_attention_once_its_version_is_yanked(
    admin: Client, version: ModuleVersion
) -> None:
    version.moved_to = "b" * 40
    version.save()
    notify_of_move(version)
    path = f"{PAGE}versions/1.0.0/"
    admin.post(f"{path}yank/", {"reason": "It leaks"})
    assert not Notice.objects.unfixed().exists()
    admin.post(f"{path}restore/")
    assert Notice.objects.unfixed().get().kind == "tag_moved"
    admin.post(f"{PAGE}delete/")
    assert not Module.objects.exists()
    assert not Notice.objects.unfixed().exists()


def test_yanking_twice_keeps_the_first_reason(admin: Client, version: ModuleVersion) -> None:
    path = f"{PAGE}versions/1.0.0/yank/"
    admin.post(path, {"reason": "First"})
    assert admin.post(path, {"reason": "Second"}).status_code == 302
    version.refresh_from_db()
    assert version.yanked_because == "First"
    assert entries().filter(verb=Verb.VERSION_YANKED).count() == 1


def test_a_yanked_version_is_restored(admin: Client, version: ModuleVersion) -> None:
    path = f"{PAGE}versions/1.0.0/"
    admin.post(f"{path}yank/", {"reason": "It leaks"})
    assert "It leaks" in admin.get(f"{path}restore/").content.decode()
    admin.post(f"{path}restore/")
    version.refresh_from_db()
    assert (version.yanked_at, version.yanked_by_name, version.yanked_because) == (None, "", "")
    assert list(ModuleVersion.objects.listed()) == [version]
    admin.post(f"{path}restore/")
    assert entries().filter(verb=Verb.VERSION_RESTORED).count() == 1


def test_a_version_that_is_not_published_can_not_be_yanked(admin: Client, module: Module) -> None:
    version = make_version(module, "1.0.0", state=VersionState.REFUSED)
    admin.post(f"{PAGE}versions/1.0.0/yank/", {"reason": "x"})
    version.refresh_from_db()
    assert not version.is_yanked


def test_a_member_is_offered_neither_delete_nor_yank(
    member: Client, version: ModuleVersion
) -> None:
    pages: list[Any] = [member.get(PAGE), member.get(f"{PAGE}versions/1.0.0/")]
    assert all("/delete/" not in one.content.decode() for one in pages)
    assert all("/yank/" not in one.content.decode() for one in pages)
