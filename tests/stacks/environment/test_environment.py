"""The environment of a stack's runs: variables, some of them secret."""

import html
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from pytest_django import Settings

from core.encryption import WrongKey
from stacks.environment.attaching import attach
from stacks.environment.variables import change, environment_of, former_secrets_of
from stacks.models import SharedEnvironment, SharedVariable, Stack, StackVariable
from stacks.models import variable as variables
from stacks.rules.states import Kind
from tests.builders import make_run, make_stack, make_state_version
from tests.stacks.conftest import errors
from tests.test_secrets import database_text, holds, logged, shown
from vcs_integrations.models import Integration

PATH = "/stacks/network/environment/"
SECRET = "a-secret-that-nobody-sees-again"
NOT_ALLOWED = (
    *("HTTP_PROXY", "https_proxy", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"),
    *("TERRAFORM_CONFIG", "GIT_SSH_COMMAND", "GIT_CONFIG_COUNT", "NODE_OPTIONS", "PYTHONPATH"),
    *("NODE_EXTRA_CA_CERTS", "PYTHONSTARTUP", "PERL5OPT", "GODEBUG", "RUBYOPT", "a", "A1", "path"),
)


def add(client: Client, name: str, value: str, **more: str) -> Any:
    return client.post(PATH, {"name": name, "value": value} | more)


def add_secret(client: Client) -> StackVariable:
    add(client, "ARM_CLIENT_SECRET", SECRET, is_secret="on")
    return StackVariable.objects.get()


def words(client: Client, path: str = PATH) -> str:
    return html.unescape(" ".join(client.get(path).content.decode().split()))


def test_what_people_add_is_what_runs_find(member: Client, stack: Stack) -> None:
    assert environment_of(stack, Kind.TRACKED) == ({}, [])
    response = member.post(PATH, {"name": "TF_VAR_region", "value": "westeurope"}, follow=True)
    assert [str(one) for one in response.context["messages"]] == ["TF_VAR_region was added"]
    add(member, "TF_VAR_KEY", "one\r\ntwo\r\n")
    add(member, "ARM_CLIENT_SECRET", SECRET, is_secret="on")
    assert environment_of(stack, Kind.TRACKED) == (
        {"TF_VAR_region": "westeurope", "TF_VAR_KEY": "one\ntwo\n", "ARM_CLIENT_SECRET": SECRET},
        [SECRET],
    )
    page = words(member)
    assert ">westeurope</code>" in page and ">ARM_CLIENT_SECRET</code>" in page
    assert f'href="{PATH}"' in words(member, "/stacks/network/")


def test_each_stack_has_an_environment_of_its_own(
    member: Client, stack: Stack, world: Integration
) -> None:
    other = make_stack(stack.repository, "Other")
    add(member, "TF_VAR_A", "1")
    assert environment_of(other, Kind.TRACKED) == ({}, [])
    variable = StackVariable.objects.get()
    for path in ("", "remove/"):
        address = f"/stacks/other/environment/{variable.pk}/{path}"
        assert member.get(address).status_code == 404
        assert member.post(address, {"value": "2"}).status_code == 404
    assert environment_of(stack, Kind.TRACKED) == ({"TF_VAR_A": "1"}, [])


@pytest.mark.parametrize(
    "name",
    [
        "TF_VAR_my-input",
        "TF_VAR_path",
        "TF_TOKEN_app_terraform_io",
        "ARM_USE_OIDC",
        "AZDO_PERSONAL_ACCESS_TOKEN",
        "AWS_REGION",
        "GOOGLE_CREDENTIALS",
    ],
)
def test_a_name_that_a_program_understands_is_taken(
    member: Client, stack: Stack, name: str
) -> None:
    assert add(member, name, "1").status_code == 302
    assert environment_of(stack, Kind.TRACKED)[0] == {name: "1"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "Fill this in."),
        ("1A", "Use letters, digits and _, with no digit first, like TF_VAR_region."),
        ("MY-NAME", "Use letters, digits and _"),
        ("A=B", "Use letters, digits and _"),
        ("A B", "Use letters, digits and _"),
        ("Ä", "Use letters, digits and _"),
        ("A\0", "This contains a null character"),
        ("A" * 201, "200 are the most"),
        ("PATH", "Each run has its own PATH. Choose another name."),
        ("LD_PRELOAD", "Each run has its own LD_PRELOAD."),
        ("STACKHOOK_RUN", "Each run has its own STACKHOOK_RUN."),
        ("TF_HTTP_PASSWORD", "Stackhook sets what begins with TF_ itself, other than TF_VAR_"),
        ("TF_CLI_ARGS", "Stackhook sets what begins with TF_ itself"),
        ("TF_LOG", "Stackhook sets what begins with TF_ itself"),
        (
            "arm_client_id",
            "arm_client_id is not allowed, as it may steer the programs of a run. Choose a name",
        ),
        *((name, f"{name} is not allowed, as it may steer") for name in NOT_ALLOWED),
    ],
)
def test_any_other_name_is_refused_with_the_reason(
    member: Client, stack: Stack, name: str, why: str
) -> None:
    assert why in errors(add(member, name, "1"), "name")
    assert not StackVariable.objects.exists()


def test_a_name_is_there_once(member: Client, stack: Stack) -> None:
    add(member, "TF_VAR_A", "1")
    assert errors(add(member, "TF_VAR_A", "2"), "name").startswith(
        "A variable with this name exists."
    )
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_A": "1"}
    add(member, "TF_VAR_a", "2")
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_A": "1", "TF_VAR_a": "2"}


@pytest.mark.parametrize(
    ("value", "why"),
    [("a\0b", "A variable can't contain a null character."), ("x" * 30_001, "30000 are the most")],
)
def test_a_value_that_no_environment_takes_is_refused(
    member: Client, stack: Stack, value: str, why: str
) -> None:
    assert why in errors(add(member, "TF_VAR_A", value), "value")
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
    assert add(member, "TF_VAR_A", sent).status_code == 302
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_A": stored}
    path = f"{PATH}{StackVariable.objects.get().pk}/"
    member.post(path, {"value": "other"})
    member.post(path, {"value": sent})
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_A": stored}


def test_a_secret_that_could_not_be_masked_is_refused(member: Client, stack: Stack) -> None:
    response = add(member, "TF_VAR_PIN", "12345", is_secret="on")
    assert "A secret needs at least 6 characters" in errors(response, "value")
    for value in ("", " 12345\r\n"):
        assert "A secret needs at least 6" in errors(
            add(member, "TF_VAR_A", value, is_secret="on"), "value"
        )
    assert add(member, "TF_VAR_PIN", "12345").status_code == 302


def test_a_variable_can_be_changed_and_removed(member: Client, stack: Stack) -> None:
    add(member, "TF_VAR_A", "1")
    path = f"{PATH}{StackVariable.objects.get().pk}/"
    assert ">\n1</textarea>" in member.get(path).content.decode()
    assert errors(member.post(path, {}), "value") == "Fill this in."
    member.post(path, {"value": ""})
    assert environment_of(stack, Kind.TRACKED) == ({"TF_VAR_A": ""}, [])
    assert '<span class="quiet">empty</span>' in words(member)
    member.post(path, {"value": "2"})
    assert environment_of(stack, Kind.TRACKED) == ({"TF_VAR_A": "2"}, [])
    member.get(f"{path}remove/")
    assert environment_of(stack, Kind.TRACKED) == ({"TF_VAR_A": "2"}, [])
    member.post(f"{path}remove/")
    assert environment_of(stack, Kind.TRACKED) == ({}, [])
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
    assert environment_of(stack, Kind.TRACKED) == ({"ARM_CLIENT_SECRET": SECRET}, [SECRET])
    member.post(path, {"value": "another-one", "is_secret": "on"})
    assert environment_of(stack, Kind.TRACKED)[1] == ["another-one"]


def test_a_secret_is_shown_only_once_its_value_is_typed_again(member: Client, stack: Stack) -> None:
    path = f"{PATH}{add_secret(member).pk}/"
    response = member.post(path, {"value": ""})
    assert errors(response, "value").startswith("Enter the value to show from now on.")
    assert environment_of(stack, Kind.TRACKED)[1] == [SECRET]
    member.post(path, {"value": "known-to-all"})
    assert environment_of(stack, Kind.TRACKED) == ({"ARM_CLIENT_SECRET": "known-to-all"}, [])
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


def test_the_newest_former_secrets_are_kept(
    member: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variables, "MOST_FORMER_SECRETS", 50)
    variable = add_secret(member)
    for number in range(52):
        change(variable, {"value": f"secret-{number}"})
    assert former_secrets_of(stack) == [f"secret-{number}" for number in range(50, 0, -1)]


def test_a_former_secret_that_no_key_reads_stops_nothing(member: Client, stack: Stack) -> None:
    variable = add_secret(member)
    change(variable, {"value": "second-one"})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE stacks_formersecret SET value = %s", [b"of another key"])
    change(variable, {"value": "third-one"})
    assert former_secrets_of(stack) == ["second-one"]


def test_with_another_key_the_page_works_and_says_what_to_do(
    member: Client, stack: Stack, settings: Settings
) -> None:
    add(member, "TF_VAR_A", "visible")
    add(member, "TF_VAR_B", SECRET, is_secret="on")
    settings.FIELD_ENCRYPTION_KEY = "another key altogether"
    with pytest.raises(WrongKey, match="Start Stackhook with the FIELD_ENCRYPTION_KEY"):
        environment_of(stack, Kind.TRACKED)
    assert "The variable TF_VAR_A of this stack can't be decrypted." in words(member)
    first, second = StackVariable.objects.defer("value")
    for variable, more in ((first, {}), (second, {"is_secret": "on"})):
        path = f"{PATH}{variable.pk}/"
        assert member.get(path).status_code == 200
        member.post(path, {"value": ""} | more)  # empties nothing
        with pytest.raises(WrongKey):
            environment_of(stack, Kind.TRACKED)
        member.post(path, {"value": "entered-again"} | more)
    assert environment_of(stack, Kind.TRACKED)[0] == {
        "TF_VAR_A": "entered-again",
        "TF_VAR_B": "entered-again",
    }


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
        ("TF_VAR_a", "The next plan of Network runs without it; a plan that waits"),
        ("ARM_CLIENT_ID", "The next plan or apply of Network runs without it."),
    ):
        add(member, name, "1")
        variable = StackVariable.objects.get(name=name)
        assert counts in member.get(f"{PATH}{variable.pk}/remove/").content.decode()


def test_the_page_says_who_can_read_the_environment(member: Client, stack: Stack) -> None:
    assert "The code of tracked runs can read all of it." in words(member)


def test_the_operator_allows_more_names(member: Client, stack: Stack, settings: Settings) -> None:
    settings.RUN_VARIABLE_PREFIXES = ["MYCLOUD_", "LD_"]
    add(member, "MYCLOUD_TOKEN", "1")
    assert environment_of(stack, Kind.TRACKED)[0] == {"MYCLOUD_TOKEN": "1"}
    assert "MYCLOUD_" in errors(add(member, "OTHER", "1"), "name")
    assert "Each run has its own LD_PRELOAD" in errors(add(member, "LD_PRELOAD", "1"), "name")


def test_a_name_of_before_stays_until_it_is_removed(member: Client, stack: Stack) -> None:
    variable = StackVariable.objects.create(stack=stack, name="HTTP_PROXY", value="http://old")
    assert "Runs still find HTTP_PROXY, but new variables" in words(member)
    path = f"{PATH}{variable.pk}/"
    assert "This variable stays until it is removed." in errors(
        member.post(path, {"value": "http://evil.example"}), "__all__"
    )
    assert environment_of(stack, Kind.TRACKED)[0] == {"HTTP_PROXY": "http://old"}
    member.post(f"{path}remove/")
    assert "Runs still find" not in words(member)


# Secrets and who finds them


def test_proposed_runs_find_no_secret_unless_an_admin_says_so(
    admin: Client, member: Client, stack: Stack
) -> None:
    add(member, "TF_VAR_region", "westeurope")
    for runs in ("all", "proposed"):
        refused = add(member, "ARM_CLIENT_SECRET", SECRET, is_secret="on", runs=runs)
        assert errors(refused, "runs")
    add(member, "ARM_CLIENT_SECRET", SECRET, is_secret="on")
    found = environment_of(stack, Kind.PROPOSED)
    assert found == ({"TF_VAR_region": "westeurope"}, [SECRET])  # still masked
    assert environment_of(stack, Kind.TRACKED)[0]["ARM_CLIENT_SECRET"] == SECRET
    assert "All runs, also if it is a secret" not in words(member)
    path = f"{PATH}{StackVariable.objects.get(is_secret=True).pk}/"
    keep = {"value": "", "is_secret": "on"}
    member.post(path, keep | {"runs": "proposed"})
    assert environment_of(stack, Kind.PROPOSED) == found
    messages = admin.post(path, keep | {"runs": "all"}, follow=True).context["messages"]
    assert "proposed runs find it from now on" in str(next(iter(messages)))
    assert environment_of(stack, Kind.PROPOSED)[0]["ARM_CLIENT_SECRET"] == SECRET
    assert "Proposed runs can read ARM_CLIENT_SECRET, so whoever" in words(member)
    member.post(path, {"value": "another-one", "is_secret": "on"})
    assert environment_of(stack, Kind.PROPOSED)[0]["ARM_CLIENT_SECRET"] == "another-one"
    admin.post(path, keep)
    assert environment_of(stack, Kind.PROPOSED)[0] == {"TF_VAR_region": "westeurope"}
    assert former_secrets_of(stack) == [SECRET]


def test_what_is_secret_once_more_is_for_tracked_runs(
    admin: Client, member: Client, stack: Stack
) -> None:
    add(admin, "ARM_CLIENT_SECRET", SECRET, is_secret="on", runs="all")
    path = f"{PATH}{StackVariable.objects.get().pk}/"
    member.post(path, {"value": "shown-for-a-while"})
    member.post(path, {"value": SECRET, "is_secret": "on"})
    assert environment_of(stack, Kind.PROPOSED)[0] == {}


def test_a_row_that_says_no_runs_lets_proposed_ones_find_no_secret(stack: Stack) -> None:
    shared = SharedEnvironment.objects.create(name="Azure")
    attach(shared, stack)
    for model, owner in (
        (StackVariable, {"stack": stack}),
        (SharedVariable, {"environment": shared}),
    ):
        name = f"TF_VAR_{model.__name__}"
        model.objects.create(name=name, value="plain", **owner)
        model.objects.create(name=f"{name}_secret", value=SECRET, is_secret=True, **owner)
        # Where nothing decides it for the row, it is not stored.
        with pytest.raises(IntegrityError), transaction.atomic():
            unsaid: Any = model(name="TF_VAR_a", value=SECRET, is_secret=True, **owner)
            model.objects.bulk_create([unsaid])
    plain = {"TF_VAR_StackVariable": "plain", "TF_VAR_SharedVariable": "plain"}
    assert environment_of(stack, Kind.PROPOSED)[0] == plain
    assert environment_of(stack, Kind.TRACKED)[0] == plain | {
        f"{name}_secret": SECRET for name in plain
    }


# Whose code finds them


@pytest.mark.parametrize("held", ["secrets", "a state", "secrets and a state", ""])
def test_whoever_changes_the_source_of_a_stack_that_holds_secrets_is_an_admin(
    admin: Client, member: Client, stack: Stack, world: Integration, held: str
) -> None:
    if "secrets" in held:
        add_secret(member)
    if "state" in held:
        make_state_version(make_run(stack, 1), 1)
    path, source = (
        "/stacks/network/source/",
        {
            "provider": str(world.pk),
            "repository": "Platform Team/infrastructure",
        },
    )
    other = source | {"branch": "feature/network"}
    why = f"This stack holds {held}, which the code that it runs can read. Only an admin may"
    assert (why in words(member, path)) == bool(held)
    response = member.post(path, other)
    stack.refresh_from_db()
    assert (stack.branch == "main") == bool(held)
    assert (why in errors(response, "__all__") if held else response.status_code == 302) is True
    if held:
        assert member.post(path, source | {"branch": "main"}).status_code == 302
        assert why not in words(admin, path)
        admin.post(path, other)
        stack.refresh_from_db()
        assert stack.branch == "feature/network"


def test_whoever_changes_the_project_root_of_such_a_stack_is_an_admin(
    admin: Client, member: Client, stack: Stack
) -> None:
    add_secret(member)
    path, typed = "/stacks/network/edit/", {"name": "Network", "project_root": "elsewhere"}
    assert "Only an admin may change" in errors(member.post(path, typed), "project_root")
    assert member.post(path, typed | {"project_root": "", "name": "Renamed"}).status_code == 302
    stack.refresh_from_db()
    assert (stack.name, stack.project_root) == ("Renamed", "")
    admin.post(path, typed)
    stack.refresh_from_db()
    assert stack.project_root == "elsewhere"


@pytest.mark.parametrize("page", ["source", "edit"])
def test_a_secret_stored_while_a_member_waits_counts_for_the_source(
    member: Client, stack: Stack, world: Integration, page: str
) -> None:
    """The provider may take long to answer, and in that time an admin stores a secret."""
    stored: list[StackVariable] = []
    locked = 'FROM "vcs_integrations_repository" WHERE "vcs_integrations_repository"."id" ='

    def store_first(execute: Any, sql: str, *rest: Any) -> Any:
        if not stored and sql.startswith("SELECT") and locked in sql:
            stored.append(StackVariable())  # what it does itself is not to be waited for
            stored[0] = StackVariable.objects.create(
                stack=stack, name="ARM_CLIENT_SECRET", value=SECRET, is_secret=True
            )
        return execute(sql, *rest)

    source = {"provider": str(world.pk), "repository": "Platform Team/infrastructure"}
    typed = source | {"branch": "feature/network", "name": "Network", "project_root": "elsewhere"}
    with connection.execute_wrapper(store_first):
        response = member.post(f"/stacks/network/{page}/", typed)
    assert stored and response.status_code == 200
    assert "This stack holds secrets, which the code that it runs can read" in html.unescape(
        response.content.decode()
    )
    stack.refresh_from_db()
    assert (stack.branch, stack.project_root) == ("main", "")
