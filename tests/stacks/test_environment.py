"""The environment of a stack's runs: variables, some of them secret."""

import html
from typing import Any

import pytest
from django.db import connection
from django.db.models import BinaryField, Value
from django.test import Client

from stacks.environment import change, environment_of, former_secrets_of
from stacks.models import FormerSecret, Stack, StackVariable
from tests.stacks.conftest import errors
from tests.test_secrets import database_text, holds, logged, shown
from vcs_integrations.encryption import WrongKey
from vcs_integrations.models import Integration

PATH = "/stacks/network/environment/"
SECRET = "a-secret-that-nobody-sees-again"


def add(client: Client, name: str, value: str, **more: str) -> Any:
    return client.post(PATH, {"name": name, "value": value} | more)


def add_secret(client: Client) -> StackVariable:
    add(client, "ARM_CLIENT_SECRET", SECRET, is_secret="on")
    return StackVariable.objects.get()


def words(client: Client, path: str = PATH) -> str:
    return html.unescape(" ".join(client.get(path).content.decode().split()))


def test_what_people_add_is_what_runs_find(member: Client, stack: Stack) -> None:
    assert environment_of(stack) == ({}, [])
    response = member.post(PATH, {"name": "TF_VAR_region", "value": "westeurope"}, follow=True)
    assert [str(one) for one in response.context["messages"]] == ["TF_VAR_region was added"]
    add(member, "KEY", "one\r\ntwo\r\n")
    add(member, "ARM_CLIENT_SECRET", SECRET, is_secret="on")
    assert environment_of(stack) == (
        {"TF_VAR_region": "westeurope", "KEY": "one\ntwo\n", "ARM_CLIENT_SECRET": SECRET},
        [SECRET],
    )
    page = words(member)
    assert ">westeurope</code>" in page and ">ARM_CLIENT_SECRET</code>" in page
    assert f'href="{PATH}"' in words(member, "/stacks/network/")


def test_each_stack_has_an_environment_of_its_own(
    member: Client, stack: Stack, world: Integration
) -> None:
    other = Stack.objects.create(name="Other", repository=stack.repository, branch="main")
    add(member, "A", "1")
    assert environment_of(other) == ({}, [])
    variable = StackVariable.objects.get()
    for path in ("", "remove/"):
        address = f"/stacks/other/environment/{variable.pk}/{path}"
        assert member.get(address).status_code == 404
        assert member.post(address, {"value": "2"}).status_code == 404
    assert environment_of(stack) == ({"A": "1"}, [])


@pytest.mark.parametrize(
    "name", ["a", "_", "A1", "TF_VAR_my-input", "TF_TOKEN_app_terraform_io", "ARM_USE_OIDC", "path"]
)
def test_a_name_that_a_program_understands_is_taken(
    member: Client, stack: Stack, name: str
) -> None:
    assert add(member, name, "1").status_code == 302
    assert environment_of(stack)[0] == {name: "1"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "This field is required."),
        ("1A", "Use letters, digits and _, with no digit first, like TF_VAR_region."),
        ("MY-NAME", "Use letters, digits and _"),
        ("A=B", "Use letters, digits and _"),
        ("A B", "Use letters, digits and _"),
        ("Ä", "Use letters, digits and _"),
        ("A\0", "Null characters are not allowed."),
        ("A" * 201, "at most 200 characters"),
        ("PATH", "Each run has its own PATH. Choose another name."),
        ("LD_PRELOAD", "Each run has its own LD_PRELOAD."),
        ("STACKHOOK_RUN", "Each run has its own STACKHOOK_RUN."),
        ("TF_HTTP_PASSWORD", "Stackhook sets what begins with TF_ itself, other than TF_VAR_"),
        ("TF_CLI_ARGS", "Stackhook sets what begins with TF_ itself"),
        ("TF_LOG", "Stackhook sets what begins with TF_ itself"),
    ],
)
def test_any_other_name_is_refused_with_the_reason(
    member: Client, stack: Stack, name: str, why: str
) -> None:
    assert why in errors(add(member, name, "1"), "name")
    assert not StackVariable.objects.exists()


def test_a_name_is_there_once(member: Client, stack: Stack) -> None:
    add(member, "A", "1")
    assert errors(add(member, "A", "2"), "name").startswith("There is a variable of this name.")
    assert environment_of(stack)[0] == {"A": "1"}
    add(member, "a", "2")
    assert environment_of(stack)[0] == {"A": "1", "a": "2"}


@pytest.mark.parametrize(
    ("value", "why"),
    [("a\0b", "No environment takes a null character."), ("x" * 30_001, "at most 30000")],
)
def test_a_value_that_no_environment_takes_is_refused(
    member: Client, stack: Stack, value: str, why: str
) -> None:
    assert why in errors(add(member, "A", value), "value")
    assert not StackVariable.objects.exists()


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("", ""),
        (" ", " "),
        ("\r\n", "\n"),
        ("\r\n\r\n  a\tb  \r\n\r\n", "\n\n  a\tb  \n\n"),
        ("a\nb\rc\r\n", "a\nb\rc\n"),
        ("é€𝄞\ufeff\x1b", "é€𝄞\ufeff\x1b"),
        ("x\r\n" * 15_000, "x\n" * 15_000),
    ],
)
def test_a_value_is_kept_as_it_was_entered(
    member: Client, stack: Stack, sent: str, stored: str
) -> None:
    assert add(member, "A", sent).status_code == 302
    assert environment_of(stack)[0] == {"A": stored}
    path = f"{PATH}{StackVariable.objects.get().pk}/"
    member.post(path, {"value": "other"})
    member.post(path, {"value": sent})
    assert environment_of(stack)[0] == {"A": stored}


def test_a_secret_that_could_not_be_masked_is_refused(member: Client, stack: Stack) -> None:
    response = add(member, "PIN", "12345", is_secret="on")
    assert "A secret needs at least 6 characters" in errors(response, "value")
    for value in ("", " 12345\r\n"):
        assert "A secret needs at least 6" in errors(
            add(member, "A", value, is_secret="on"), "value"
        )
    assert add(member, "PIN", "12345").status_code == 302


def test_a_variable_can_be_changed_and_removed(member: Client, stack: Stack) -> None:
    add(member, "A", "1")
    path = f"{PATH}{StackVariable.objects.get().pk}/"
    assert ">\n1</textarea>" in member.get(path).content.decode()
    assert errors(member.post(path, {}), "value") == "This field is required."
    member.post(path, {"value": ""})
    assert environment_of(stack) == ({"A": ""}, [])
    assert '<span class="quiet">empty</span>' in words(member)
    member.post(path, {"value": "2"})
    assert environment_of(stack) == ({"A": "2"}, [])
    member.get(f"{path}remove/")
    assert environment_of(stack) == ({"A": "2"}, [])
    member.post(f"{path}remove/")
    assert environment_of(stack) == ({}, [])
    assert member.get(path).status_code == 404


def test_nobody_sees_a_secret_again(
    admin: Client, member: Client, stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    variable = add_secret(member)
    for client in (admin, member):
        for path in (PATH, f"{PATH}{variable.pk}/", f"{PATH}{variable.pk}/remove/"):
            assert holds(shown(client.get(path)), [SECRET]) == []
    assert holds(database_text() + logged(caplog), [SECRET]) == []


def test_a_secret_that_was_typed_is_not_written_into_the_form_again(
    member: Client, stack: Stack
) -> None:
    variable = add_secret(member)
    wrong = {"name": "TF_LOG", "value": SECRET, "is_secret": "on"}
    refused = member.post(PATH, wrong)
    assert errors(refused, "name") and not errors(refused, "value")
    too_long = {"value": SECRET * 1000, "is_secret": "on"}
    changed = member.post(f"{PATH}{variable.pk}/", too_long)
    assert errors(changed, "value")
    for response in (refused, changed):
        assert holds(shown(response), [SECRET]) == []


def test_a_secret_left_empty_stays(member: Client, stack: Stack) -> None:
    path = f"{PATH}{add_secret(member).pk}/"
    assert "Left empty, it stays as it is." in words(member, path)
    member.post(path, {"value": "", "is_secret": "on"})
    assert environment_of(stack) == ({"ARM_CLIENT_SECRET": SECRET}, [SECRET])
    member.post(path, {"value": "another-one", "is_secret": "on"})
    assert environment_of(stack)[1] == ["another-one"]


def test_a_secret_is_shown_only_once_its_value_is_typed_again(member: Client, stack: Stack) -> None:
    path = f"{PATH}{add_secret(member).pk}/"
    response = member.post(path, {"value": ""})
    assert errors(response, "value").startswith("Enter the value to show from now on.")
    assert environment_of(stack)[1] == [SECRET]
    member.post(path, {"value": "known-to-all"})
    assert environment_of(stack) == ({"ARM_CLIENT_SECRET": "known-to-all"}, [])
    assert "known-to-all" in words(member)


@pytest.mark.parametrize("change", ["changed", "shown", "shown as it is", "removed"])
def test_a_secret_that_is_changed_shown_or_removed_stays_known_to_be_masked(
    member: Client, stack: Stack, change: str
) -> None:
    path = f"{PATH}{add_secret(member).pk}/"
    member.post(path, {"value": "", "is_secret": "on"})
    member.post(path, {"value": SECRET, "is_secret": "on"})
    assert former_secrets_of(stack) == []
    forms = {
        "changed": {"value": "another-one", "is_secret": "on"},
        "shown": {"value": "another-one"},
        "shown as it is": {"value": SECRET},
    }
    if form := forms.get(change):
        member.post(path, form)
    else:
        member.post(f"{path}remove/")
    assert former_secrets_of(stack) == [SECRET]
    assert holds(database_text(), [SECRET]) == []
    assert holds(words(member), [SECRET]) == ([SECRET] if change == "shown as it is" else [])


def test_the_newest_fifty_former_secrets_are_kept(member: Client, stack: Stack) -> None:
    variable = add_secret(member)
    for number in range(52):
        change(variable, {"value": f"secret-{number}"})
    assert former_secrets_of(stack) == [f"secret-{number}" for number in range(50, 0, -1)]


def test_a_former_secret_that_no_key_reads_stops_nothing(member: Client, stack: Stack) -> None:
    variable = add_secret(member)
    change(variable, {"value": "second-one"})
    FormerSecret.objects.update(value=Value(b"of another key", BinaryField()))
    change(variable, {"value": "third-one"})
    assert former_secrets_of(stack) == ["second-one"]


def test_with_another_key_the_page_works_and_says_what_to_do(member: Client, stack: Stack) -> None:
    add(member, "A", "visible")
    add(member, "B", SECRET, is_secret="on")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE stacks_stackvariable SET value = %s", [b"of another key"])
    with pytest.raises(WrongKey, match="Start Stackhook with the FIELD_ENCRYPTION_KEY"):
        environment_of(stack)
    assert "The environment of this stack can't be decrypted." in words(member)
    first, second = StackVariable.objects.defer("value")
    for variable, more in ((first, {}), (second, {"is_secret": "on"})):
        path = f"{PATH}{variable.pk}/"
        assert member.get(path).status_code == 200
        member.post(path, {"value": ""} | more)  # empties nothing
        with pytest.raises(WrongKey):
            environment_of(stack)
        member.post(path, {"value": "entered-again"} | more)
    assert environment_of(stack)[0] == {"A": "entered-again", "B": "entered-again"}


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        ("terraform", "Terraform applies a plan with the inputs that it was made with."),
        ("opentofu", "OpenTofu refuses to apply a plan whose inputs were changed since"),
    ],
)
def test_the_pages_say_from_when_a_change_counts(
    member: Client, stack: Stack, tool: str, says: str
) -> None:
    Stack.objects.update(tool=tool)
    page = words(member)
    assert f"A changed input counts from the next plan: {says}" in page
    for name, counts in (
        ("TF_VAR_a", "The next plan of Network goes without it; a plan that waits"),
        ("ARM_CLIENT_ID", "The next plan or apply of Network goes without it."),
    ):
        add(member, name, "1")
        variable = StackVariable.objects.get(name=name)
        assert counts in member.get(f"{PATH}{variable.pk}/remove/").content.decode()


def test_the_page_says_who_can_read_the_environment(member: Client, stack: Stack) -> None:
    assert "Whatever code runs can read all of it, secrets included" in words(member)
