"""Who may say where the secrets and the state of a stack are sent, and who confirms it."""

import html
import json
import re
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from pytest_django import Settings

from accounts.audit.records import entries
from stacks.environment.variables import environment_of
from stacks.models import Run, Stack, StackVariable
from stacks.rules.states import Kind, State
from tests.builders import make_run, make_stack, make_state_version
from tests.stacks.conftest import errors
from tests.test_secrets import holds, shown
from vcs_integrations.models import Integration

PATH = "/stacks/network/environment/"
UPLOAD = "/stacks/network/state/upload/"
SECRET = "a-secret-that-nobody-sees-again"
CHECKED = {"is_secret": "on", "confirmed": "on"}
DIGEST = re.compile(r'name="destinations" value="(\w+)"')
# Where secrets are sent: to which host, and also to which account there.
LEADING = [
    *("ARM_METADATA_HOSTNAME", "ARM_CLIENT_ID", "ARM_TENANT_ID", "ARM_SUBSCRIPTION_ID"),
    *("ARM_OIDC_REQUEST_URL", "ARM_ENVIRONMENT", "ARM_USE_MSI", "ARM_MSI_ENDPOINT"),
    *("AWS_ACCESS_KEY_ID", "AWS_ROLE_ARN", "AWS_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL_STS"),
    *("AWS_CA_BUNDLE", "AWS_USE_FIPS_ENDPOINT", "AZDO_ORG_SERVICE_URL", "AZURE_CLIENT_ID"),
    *("CLOUDFLARE_ACCOUNT_ID", "CONSUL_HTTP_ADDR", "DATABRICKS_HOST", "DD_HOST", "DATADOG_HOST"),
    *("GITHUB_OWNER", "GITHUB_ORGANIZATION", "GITHUB_BASE_URL", "GITLAB_BASE_URL"),
    *("GOOGLE_CREDENTIALS", "GOOGLE_PROJECT", "GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"),
    *("GRAFANA_URL", "KUBE_HOST", "MONGODB_ATLAS_PUBLIC_KEY", "NEW_RELIC_REGION", "OCI_region"),
    *("OKTA_ORG_NAME", "OKTA_BASE_URL", "OS_AUTH_URL", "OS_CLOUD", "PAGERDUTY_SERVICE_REGION"),
    *("SNOWFLAKE_ACCOUNT", "TFE_HOSTNAME", "TF_TOKEN_app_terraform_io", "VAULT_ADDR"),
    *("VAULT_NAMESPACE", "VSPHERE_SERVER", "MYCLOUD_TENANT", "mycloud_TF_VAR_x"),
]
INPUTS = ["TF_VAR_region", "TF_VAR_base_url", "TF_VAR_HOST", "TF_VAR_my-proxy"]


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


@pytest.fixture
def leading(stack: Stack) -> StackVariable:
    """A variable that a member set before there was anything to lead away."""
    return set_variable(stack, "VAULT_ADDR", "https://vault.evil.example")


def set_variable(stack: Stack, name: str, value: str = "of before", **more: Any) -> StackVariable:
    return StackVariable.objects.create(stack=stack, name=name, value=value, **more)


def set_secret(stack: Stack) -> StackVariable:
    return set_variable(stack, "TF_VAR_password", SECRET, is_secret=True)


def set_state(stack: Stack) -> None:
    make_state_version(make_run(stack, 1, state=State.FINISHED), 1)


def add(client: Client, name: str, value: str = "1", **more: str) -> Any:
    return client.post(PATH, {"name": name, "value": value} | more)


def add_secret(client: Client, digest: str = "", name: str = "TF_VAR_token") -> Any:
    return add(client, name, SECRET, destinations=digest, **CHECKED)


def page_of(variable: StackVariable) -> str:
    return f"{PATH}{variable.pk}/"


def words(response: Any) -> str:
    return html.unescape(" ".join(response.content.decode().split()))


def digest_of(response: Any) -> str:
    """Return what the check box of a page confirms; empty where there is none."""
    found = DIGEST.search(response.content.decode())
    return found[1] if found else ""


def refusal(response: Any) -> str:
    """Return why the check box of a page is asked for."""
    return " ".join(response.context["confirmation"].errors.get("confirmed", []))


def note() -> str:
    return entries()[0].note


# Who sets them


@pytest.mark.parametrize("name", LEADING)
def test_a_member_sets_only_inputs_where_a_stack_holds_secrets(
    member: Client, stack: Stack, settings: Settings, name: str
) -> None:
    settings.RUN_VARIABLE_PREFIXES = ["MYCLOUD_", "mycloud_"]
    set_secret(stack)
    why = f"This stack holds secrets, which {name} can send elsewhere. Only an admin may"
    assert errors(add(member, name), "name").startswith(why)
    path = page_of(set_variable(stack, name))
    assert errors(member.post(path, {"value": "of-a-member"}), "__all__").startswith(why)
    assert environment_of(stack, Kind.TRACKED)[0] == {name: "of before", "TF_VAR_password": SECRET}


@pytest.mark.parametrize("more", [{}, {"is_secret": "on"}])
@pytest.mark.parametrize("held", ["secrets", "a state", "secrets and a state"])
def test_a_member_sets_only_inputs_where_it_holds_a_state_and_for_secret_values(
    member: Client, stack: Stack, leading: StackVariable, held: str, more: dict[str, str]
) -> None:
    if "secrets" in held:
        set_secret(stack)
    if "a state" in held:
        set_state(stack)
    for response, field, name in (
        (add(member, "AWS_ROLE_ARN", "of-a-member", **more), "name", "AWS_ROLE_ARN"),
        (member.post(page_of(leading), {"value": "of-a-member"} | more), "__all__", "VAULT_ADDR"),
        (member.post(page_of(leading), {"value": leading.value} | more), "__all__", "VAULT_ADDR"),
    ):
        assert errors(response, field) == (
            f"This stack holds {held}, which {name} can send elsewhere. Only an admin may add or "
            f"change variables that don't begin with TF_VAR_. Ask an admin of Stackhook."
        )
    assert "of-a-member" not in environment_of(stack, Kind.TRACKED)[0].values()


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("hold", [set_secret, set_state])
def test_a_member_sets_inputs_whatever_a_stack_holds(
    member: Client, stack: Stack, hold: Callable[[Stack], object], name: str
) -> None:
    hold(stack)
    assert add(member, name).status_code == 302
    path = page_of(StackVariable.objects.get(name=name))
    for value, more in (("2", {}), ("a-secret", {"is_secret": "on"}), ("3", {})):
        assert member.post(path, {"value": value} | more).status_code == 302
        assert environment_of(stack, Kind.TRACKED)[0][name] == value


def test_a_member_sets_any_variable_where_a_stack_holds_nothing(
    member: Client, stack: Stack
) -> None:
    assert add(member, "VAULT_ADDR").status_code == 302
    path = page_of(StackVariable.objects.get())
    for typed in ({"value": "2"}, {"value": SECRET, "is_secret": "on"}):
        assert member.post(path, typed).status_code == 302
        assert "Only an admin" not in words(member.get(path))
    # It is the only secret, which leads nothing but itself elsewhere.
    assert member.post(path, {"value": "another", "is_secret": "on"}).status_code == 302
    set_state(stack)
    for typed in ({"value": "third-one", "is_secret": "on"}, {"value": "3"}):
        assert "This stack holds a state, which" in errors(member.post(path, typed), "__all__")
    assert environment_of(stack, Kind.TRACKED)[0] == {"VAULT_ADDR": "another"}


@pytest.mark.parametrize("hold", [set_secret, set_state])
def test_an_admin_sets_any_variable(
    admin: Client, stack: Stack, hold: Callable[[Stack], object]
) -> None:
    hold(stack)
    assert "members can add" not in words(admin.get(PATH))
    assert add(admin, "VAULT_ADDR").status_code == 302
    path = page_of(StackVariable.objects.get(name="VAULT_ADDR"))
    assert "Only an admin" not in words(admin.get(path))
    assert admin.post(path, {"value": "2"}).status_code == 302
    assert environment_of(stack, Kind.TRACKED)[0]["VAULT_ADDR"] == "2"


def test_the_pages_say_beforehand_what_only_admins_set(
    member: Client, stack: Stack, leading: StackVariable
) -> None:
    assert "members can add and change only" not in words(member.get(PATH))
    set_secret(stack)
    assert "This stack holds secrets, so members can add and change only" in words(member.get(PATH))
    assert "This stack holds secrets, which VAULT_ADDR can" in words(member.get(page_of(leading)))


def test_a_member_removes_any_variable_but_sets_none_in_its_place(
    member: Client, stack: Stack, leading: StackVariable
) -> None:
    set_secret(stack)
    set_state(stack)
    assert member.post(f"{page_of(leading)}remove/").status_code == 302
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_password": SECRET}
    assert "which VAULT_ADDR can send" in errors(add(member, "VAULT_ADDR"), "name")


@pytest.mark.on_postgresql
def test_a_secret_that_was_removed_counts_while_a_run_may_have_it_in_its_plan(
    member: Client, stack: Stack
) -> None:
    run = make_run(stack, 1, state=State.UNCONFIRMED)
    member.post(f"{page_of(set_secret(stack))}remove/")
    why = "This stack holds former secrets in a run, which VAULT_ADDR can"
    assert errors(add(member, "VAULT_ADDR"), "name").startswith(why)
    Run.objects.filter(pk=run.pk).update(state=State.DISCARDED)
    assert add(member, "VAULT_ADDR").status_code == 302


# Who confirms them


@pytest.mark.on_postgresql
@pytest.mark.parametrize("role", ["member", "admin"])
def test_whoever_stores_a_first_secret_confirms_where_it_is_sent(
    request: pytest.FixtureRequest, stack: Stack, leading: StackVariable, role: str
) -> None:
    client: Client = request.getfixturevalue(role)
    set_variable(stack, "TF_VAR_region", "westeurope")
    long = set_variable(stack, "GOOGLE_CREDENTIALS", f'{{"a": "{"x" * 400}", "project": "evil"}}')
    page = client.get(PATH)
    section = words(page).split("<fieldset")[1]
    for said in ("https://vault.evil.example", long.value, "VAULT_ADDR", "Needed only if"):
        assert said in section
    assert "TF_VAR_region" not in section
    refused = add(client, "TF_VAR_token", SECRET, is_secret="on", destinations=digest_of(page))
    assert "Check their values, then check this box and enter the secret" in refusal(refused)
    assert 'value="TF_VAR_token"' in words(refused) and holds(shown(refused), [SECRET]) == []
    assert not stack.variables.filter(is_secret=True).exists()
    assert add_secret(client, digest_of(refused)).status_code == 302
    assert environment_of(stack, Kind.TRACKED)[0]["TF_VAR_token"] == SECRET
    assert note() == (
        "TF_VAR_token was added; confirmed where the secret is sent: GOOGLE_CREDENTIALS, VAULT_ADDR"
    )


def test_whoever_makes_a_variable_secret_confirms_where_it_is_sent(
    member: Client, stack: Stack, leading: StackVariable
) -> None:
    path = page_of(set_variable(stack, "ARM_CLIENT_SECRET"))
    page = member.get(path)
    section = words(page).split("<fieldset")[1]
    assert "VAULT_ADDR" in section and "ARM_CLIENT_SECRET" not in section
    typed = {"value": SECRET, "is_secret": "on"}
    assert "Check their values" in refusal(member.post(path, typed))
    typed |= CHECKED | {"destinations": digest_of(page)}
    assert member.post(path, typed).status_code == 302
    assert note().endswith("was changed; confirmed where the secret is sent: VAULT_ADDR")


def test_what_is_no_secret_is_stored_without_confirming(
    member: Client, stack: Stack, leading: StackVariable
) -> None:
    assert add(member, "TF_VAR_region").status_code == 302
    assert member.post(page_of(leading), {"value": "2"}).status_code == 302
    assert note() == "VAULT_ADDR was changed"
    wrong = add(member, "TF_LOG")
    assert errors(wrong, "name") and refusal(wrong) == ""


def test_where_only_inputs_are_set_nothing_is_confirmed(member: Client, stack: Stack) -> None:
    set_variable(stack, "TF_VAR_base_url")
    assert digest_of(member.get(PATH)) == ""
    assert add(member, "TF_VAR_token", SECRET, is_secret="on").status_code == 302
    assert note() == "TF_VAR_token was added"


def test_what_an_admin_set_is_asked_of_nobody(admin: Client, member: Client, stack: Stack) -> None:
    add(admin, "AWS_ACCESS_KEY_ID")
    assert digest_of(member.get(PATH)) == ""
    assert add(member, "TF_VAR_token", SECRET, is_secret="on").status_code == 302
    assert add(admin, "AWS_SECRET_ACCESS_KEY", SECRET, is_secret="on").status_code == 302


def _adds(stack: Stack, leading: StackVariable) -> None:
    set_variable(stack, "AWS_ROLE_ARN")


def _changes(stack: Stack, leading: StackVariable) -> None:
    leading.value = "https://vault.other.example"
    leading.save()


def _replaces(stack: Stack, leading: StackVariable) -> None:
    leading.delete()
    set_variable(stack, "VAULT_NAMESPACE", leading.value)


@pytest.mark.parametrize("happen", [_adds, _changes, _replaces])
def test_only_what_was_shown_is_confirmed(
    admin: Client,
    stack: Stack,
    leading: StackVariable,
    happen: Callable[[Stack, StackVariable], None],
) -> None:
    opened = digest_of(admin.get(PATH))
    happen(stack, leading)
    asked = add_secret(admin, opened)
    assert "changed after you opened the page" in refusal(asked)
    assert (
        'name="confirmed"' in words(asked)
        and not asked.context["confirmation"]["confirmed"].value()
    )
    for made_up in ("", "0" * 64):
        assert refusal(add_secret(admin, made_up))
    assert not stack.variables.filter(is_secret=True).exists()
    assert add_secret(admin, digest_of(asked)).status_code == 302


@pytest.mark.on_postgresql
def test_a_value_that_can_not_be_read_can_not_be_confirmed(
    admin: Client, stack: Stack, leading: StackVariable
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE stacks_stackvariable SET value = %s", [b"of another key"])
    page = admin.get(PATH)
    assert "not readable" in words(page).split("<fieldset")[1]
    assert "as VAULT_ADDR can't be read" in refusal(add_secret(admin, digest_of(page)))
    admin.post(page_of(leading), {"value": "https://vault.example"})
    assert add_secret(admin, digest_of(admin.get(PATH))).status_code == 302


@pytest.mark.on_postgresql
def test_a_secret_that_a_member_stored_first_confirms_nothing_for_the_next_person(
    admin: Client, member: Client, stack: Stack, leading: StackVariable
) -> None:
    add_secret(member, digest_of(member.get(PATH)), "TF_VAR_first")
    page = admin.get(PATH)
    assert "https://vault.evil.example" in words(page).split("<fieldset")[1]
    assert refusal(add_secret(admin))
    # Also where the member's secret is replaced with the right one.
    first = page_of(StackVariable.objects.get(name="TF_VAR_first"))
    assert refusal(admin.post(first, {"value": SECRET, "is_secret": "on"}))
    assert admin.post(first, {"value": "", "is_secret": "on"}).status_code == 302
    assert add_secret(admin, digest_of(page)).status_code == 302
    # What an admin confirmed or set is not asked about again.
    add(admin, "VAULT_NAMESPACE")
    assert digest_of(admin.get(PATH)) == ""
    assert add(member, "TF_VAR_third", SECRET, is_secret="on").status_code == 302


def test_what_a_member_changes_later_is_confirmed_again(
    admin: Client, member: Client, stack: Stack
) -> None:
    add(admin, "VAULT_ADDR", "https://vault.example")
    leading = StackVariable.objects.get()
    member.post(page_of(leading), {"value": "https://vault.evil.example"})
    add_secret(member, digest_of(member.get(PATH)), "TF_VAR_first")
    assert "https://vault.evil.example" in words(admin.get(PATH)).split("<fieldset")[1]
    assert refusal(add_secret(admin))
    admin.post(page_of(leading), {"value": "https://vault.example"})
    assert digest_of(admin.get(PATH)) == ""


def test_a_secret_that_leads_elsewhere_is_named_and_not_shown(
    admin: Client, member: Client, stack: Stack
) -> None:
    add(member, "GOOGLE_CREDENTIALS", SECRET, is_secret="on")
    page = admin.get(PATH)
    assert "GOOGLE_CREDENTIALS" in words(page).split("<fieldset")[1]
    assert holds(shown(page), [SECRET]) == []
    assert refusal(add_secret(admin))
    assert add_secret(admin, digest_of(page)).status_code == 302


# A first state


def test_an_admin_confirms_where_a_first_state_is_sent(
    admin: Client, stack: Stack, leading: StackVariable
) -> None:
    state = {"version": 4, "serial": 7, "lineage": "a", "resources": []}
    file = SimpleUploadedFile("terraform.tfstate", json.dumps(state).encode())
    page = admin.post(UPLOAD, {"state": file}, follow=True)
    assert "https://vault.evil.example" in words(page).split("<fieldset")[1]
    typed = {"digest": page.context["version"].digest, "destinations": digest_of(page)}
    confirm = f"{UPLOAD}confirm/"
    assert "Check their values" in refusal(admin.post(confirm, typed))
    _changes(stack, leading)
    asked = admin.post(confirm, typed | CHECKED)
    assert "changed after you opened the page" in refusal(asked)
    assert not stack.state_versions.exists()
    typed |= CHECKED | {"destinations": digest_of(asked)}
    assert admin.post(confirm, typed).status_code == 302
    assert stack.state_versions.get().serial == 7
    assert note() == (
        "Version 1: lineage a, serial 7; confirmed where the state is sent: VAULT_ADDR"
    )
    set_secret(stack)
    assert digest_of(admin.get(PATH)) == ""  # it was confirmed already


# Two at once


def _in_a_thread(send: Callable[[], Any]) -> Callable[[], Any]:
    """Send a form, up to where it waits for others or writes; return what waits for its answer."""
    waits, answers = Event(), []

    def note_waiting(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith(("BEGIN", "INSERT")) or "FOR UPDATE" in sql:
            waits.set()
        return execute(sql, *rest)

    def work() -> None:
        try:
            with connection.execute_wrapper(note_waiting):
                answers.append(send())
        finally:
            waits.set()
            connection.close()

    thread = Thread(target=work)
    thread.start()
    assert waits.wait(30)

    def answer() -> Any:
        thread.join(30)
        return answers[0]

    return answer


def _locked(stack: Stack) -> None:
    """Do what each form does first."""
    Stack.objects.select_for_update().get(pk=stack.pk)


@pytest.mark.on_postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_no_member_leads_elsewhere_what_the_other_stores(
    member: Client, stack: Stack
) -> None:
    with transaction.atomic():
        _locked(stack)
        set_secret(stack)
        answer = _in_a_thread(lambda: add(member, "VAULT_ADDR"))
    assert "which VAULT_ADDR can send" in errors(answer(), "name")
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_password": SECRET}


@pytest.mark.on_postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_at_once_nobody_stores_a_secret_that_the_other_leads_elsewhere(
    admin: Client, stack: Stack
) -> None:
    with transaction.atomic():
        _locked(stack)
        set_variable(stack, "VAULT_ADDR")
        answer = _in_a_thread(lambda: add(admin, "TF_VAR_token", SECRET, is_secret="on"))
    assert "Check their values" in refusal(answer())
    assert not stack.variables.filter(is_secret=True).exists()
