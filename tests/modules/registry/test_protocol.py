"""The registry's answers, as its protocols say, and who gets which."""

import hashlib
import json
import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.signing import TimestampSigner
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts.audit.records import entries
from accounts.models import SecurityEvent, User
from accounts.throttling import FROM_ONE_ADDRESS
from accounts.tokens.records import create_token
from modules.models import Archive, Download, Module, ModuleVersion, VersionState
from modules.registry.links import link_to
from stacks.models import Reach, Run, Stack
from stacks.rules.states import Kind, State
from stacks.tfstate.credentials import issue_credential, registry_token_of
from tests.builders import (
    archive_of,
    make_archive,
    make_module,
    make_repository,
    make_run,
    make_stack,
    make_version,
    store_integration,
)
from tests.conftest import over_https
from vcs_integrations.models import Integration

BASE = "/registry/v1/modules/"
NETWORK = f"{BASE}fabrikam/network/azurerm/"


@pytest.fixture
def module(linked: Integration) -> Module:
    return make_module(linked)


@pytest.fixture
def token(bob: User) -> str:
    return create_token(bob, "Laptop", 30)[1]


def ask(path: str, token: str = "", agent: str = "", **headers: str) -> Any:
    if token:
        headers["Authorization"] = f"Bearer {token}"
    headers["User-Agent"] = agent or "HashiCorp Terraform/1.11.4 (+https://www.terraform.io)"
    return over_https().get(path, headers=headers)


def numbers(answer: Any) -> list[str]:
    assert answer.status_code == 200
    (module,) = answer.json()["modules"]
    return [version["version"] for version in module["versions"]]


def token_of(stack: Stack, **changes: Any) -> str:
    """Return the token of a new run of a stack, which is planning a pull request."""
    run = make_run(stack, **{"state": State.PLANNING, "kind": Kind.PROPOSED} | changes)
    return registry_token_of(run, issue_credential(run))


# Discovery and versions


@pytest.mark.parametrize("path", ["", "/stackhook"])
def test_discovery_says_where_modules_are(db: None, settings: Settings, path: str) -> None:
    settings.PUBLIC_URL = f"https://stackhook.example.com{path}"
    answer = ask("/.well-known/terraform.json")
    assert answer.json() == {"modules.v1": f"{path}{BASE}"}
    assert answer["Content-Type"] == "application/json"


def test_published_versions_are_listed_newest_first(module: Module, token: str) -> None:
    for number in ("1.2.0", "1.10.0", "2.0.0-beta.1"):
        make_version(module, number)
    make_version(module, "3.0.0", state=VersionState.WAITING)
    make_version(module, "3.0.1", state=VersionState.REFUSED)
    answer = ask(f"{NETWORK}versions", token)
    assert numbers(answer) == ["2.0.0-beta.1", "1.10.0", "1.2.0"]
    assert answer["Content-Type"] == "application/json"
    assert not answer.cookies


@pytest.mark.parametrize(
    "path",
    [
        "fabrikam/network/aws/versions",
        "fabrikam/net/azurerm/versions",
        "contoso/network/azurerm/versions",
        "fabrikam/network/azurerm/9.9.9/download",
        "fabrikam/network/azurerm/latest/download",
        "fabrikam/network/azurerm/1.0.0%00/download",
        "fabrikam/network/azurerm/3.0.0/download",
    ],
)
def test_what_is_unknown_is_not_found(module: Module, token: str, path: str) -> None:
    make_version(module)
    make_version(module, "3.0.0", state=VersionState.WAITING)
    answer = ask(f"{BASE}{path}", token)
    assert answer.status_code == 404
    assert answer.json() == {"errors": ["Not found"]}


def test_a_module_address_with_odd_characters_is_not_found(db: None, token: str) -> None:
    assert ask(f"{BASE}a%00b/network/azurerm/versions", token).status_code == 404


# Downloads


def test_terraform_is_told_by_a_header_where_an_archive_is(module: Module, token: str) -> None:
    version = make_version(module)
    answer = ask(f"{NETWORK}1.0.0/download", token)
    assert (answer.status_code, answer.content) == (204, b"")
    link = answer["X-Terraform-Get"]
    assert re.fullmatch(r"/registry/archives/[\w:-]+\?archive=tar\.gz", link)
    archive = ask(link)
    content = archive.getvalue()
    assert version.archive
    assert hashlib.sha256(content).hexdigest() == version.archive.digest


def test_opentofu_is_told_in_a_body_where_an_archive_is(module: Module, token: str) -> None:
    make_version(module)
    agent = "OpenTofu/1.9.0 (+https://opentofu.org)"
    answer = ask(f"{NETWORK}1.0.0/download", token, agent)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer.json() == {"location": answer["X-Terraform-Get"]}
    assert ask(answer.json()["location"]).status_code == 200


def test_a_link_leads_below_the_path_of_the_public_address(
    module: Module, token: str, settings: Settings
) -> None:
    settings.PUBLIC_URL = "https://example.com/stackhook"
    make_version(module)
    link = ask(f"{NETWORK}1.0.0/download", token)["X-Terraform-Get"]
    assert link.startswith("/stackhook/registry/archives/")


def test_build_metadata_makes_no_other_version(module: Module, token: str) -> None:
    make_version(module, "1.0.0+build.5")
    assert numbers(ask(f"{NETWORK}versions", token)) == ["1.0.0+build.5"]
    for number in ("1.0.0+build.5", "1.0.0"):
        assert ask(f"{NETWORK}{number}/download", token).status_code == 204


def test_downloads_are_counted(module: Module, token: str, bob: User) -> None:
    version = make_version(module)
    for _ in range(3):
        ask(f"{NETWORK}1.0.0/download", token)
    over_https().head(f"{NETWORK}1.0.0/download", headers={"Authorization": f"Bearer {token}"})
    version.refresh_from_db()
    assert version.downloads == 3
    assert Download.objects.get().person == bob


def test_an_archive_is_sent_whole_as_a_file_that_nothing_keeps(module: Module) -> None:
    content = archive_of({"main.tf": "# much\n" * 20_000})
    version = make_version(module, archive=make_archive(content, chunk=50))
    assert version.archive
    assert version.archive.chunks.count() > 5
    link = link_to(version)
    answer = ask(link)
    assert answer.streaming
    assert answer.getvalue() == content
    assert answer["Content-Length"] == str(len(content))
    assert answer["Content-Type"] == "application/gzip"
    assert answer["ETag"] == f'"{version.archive.digest}"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Disposition"] == (
        'attachment; filename="fabrikam-network-azurerm-1.0.0.tar.gz"'
    )
    assert "no-store" in answer["Cache-Control"]
    assert not answer.cookies
    head = over_https().head(link)
    assert (head["Content-Length"], head.content) == (str(len(content)), b"")


def test_a_link_holds_for_minutes_and_for_one_version(module: Module) -> None:
    link = link_to(make_version(module))
    other = make_version(module, "2.0.0")
    with time_machine.travel(timezone.now() + timedelta(minutes=4)):
        assert ask(link).status_code == 200
    with time_machine.travel(timezone.now() + timedelta(minutes=6)):
        answer = ask(link)
        assert answer.status_code == 404
        assert b"run init again" in answer.content
    signed = link.split("/")[-1].split("?")[0]
    for wrong in (signed.replace(signed.split(":")[0], str(other.pk), 1), "", "1", "1:2:3", "a%00"):
        assert ask(f"/registry/archives/{wrong}").status_code == 404


def test_a_link_of_something_else_that_is_signed_does_not_hold(module: Module) -> None:
    version = make_version(module)
    signed = TimestampSigner(salt="something else").sign(str(version.pk))
    assert ask(f"/registry/archives/{signed}").status_code == 404


# Tokens


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer ",
        "Bearer stackhook_wrong",
        "Bearer run-1.wrong",
        "Bearer run-",
        "Bearer run-99999999999999999999999.a",
        "Bearer \xff\xfe",
        "Basic Ym9iOnBhc3N3b3Jk",
        "Basic {token}",
        "Token {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer x{token}",
    ],
)
def test_without_a_token_that_holds_nothing_is_told(
    module: Module, token: str, authorization: str | None
) -> None:
    make_version(module)
    headers = {"Authorization": authorization.format(token=token)} if authorization else {}
    seen = set()
    for path in ("versions", "1.0.0/download", "9.9.9/download"):
        for name in ("network", "none"):
            answer = over_https().get(f"{BASE}fabrikam/{name}/azurerm/{path}", headers=headers)
            assert answer["WWW-Authenticate"].startswith("Bearer ")
            headers_sent = {name: value for name, value in answer.items() if name != "Expires"}
            seen.add((answer.status_code, answer.content, str(headers_sent)))
    assert len(seen) == 1
    assert seen.pop()[0] == 401


def test_a_session_is_no_token(module: Module, admin: Client) -> None:
    make_version(module)
    assert admin.get(f"{NETWORK}versions").status_code == 401


def test_a_bearer_is_named_in_any_case(module: Module, token: str) -> None:
    make_version(module)
    answer = over_https().get(f"{NETWORK}versions", headers={"Authorization": f"bearer  {token}"})
    assert answer.status_code == 200


def test_wrong_tokens_are_refused_in_the_audit_log_without_what_was_sent(db: None) -> None:
    ask(f"{NETWORK}versions")
    assert not entries().exists()  # no token is no wrong one
    ask(f"{NETWORK}versions", "stackhook_wrong")
    refusal = entries().get()
    assert refusal.verb == SecurityEvent.TOKEN_REFUSED
    assert "stackhook_wrong" not in str(vars(refusal))


def test_many_wrong_tokens_are_slowed_down_and_stop_no_right_one(
    module: Module, token: str
) -> None:
    make_version(module)
    statuses = [ask(f"{NETWORK}versions", f"wrong-{n}").status_code for n in range(12)]
    assert statuses == [401] * FROM_ONE_ADDRESS + [429] * 2
    assert ask(f"{NETWORK}versions", token).status_code == 200


@pytest.mark.parametrize("ending", ["expired", "revoked", "deactivated", "no role", "removed"])
def test_a_token_that_ended_is_a_wrong_one(
    module: Module, token: str, bob: User, ending: str
) -> None:
    make_version(module)
    match ending:
        case "expired":
            bob.tokens.update(expires_at=timezone.now())
        case "revoked":
            bob.tokens.update(revoked_at=timezone.now())
        case "deactivated":
            User.objects.update(is_active=False)
        case "no role":
            bob.groups.clear()
        case "removed":
            bob.delete()
    assert ask(f"{NETWORK}versions", token).status_code == 401


# Runs


@pytest.mark.parametrize("state", [State.PREPARING, State.PLANNING, State.APPLYING])
def test_a_run_reads_modules_while_it_runs(module: Module, state: State) -> None:
    make_version(module)
    stack = make_stack(module.repository)
    token = token_of(stack, state=state, kind=Kind.TRACKED)
    assert numbers(ask(f"{NETWORK}versions", token)) == ["1.0.0"]


@pytest.mark.parametrize(
    "state", [one for one in State if one not in {"preparing", "planning", "applying"}]
)
def test_a_run_that_does_not_run_reads_none(module: Module, state: State) -> None:
    make_version(module)
    stack = make_stack(module.repository)
    run = make_run(stack, state=State.PLANNING)
    token = registry_token_of(run, issue_credential(run))
    Run.objects.update(state=state)
    assert ask(f"{NETWORK}versions", token).status_code == 401


def test_a_new_password_of_a_run_ends_the_one_before(module: Module) -> None:
    make_version(module)
    run = make_run(make_stack(module.repository), state=State.PLANNING)
    first = registry_token_of(run, issue_credential(run))
    second = registry_token_of(run, issue_credential(run))
    assert ask(f"{NETWORK}versions", first).status_code == 401
    assert ask(f"{NETWORK}versions", second).status_code == 200


def test_a_run_finds_only_modules_of_repositories_that_its_code_may_read(
    linked: Integration,
) -> None:
    own = make_repository(linked, "own")
    beside = make_repository(linked, "beside", name="beside")
    elsewhere = make_repository(linked, "elsewhere", project_id="q", project_name="Core")
    foreign = make_repository(store_integration("contoso"), "foreign", project_id="p")
    for name, repository in (
        ("own", own),
        ("beside", beside),
        ("elsewhere", elsewhere),
        ("foreign", foreign),
    ):
        make_version(make_module(repository, name))
    stack = make_stack(own)

    def found() -> set[str]:
        token = token_of(stack)
        names = set()
        for name in ("own", "beside", "elsewhere", "foreign"):
            path = f"{BASE}fabrikam/{name}/azurerm/"
            statuses = {
                ask(f"{path}versions", token).status_code,
                ask(f"{path}1.0.0/download", token).status_code,
            }
            assert statuses in ({200, 204}, {404})
            if statuses != {404}:
                names.add(name)
        return names

    assert found() == {"own", "beside"}
    stack.reach = Reach.LISTED
    stack.save()
    stack.readable.add(elsewhere, foreign)
    assert found() == {"own", "beside", "elsewhere"}
    stack.reach = Reach.ORGANIZATION
    stack.save()
    assert found() == {"own", "beside", "elsewhere"}


def test_what_was_published_outlives_its_repository(module: Module) -> None:
    make_version(module)
    stack = make_stack(make_repository(module.integration, "other", name="other"))
    repository = module.repository
    repository.gone_at, repository.is_disabled = timezone.now(), True
    repository.save()
    assert numbers(ask(f"{NETWORK}versions", token_of(stack))) == ["1.0.0"]


# Yanked versions


def test_a_yanked_version_is_listed_only_for_those_who_got_it(
    module: Module, token: str, alice: User
) -> None:
    make_version(module)
    yanked = make_version(module, "1.1.0")
    hers = create_token(alice, "Laptop", None)[1]
    user = make_stack(module.repository, "User")
    other = make_stack(module.repository, "Other")
    assert ask(f"{NETWORK}1.1.0/download", hers).status_code == 204
    assert ask(f"{NETWORK}1.1.0/download", token_of(user)).status_code == 204
    ModuleVersion.objects.filter(pk=yanked.pk).update(yanked_at=timezone.now())
    path = f"{NETWORK}versions"
    assert numbers(ask(path, hers)) == ["1.1.0", "1.0.0"]
    assert numbers(ask(path, token_of(user))) == ["1.1.0", "1.0.0"]
    assert numbers(ask(path, token)) == ["1.0.0"]
    assert numbers(ask(path, token_of(other))) == ["1.0.0"]


def test_a_yanked_version_is_sent_to_who_names_it(module: Module, token: str) -> None:
    make_version(module, yanked_at=timezone.now())
    assert numbers(ask(f"{NETWORK}versions", token)) == []
    assert ask(f"{NETWORK}1.0.0/download", token).status_code == 204


# Costs


def test_an_answer_takes_as_many_queries_with_many_versions_as_with_one(
    linked: Integration, token: str
) -> None:
    counts = set()
    few = make_module(linked, "few")
    many = make_module(linked, "many")
    make_version(few)
    archive = Archive.objects.get()
    for number in range(200):
        make_version(many, f"1.{number}.0", archive=archive)
    run_token = token_of(make_stack(few.repository))
    for asking in (token, run_token):
        for name in ("few", "many"):
            path = f"{BASE}fabrikam/{name}/azurerm/"
            ask(f"{path}1.0.0/download", asking)
            with CaptureQueriesContext(connection) as listing:
                assert ask(f"{path}versions", asking).status_code == 200
            with CaptureQueriesContext(connection) as downloading:
                assert ask(f"{path}1.0.0/download", asking).status_code == 204
            counts.add((asking == token, len(listing), len(downloading)))
    assert len(counts) == 2, counts
    assert max(listing for _, listing, _ in counts) <= 4
    assert max(downloading for *_, downloading in counts) <= 8


def test_answers_are_json_also_where_they_are_refused(db: None) -> None:
    assert json.loads(ask(f"{NETWORK}versions").content)
