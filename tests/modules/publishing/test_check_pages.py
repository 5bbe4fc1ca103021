"""The page of a check, and Check again."""

import pytest
from django.test import Client

from modules.models import CheckState, Module, VersionState
from stacks.models import Report
from tests.builders import make_check, make_module, make_version
from vcs_integrations.models import Integration

SHA = f"{1:040x}"
FAILED = {
    "state": CheckState.FAILED,
    "failure": "Validation: Unsupported argument",
    "results": [{"name": "Validation", "outcome": "failed", "sentence": "Unsupported argument"}],
    "log": "Error: <b>Unsupported argument</b>",
}


@pytest.fixture
def module(linked: Integration) -> Module:
    return make_module(linked)


def test_a_page_says_what_was_found(member: Client, module: Module) -> None:
    make_version(module, state=VersionState.REFUSED)
    check = make_check(module, SHA, **FAILED)
    page = member.get(check.get_absolute_url()).content.decode()
    assert "Unsupported argument" in page
    assert "&lt;b&gt;Unsupported" in page
    assert "1.0.0" in page
    assert "stackhook/module-fabrikam.network.azurerm" in page


def test_a_version_that_was_refused_is_checked_again(member: Client, module: Module) -> None:
    version = make_version(module, state=VersionState.REFUSED)
    check = make_check(module, SHA, **FAILED)
    answer = member.post(f"{check.get_absolute_url()}again/", follow=True)
    assert "A run worker checks it again" in answer.content.decode()
    check.refresh_from_db()
    assert (check.state, check.failures) == (CheckState.QUEUED, 0)
    assert check.due_at
    version.refresh_from_db()
    assert version.state == VersionState.WAITING
    assert Report.objects.get().sha == SHA


@pytest.mark.parametrize("state", [CheckState.QUEUED, CheckState.RUNNING, CheckState.PASSED])
def test_nothing_else_is_checked_again(member: Client, module: Module, state: CheckState) -> None:
    published = make_version(module)
    check = make_check(module, SHA, state=state)
    answer = member.post(f"{check.get_absolute_url()}again/", follow=True)
    assert "has not failed" in answer.content.decode()
    check.refresh_from_db()
    assert (check.state, check.due_at) == (state, None)
    published.refresh_from_db()
    assert published.is_published


def test_an_address_of_no_check_is_not_found(member: Client, module: Module) -> None:
    make_check(module, SHA)
    assert member.get(f"/modules/other/network/azurerm/checks/{SHA}/").status_code == 404
    assert member.get("/modules/fabrikam/network/azurerm/checks/no/").status_code == 404
