"""The pages of a module: documentation, versions, a version, activity."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from modules.impact.uses import registry_address
from modules.models import Check, CheckState, Module, ModuleDecision, ModuleVersion, VersionState
from stacks.models import RegistrySource
from stacks.rules.states import State
from tests.builders import make_module, make_run, make_stack, make_version
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Delivery, Integration, Project

PAGE = "/modules/fabrikam/network/azurerm/"
DOCUMENTATION = {
    "inputs": [
        {"name": "region", "type": "string", "description": "Where", "default": None},
        {"name": "size", "type": "number", "description": "", "default": "3"},
        {
            "name": "password",
            "type": "string",
            "description": "<b>Key</b>",
            "default": "",
            "is_sensitive": True,
        },
    ],
    "outputs": [{"name": "id", "description": "Its id", "is_sensitive": False}],
    "providers": [{"name": "azurerm", "source": "hashicorp/azurerm", "version": "~> 4.0"}],
    "required_version": ">= 1.5",
    "problems": ["odd.tf could not be read: Unexpected token"],
    "submodules": {
        "peering": {
            "inputs": [{"name": "peer", "type": "string", "description": "", "default": None}],
            "outputs": [],
            "providers": [],
            "required_version": "",
            "problems": [],
        }
    },
}


@pytest.fixture
def module(linked: Integration) -> Module:
    return make_module(linked, "network")


def words(response: Any) -> str:
    assert response.status_code == 200
    page = response.content.decode().replace("\xa0", " ")
    return " ".join(re.sub(r"<[^>]+>", " ", page).split()).replace("&quot;", '"')


# Documentation


def test_the_page_documents_the_newest_version(member: Client, module: Module) -> None:
    make_version(module, "1.2.3", readme="<h3>Net</h3><p>Old</p>")
    make_version(module, "1.10.1", readme="<h3>Net</h3>", documentation=DOCUMENTATION)
    make_version(module, "2.0.0-rc.1", readme="<p>Not yet</p>")
    response = member.get(PAGE)
    page = words(response)
    assert "Newest 1.10.1" in page
    assert "<h3>Net</h3>" in response.content.decode()
    assert "Old" not in page
    assert "Not yet" not in page
    assert "region string Where Required" in page
    assert "size number – 3" in page
    assert 'password Sensitive string &lt;b&gt;Key&lt;/b&gt; ""' in page
    assert "id Its id" in page
    assert "Terraform or OpenTofu – &gt;= 1.5" in page
    assert "azurerm hashicorp/azurerm ~&gt; 4.0" in page
    assert "odd.tf could not be read" in page
    assert "peering 1 input, 0 outputs" in page
    assert "stackhook.example.com/fabrikam/network/azurerm//modules/peering" in page


def test_a_readme_is_sanitized_whatever_is_stored(member: Client, module: Module) -> None:
    evil = (
        "<script>alert(1)</script><img src=x onerror=alert(1)><iframe src='//evil'></iframe>"
        '<a href="javascript:alert(1)">a</a><p style="position:fixed" onclick="x()">b</p>'
        "<form action='/sign-out/'><input></form><h1>c</h1><svg onload=alert(1)>"
    )
    documentation = {"inputs": [{"name": "</pre><script>", "type": "<script>", "default": "<i>"}]}
    version = make_version(module, "1.0.0", readme=evil, documentation=documentation)
    version.changelog = "<script>alert(2)</script>"
    version.save()
    for path in (PAGE, f"{PAGE}versions/", f"{PAGE}versions/1.0.0/"):
        page = member.get(path).content.decode()
        main = page[page.index("<main") : page.index("</main>")]
        for bad in (
            "<script",
            "<img",
            "<iframe",
            "javascript:",
            "style=",
            "onclick",
            "onload",
            "<i>",
        ):
            assert bad not in main, (path, bad)
        assert "evil" not in main


@pytest.mark.parametrize(
    ("number", "constraint"),
    [("1.10.1", "~> 1.10"), ("0.3.0", "~> 0.3"), ("2.0.0-rc.1", "2.0.0-rc.1")],
)
def test_a_block_is_ready_to_copy(
    member: Client, module: Module, number: str, constraint: str
) -> None:
    make_version(module, number)
    block = (
        'module "network" {\n'
        '  source  = "stackhook.example.com/fabrikam/network/azurerm"\n'
        f'  version = "{constraint}"\n'
        "}"
    )
    response = member.get(PAGE)
    assert response.context["usage"].block == block
    assert block.replace('"', "&quot;").replace(">", "&gt;") in response.content.decode()


def test_the_label_of_the_block_is_one_that_terraform_takes(
    member: Client, linked: Integration
) -> None:
    make_module(linked, "3tier")
    response = member.get("/modules/fabrikam/3tier/azurerm/")
    assert response.context["usage"].block.startswith('module "_3tier" {')


def test_the_page_says_what_to_do_without_https(
    member: Client, module: Module, settings: Settings
) -> None:
    assert "Code can't use this module yet" not in words(member.get(PAGE))
    settings.PUBLIC_URL = "http://stackhook.example.com:8000"
    page = words(member.get(PAGE))
    assert "Code can't use this module yet" in page
    assert "over https" in page
    assert "PUBLIC_URL" in page


def test_a_module_without_versions_says_how_the_first_one_is_published(
    member: Client, module: Module
) -> None:
    assert "Push a tag like v1.0.0" in words(member.get(PAGE))
    Module.objects.update(tag_prefix="network")
    assert "Push a tag like network/v1.0.0" in words(member.get(PAGE))
    Module.objects.update(versions_from="file")
    assert "Commit .stackhook/module.yml" in words(member.get(PAGE))
    assert "No version yet" in words(member.get(f"{PAGE}versions/"))


def test_a_module_without_versions_says_that_no_webhook_will_report_its_tags(
    admin: Client, member: Client, module: Module
) -> None:
    Integration.objects.update(hooks_read_at=timezone.now())
    repository = module.repository
    project, _ = Project.objects.get_or_create(
        integration=repository.integration,
        external_id=repository.project_id,
        defaults={"name": repository.project_name},
    )
    assert "No webhook reports pushes yet." in words(member.get(PAGE))
    page = admin.get(PAGE).content.decode()
    assert f'name="project" value="{project.external_id}">Create hooks</button>' in page
    make_version(module, "1.0.0")
    assert "No webhook reports pushes yet." not in words(member.get(PAGE))


def test_a_detached_module_says_so_on_each_of_its_pages(member: Client, module: Module) -> None:
    make_version(module, "1.0.0")
    unlink(module.integration)
    for path in ("", "versions/", "activity/", "versions/1.0.0/"):
        page = words(member.get(f"{PAGE}{path}"))
        assert "This module is detached." in page
        assert "published ones are still served" in page


def test_the_page_says_how_many_stacks_use_it_and_are_behind(
    member: Client, module: Module
) -> None:
    assert "Used by no stack yet" in words(member.get(PAGE))
    make_version(module, "1.1.0")
    for name, number in (("A", "1.0.0"), ("B", "1.1.0")):
        run = make_run(make_stack(module.integration, name), 1, state=State.FINISHED)
        RegistrySource.objects.create(run=run, address=registry_address(module), version=number)
    assert "Used by 2 stacks 1 behind" in words(member.get(PAGE))


# Versions


def test_the_versions_say_what_became_of_each(member: Client, module: Module) -> None:
    make_version(
        module,
        "1.0.0",
        sha="a" * 40,
        title="Add a subnet",
        author="Ann",
        changelog="First one",
        downloads=7,
        moved_to="b" * 40,
        tag_gone_at=timezone.now(),
    )
    make_version(
        module,
        "1.1.0",
        yanked_at=timezone.now(),
        yanked_by_name="alice",
        yanked_because="It leaks",
    )
    make_version(module, "1.2.0", state=VersionState.REFUSED, sha="c" * 40)
    failure = "It does not validate: Unsupported argument"
    Check.objects.create(module=module, sha="c" * 40, state=CheckState.FAILED, failure=failure)
    make_version(module, "1.3.0", state=VersionState.WAITING)
    response = member.get(f"{PAGE}versions/")
    page = words(response)
    assert re.search(r"1\.3\.0 Being checked .* 1\.2\.0 Not published .* 1\.1\.0 Yanked", page)
    assert "aaaaaaaa Add a subnet by Ann" in page
    assert "First one" in page
    assert "Tag moved to bbbbbbbb" in page
    assert "Tag deleted" in page
    assert failure in page
    assert "Yanked by alice: It leaks" in page
    assert "1.0.0 Newest Published" in page
    assert ModuleVersion.objects.get(number="1.0.0").archive.digest[:12] in page  # type: ignore[union-attr]
    assert f"/_git/tools/commit/{'a' * 40}" in response.content.decode()


def test_the_page_polls_while_a_version_is_checked(member: Client, module: Module) -> None:
    version = make_version(module, "1.0.0", state=VersionState.WAITING)
    response = member.get(f"{PAGE}versions/")
    shown = response.context["live_version"]
    assert f"version={shown}" in response.content.decode()
    polled = {"HX-Request": "true"}
    again = f"{PAGE}versions/?page=1&version={shown}"
    assert member.get(again, headers=polled).status_code in {200, 204}
    version.delete()
    make_version(module, "1.0.0")
    part = member.get(again, headers=polled)
    assert part.status_code == 200
    assert "hx-get" not in part.content.decode()
    assert "<html" not in part.content.decode()


# A version


def test_a_version_has_its_check_its_log_and_its_decisions(
    member: Client, admin: Client, module: Module
) -> None:
    version = make_version(module, "1.0.0", readme="<p>Of 1.0.0</p>", documentation=DOCUMENTATION)
    make_version(module, "1.1.0", readme="<p>Of 1.1.0</p>")
    results = [
        {"name": "terraform init", "outcome": "passed", "sentence": "Terraform 1.11.4"},
        {"name": "terraform test", "outcome": "skipped", "sentence": "It has no tests."},
    ]
    check = Check.objects.create(
        module=module,
        sha=version.sha,
        state=CheckState.PASSED,
        results=results,
        log="Initializing <modules>…",
        ended_at=timezone.now(),
    )
    ModuleDecision.objects.create(
        module=module, subject="Tag v1.0.0", rule="tag", sentence="It names 1.0.0.", version=version
    )
    page = words(member.get(f"{PAGE}versions/1.0.0/"))
    assert "terraform init Passed Terraform 1.11.4" in page
    assert "terraform test Skipped It has no tests." in page
    assert "Initializing &lt;modules&gt;…" in page
    assert "Of 1.0.0" in page
    assert "Of 1.1.0" not in page
    assert "Tag v1.0.0 found by reconciliation It names 1.0.0. 1.0.0" in page
    assert 'version = "1.0.0"' in page
    assert version.archive
    assert version.archive.digest in page
    check.delete()
    assert "terraform init" not in words(member.get(f"{PAGE}versions/1.0.0/"))


def test_a_version_that_was_refused_says_why_and_offers_no_block(
    member: Client, module: Module
) -> None:
    version = make_version(module, "1.0.0", state=VersionState.REFUSED)
    Check.objects.create(
        module=module, sha=version.sha, state=CheckState.FAILED, failure="Its tests fail."
    )
    page = words(member.get(f"{PAGE}versions/1.0.0/"))
    assert "Not published. Its tests fail." in page
    assert "Use it" not in page


def test_a_moved_and_a_deleted_tag_are_explained(
    member: Client, admin: Client, module: Module
) -> None:
    gone = timezone.now() - timedelta(hours=3)
    make_version(module, "1.0.0", sha="a" * 40, moved_to="b" * 40, tag_gone_at=gone)
    page = words(member.get(f"{PAGE}versions/1.0.0/"))
    assert "The tag was moved. v1.0.0 is at bbbbbbbb" in page
    assert "the code of aaaaaaaa is still served" in page
    assert "The tag was deleted. The version is still served" in page
    assert "v1.0.0 deleted 3 h ago" in page
    assert "an admin can yank it" in page
    assert "yank it to take it back" in words(admin.get(f"{PAGE}versions/1.0.0/"))


@pytest.mark.parametrize(
    "number", ["1.0.1", "v1.0.0", "1", "x", "1.0.0 ", "01.0.0", "%00", "9" * 300]
)
def test_a_version_that_is_not_there_is_not_found(
    member: Client, module: Module, number: str
) -> None:
    make_version(module, "1.0.0")
    assert member.get(f"{PAGE}versions/{number}/").status_code == 404


def test_a_version_with_build_metadata_has_a_page(member: Client, module: Module) -> None:
    version = make_version(module, "1.0.0-rc.1+build.5")
    assert words(member.get(version.get_absolute_url())).count("1.0.0-rc.1+build.5") >= 2


# Activity


def test_activity_lists_each_decision_with_its_reason(
    member: Client, admin: Client, module: Module
) -> None:
    before = member.get(f"{PAGE}activity/")
    assert "Nothing happened yet" in words(before)
    delivery = Delivery.objects.create(
        integration=module.integration, outcome="no_run", event_type="git.push", body=b"{}"
    )
    version = make_version(module, "1.0.0")
    for number, (text, made) in enumerate((("No version.", None), ("A version.", version))):
        ModuleDecision.objects.create(
            module=module,
            delivery=delivery if number else None,
            subject=f"Tag {number}",
            rule="tag",
            sentence=text,
            version=made,
        )
    shown = before.context["live_version"]
    part = member.get(f"{PAGE}activity/?version={shown}", headers={"HX-Request": "true"})
    page = words(part)
    assert re.search(r"Tag 1 Code pushed A version\. 1\.0\.0", page)
    assert re.search(r"Tag 0 found by reconciliation No version\. none", page)
    assert delivery.get_absolute_url() in admin.get(f"{PAGE}activity/").content.decode()
    assert delivery.get_absolute_url() not in member.get(f"{PAGE}activity/").content.decode()
