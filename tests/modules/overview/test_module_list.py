"""The list of modules: its search, what it shows of versions, and what it costs."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from modules.models import VersionState
from tests.builders import make_module, make_repository, make_version
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Integration, Repository

MODULES = "/modules/"


@pytest.fixture
def repository(linked: Integration) -> Repository:
    return make_repository(linked)


def rows_of(response: Any) -> dict[str, str]:
    """Return what each row says, by the address of its module."""
    assert response.status_code == 200
    page = response.content.decode().replace("\xa0", " ")
    rows = re.findall(r"<tr>.*?</tr>", page, re.DOTALL)
    texts = [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in rows if "<td" in row]
    return {text.split()[0]: text.partition(" ")[2] for text in texts}


def test_each_module_shows_its_newest_release_and_how_many_versions_it_has(
    member: Client, repository: Repository
) -> None:
    network = make_module(repository, "network", folder="modules/network")
    for number in ("0.9.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "1.11.0+linux-amd64"):
        make_version(network, number)
    make_version(network, "3.0.0", yanked_at=timezone.now())
    make_version(network, "4.0.0", state=VersionState.WAITING)
    make_version(network, "5.0.0", state=VersionState.REFUSED)
    make_version(make_module(repository, "dns"), "1.0.0-beta.2")
    make_module(repository, "vpc", system="aws")
    rows = rows_of(member.get(MODULES))
    assert list(rows) == [
        "fabrikam/dns/azurerm",
        "fabrikam/network/azurerm",
        "fabrikam/vpc/aws",
    ]
    assert "Web/tools modules/network" in rows["fabrikam/network/azurerm"]
    assert "modules/network 1.11.0+linux-amd64 " in rows["fabrikam/network/azurerm"]
    assert "1 being checked 6 versions" in rows["fabrikam/network/azurerm"]
    assert "1.0.0-beta.2" in rows["fabrikam/dns/azurerm"]
    assert "none yet" in rows["fabrikam/vpc/aws"]


def test_the_search_finds_words_of_addresses_and_repositories(
    member: Client, repository: Repository
) -> None:
    make_module(repository, "network")
    make_module(repository, "dns", system="aws")
    assert list(rows_of(member.get(MODULES, {"q": "NETWORK azure"}))) == [
        "fabrikam/network/azurerm"
    ]
    assert len(rows_of(member.get(MODULES, {"q": "web/tools"}))) == 2
    nothing = member.get(MODULES, {"q": "kafka"}).content.decode()
    assert "No module matches “kafka”." in nothing
    assert "<html" not in member.get(MODULES, headers={"HX-Request": "true"}).content.decode()


def test_an_empty_list_says_what_a_module_is(member: Client, db: None) -> None:
    page = member.get(MODULES).content.decode()
    assert "No modules yet" in page
    assert 'href="/modules/new/"' in page
    assert re.search(r'<a href="/modules/" aria-current="true"><svg.*?</svg>Modules</a>', page)


def test_the_list_says_why_a_module_gets_no_new_versions(
    member: Client, repository: Repository
) -> None:
    make_module(repository, "network")
    Repository.objects.update(is_disabled=True)
    assert "Repository disabled" in member.get(MODULES).content.decode()
    Repository.objects.update(gone_at=timezone.now())
    assert "Repository gone" in member.get(MODULES).content.decode()
    unlink(repository.integration)
    assert "Detached" in member.get(MODULES).content.decode()


def test_the_list_takes_the_same_queries_however_long_it_is(
    member: Client, repository: Repository
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert member.get(MODULES).status_code == 200
        return len(asked)

    make_version(make_module(repository, "first"), "1.0.0")
    member.get(MODULES)
    few = queries()
    for number in range(60):
        module = make_module(repository, f"module-{number}")
        make_version(module, "1.0.0")
        make_version(module, "1.1.0")
    assert queries() == few
    assert "Page 1 of 3" in member.get(MODULES).content.decode()
