"""Shared environments: what stacks find of them, who may attach them, and what stays masked."""

import html
import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.audit.records import entries
from stacks.environment.attaching import attach, set_labels
from stacks.environment.variables import (
    UnusableFiles,
    environment_of,
    files_of,
    former_secrets_of,
    held_by,
    withheld_from,
)
from stacks.models import (
    Attachment,
    FormerSecret,
    Runs,
    SharedEnvironment,
    SharedVariable,
    Stack,
    StackVariable,
)
from stacks.rules.states import Kind, State
from tests.builders import make_run, make_stack
from tests.stacks.conftest import create, errors, step
from tests.test_secrets import holds, shown
from vcs_integrations.models import Integration

PATH = "/stacks/network/environment/"
SECRET = "a-secret-that-many-stacks-share"
DIGEST = re.compile(r'name="destinations" value="(\w+)"')


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


def make_environment(name: str = "Azure", *stacks: Stack, **changes: Any) -> SharedEnvironment:
    """Store a shared environment, attached by hand."""
    made = SharedEnvironment.objects.create(name=name, **changes)
    for one in stacks:
        attach(made, one)
    return made


def share(
    environment: SharedEnvironment, name: str, value: str = "shared", **more: Any
) -> SharedVariable:
    return SharedVariable.objects.create(environment=environment, name=name, value=value, **more)


def share_secret(environment: SharedEnvironment, name: str = "ARM_CLIENT_SECRET") -> SharedVariable:
    return share(environment, name, SECRET, is_secret=True, runs=Runs.TRACKED)


def words(response: Any) -> str:
    return html.unescape(" ".join(response.content.decode().split()))


def confirmed(client: Client, path: str, typed: dict[str, Any]) -> Any:
    """Send a form, then again with the box checked for what the page showed."""
    first = client.post(path, typed)
    found = DIGEST.search(first.content.decode())
    assert found, first.status_code
    return client.post(path, typed | {"destinations": found[1], "confirmed": "on"})


def edited(stack: Stack, *labels: str) -> dict[str, str]:
    return {"name": stack.name, "labels": ", ".join(labels)}


# What counts


def test_an_environment_that_an_admin_makes_and_attaches_is_what_runs_find(
    admin: Client, stack: Stack
) -> None:
    created = admin.post("/settings/environments/new/", {"name": "Azure", "priority": "5"})
    path = created["Location"]
    admin.post(f"{path}add-variable/", {"name": "ARM_TENANT_ID", "value": "tenant"})
    admin.post(
        f"{path}add-variable/",
        {"name": "ARM_CLIENT_SECRET", "value": SECRET, "is_secret": "on"},
    )
    assert environment_of(stack, Kind.TRACKED) == ({}, [])
    typed = {"environment": SharedEnvironment.objects.get().pk}
    assert "Network" in words(admin.post(f"{PATH}attach/", typed))
    assert not Attachment.objects.exists()
    assert confirmed(admin, f"{PATH}attach/", typed).status_code == 302
    assert environment_of(stack, Kind.TRACKED) == (
        {"ARM_TENANT_ID": "tenant", "ARM_CLIENT_SECRET": SECRET},
        [SECRET],
    )
    assert environment_of(stack, Kind.PROPOSED) == ({"ARM_TENANT_ID": "tenant"}, [SECRET])
    assert withheld_from(stack, Kind.PROPOSED) == ["ARM_CLIENT_SECRET"]
    assert [one.get_verb_display() for one in entries()] == [
        "Changed an environment",
        "Changed a shared environment",
        "Changed a shared environment",
        "Created a shared environment",
    ]
    page = words(admin.get(path))
    assert f'href="{PATH}">Network</a>' in page and holds(page, [SECRET]) == []


def test_the_own_variable_counts_then_what_is_attached_by_hand_then_the_higher_priority(
    member: Client, stack: Stack
) -> None:
    stack.labels = ["prod"]
    stack.save()
    low, high = make_environment("Low", stack, priority=1), make_environment("High", stack)
    high.priority = 9
    high.save()
    by_label = make_environment("Labeled", priority=1000)
    set_labels(by_label, ["prod"], [stack])
    names = ("TF_VAR_a", "TF_VAR_b", "TF_VAR_c", "TF_VAR_d")
    for number, one in enumerate((by_label, low, high)):
        for name in names[: 4 - number]:
            share(one, name, one.name)
    StackVariable.objects.create(stack=stack, name="TF_VAR_a", value="Own")
    assert environment_of(stack, Kind.TRACKED)[0] == {
        "TF_VAR_a": "Own",
        "TF_VAR_b": "High",
        "TF_VAR_c": "Low",
        "TF_VAR_d": "Labeled",
    }
    page = words(member.get(PATH))
    table = page.partition('class="variable-table"')[2].partition("</table>")[0]
    rows = [re.sub(r"<[^>]+>| +", " ", row).split() for row in table.split("<tr>")[2:]]
    assert [" ".join(row).removesuffix(" Change Remove") for row in rows] == [
        "TF_VAR_a Own This stack overrides High, Low, Labeled",
        "TF_VAR_b High High overrides Low, Labeled",
        "TF_VAR_c Low Low overrides Labeled",
        "TF_VAR_d Labeled Labeled",
    ]


def test_of_two_with_the_same_priority_the_first_name_counts(stack: Stack) -> None:
    for name in ("b", "A", "c"):
        share(make_environment(name, stack), "TF_VAR_x", name)
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_x": "A"}


def test_what_a_kind_of_run_does_not_find_overrides_nothing_for_it(
    member: Client, stack: Stack
) -> None:
    azure = make_environment("Azure", stack)
    share(azure, "ARM_CLIENT_ID", "reader", runs=Runs.PROPOSED)
    share(azure, "TF_VAR_who", "anybody")
    for name, value in (("ARM_CLIENT_ID", "owner"), ("TF_VAR_who", SECRET)):
        StackVariable.objects.create(
            stack=stack, name=name, value=value, runs=Runs.TRACKED, is_secret=value == SECRET
        )
    assert environment_of(stack, Kind.TRACKED)[0] == {
        "ARM_CLIENT_ID": "owner",
        "TF_VAR_who": SECRET,
    }
    assert environment_of(stack, Kind.PROPOSED) == (
        {"ARM_CLIENT_ID": "reader", "TF_VAR_who": "anybody"},
        [SECRET],
    )
    page = words(member.get(PATH))
    assert "Proposed runs only" in page and "Tracked runs only" in page


def test_files_are_found_by_their_path_and_what_is_no_text_as_base64(
    admin: Client, stack: Stack
) -> None:
    azure = make_environment("Azure", stack)
    path = f"{azure.get_absolute_url()}add-file/"
    typed = {"name": "kube/config", "value": "a: 1\r\n", "is_secret": ""}
    assert admin.post(path, typed).status_code == 302
    typed = {"name": "client.pfx", "value": "AAEC\r\n/w==", "is_base64": "on"}
    assert admin.post(path, typed).status_code == 302
    typed = {"name": "key.pem", "value": SECRET, "is_secret": "on"}
    assert admin.post(path, typed).status_code == 302
    assert admin.post(f"{PATH}add-file/", {"name": "kube/config", "value": "b"}).status_code == 302
    assert files_of(stack, Kind.PROPOSED) == {
        "client.pfx": b"\x00\x01\x02\xff",
        "kube/config": b"b",
    }
    assert files_of(stack, Kind.TRACKED)["key.pem"] == SECRET.encode()
    assert environment_of(stack, Kind.TRACKED) == ({}, [SECRET])
    StackVariable.objects.create(stack=stack, name="kube", value="", is_file=True)
    with pytest.raises(UnusableFiles, match="a file “kube” and a file “kube/config”"):
        files_of(stack, Kind.TRACKED)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("/etc/passwd", "Use a path below the folder"),
        ("../main.tf", "Use a path below the folder"),
        ("a/../../b", "Use a path below the folder"),
        ("a//b", "Use a path below the folder"),
        ("a/", "Use a path below the folder"),
        ("./a", "Use a path below the folder"),
        ("a\\b", "Use letters, digits"),
        ("-rf", "Use letters, digits"),
        ("a b", "Use letters, digits"),
        ("ä", "Use letters, digits"),
        ("a\nb", "Use letters, digits"),
        ("/".join("abcdefghi"), "at most 8 parts"),
    ],
)
def test_a_path_that_could_lead_elsewhere_is_refused(
    admin: Client, stack: Stack, name: str, why: str
) -> None:
    for path in (PATH, make_environment().get_absolute_url()):
        assert why in errors(admin.post(f"{path}add-file/", {"name": name, "value": "1"}), "name")


def test_a_file_is_bounded_and_there_once(admin: Client, stack: Stack) -> None:
    path = f"{PATH}add-file/"
    assert errors(admin.post(path, {"name": "a", "value": "x" * 200_001}), "value")
    assert errors(admin.post(path, {"name": "a", "value": "?", "is_base64": "on"}), "value")
    for number in range(50):
        assert admin.post(path, {"name": f"f{number}", "value": "1"}).status_code == 302
    assert "exists" in errors(admin.post(path, {"name": "f1", "value": "1"}), "name")
    assert "50 files" in errors(admin.post(path, {"name": "new", "value": "1"}), "name")


# Who may attach


@pytest.mark.parametrize("is_secret", [True, False])
def test_a_member_gives_no_stack_a_label_that_attaches_an_environment(
    member: Client, admin: Client, integration: Integration, is_secret: bool
) -> None:
    azure = make_environment(labels=["prod"])
    if is_secret:
        share_secret(azure)
    why = "The label prod attaches the shared environment Azure. Only an admin may add it"
    stack = make_stack(integration.repositories.get(), "Mine")
    assert why in errors(member.post("/stacks/mine/edit/", edited(stack, "prod")), "labels")
    response = create(member, integration, name="New", labels="x, prod")
    assert why in errors(response, "labels") and not Stack.objects.filter(name="New").exists()
    assert member.post("/stacks/mine/edit/", edited(stack, "Prod", "pro")).status_code == 302
    assert not Attachment.objects.exists()
    if is_secret:
        attach(azure, stack)
    assert admin.post("/stacks/mine/edit/", edited(stack, "prod")).status_code == 302
    assert why in errors(member.post("/stacks/mine/edit/", edited(stack)), "labels")
    assert member.post("/stacks/mine/edit/", edited(stack, "prod", "y")).status_code == 302
    assert create(admin, integration, name="New", labels="prod").status_code == 302
    assert [one.stack.name for one in Attachment.objects.order_by("pk")] == ["Mine", "New"]


def test_a_label_that_an_environment_gets_while_a_member_creates_a_stack_counts(
    member: Client, integration: Integration
) -> None:
    """The provider may take long to answer, and in that time an admin labels an environment."""
    azure = make_environment()
    held = 'SELECT "stacks_sharedenvironment"."id"'
    labeled: list[str] = []

    def label_first(execute: Any, sql: str, *rest: Any) -> Any:
        if not labeled and sql.startswith(held) and '"name"' not in sql:
            labeled.append(sql)  # what it does itself is not to be waited for
            set_labels(azure, ["prod"])
        return execute(sql, *rest)

    with connection.execute_wrapper(label_first):
        response = create(member, integration, name="New", labels="prod")
    assert labeled and "Only an admin may add it" in errors(response, "labels")
    assert step(response) == "Name stack"
    assert not Stack.objects.filter(name="New").exists()


def test_a_label_that_a_member_gave_before_attaches_nothing_until_an_admin_saw_whose_code_it_is(
    member: Client, admin: Client, stack: Stack
) -> None:
    member.post("/stacks/network/edit/", edited(stack, "prod"))
    azure = make_environment()
    share_secret(azure)
    path = f"{azure.get_absolute_url()}labels/"
    page = admin.post(path, {"labels": "prod"})
    assert "Whoever may push to these branches can then read the secrets." in words(page)
    assert "Web/tools, branch main" in words(page)
    assert environment_of(stack, Kind.TRACKED) == ({}, [])
    digest = DIGEST.search(page.content.decode())
    assert digest
    Stack.objects.update(branch="of-the-member")  # changed after the page was shown
    typed = {"labels": "prod", "destinations": digest[1], "confirmed": "on"}
    assert "were changed after you opened" in words(admin.post(path, typed))
    assert environment_of(stack, Kind.TRACKED) == ({}, [])
    assert confirmed(admin, path, {"labels": "prod"}).status_code == 302
    assert environment_of(stack, Kind.TRACKED)[1] == [SECRET]


def test_only_stacks_that_the_admin_saw_get_an_environment_by_its_labels(
    admin: Client, stack: Stack
) -> None:
    stack.labels = ["prod"]
    stack.save()
    azure = make_environment()
    share_secret(azure)
    late: list[Stack] = []

    def create_late(execute: Any, sql: str, *rest: Any) -> Any:
        if not late and sql.startswith('UPDATE "stacks_sharedenvironment"'):
            late.append(stack)
            late[0] = make_stack(stack.repository, "Late", labels=["prod"])
        return execute(sql, *rest)

    with connection.execute_wrapper(create_late):
        confirmed(admin, f"{azure.get_absolute_url()}labels/", {"labels": "prod"})
    assert late[0].name == "Late"
    assert list(azure.stacks.all()) == [stack]


def test_a_label_attaches_no_secrets_to_a_stack_until_an_admin_saw_whose_code_it_is(
    member: Client, admin: Client, stack: Stack
) -> None:
    azure = make_environment(labels=["prod", "live"])
    share_secret(azure)
    Stack.objects.update(branch="of-the-member")
    refused = errors(admin.post("/stacks/network/edit/", edited(stack, "prod")), "labels")
    assert refused == (
        "A label attaches the shared environment Azure, which holds secrets. Attach it under "
        "Environment first, which shows whose code can read them, then add the label."
    )
    assert environment_of(stack, Kind.TRACKED) == ({}, [])
    attaching = {"environment": azure.pk}
    assert "branch of-the-member" in words(admin.post(f"{PATH}attach/", attaching))
    confirmed(admin, f"{PATH}attach/", attaching)
    for label in ("prod", "live"):  # the second in place of the first
        assert admin.post("/stacks/network/edit/", edited(stack, label)).status_code == 302
        assert Attachment.objects.get().label == label


def test_a_label_in_the_database_alone_attaches_nothing(admin: Client, stack: Stack) -> None:
    azure = make_environment(labels=["prod"])
    share_secret(azure)
    Stack.objects.update(labels=["prod"])
    assert environment_of(stack, Kind.TRACKED) == ({}, [])
    assert "Network</a> has a label of this environment, but no admin" in words(
        admin.get(azure.get_absolute_url())
    )
    stack.refresh_from_db()
    admin.post("/stacks/network/edit/", edited(stack, "prod", "other"))
    assert environment_of(stack, Kind.TRACKED) == ({}, [])


def test_no_member_attaches_detaches_or_changes_an_environment(
    member: Client, stack: Stack
) -> None:
    azure = make_environment("Azure", stack)
    variable = share_secret(azure)
    top = azure.get_absolute_url()
    for path in (
        f"{PATH}attach/",
        f"{PATH}detach/{azure.pk}/",
        *(f"{top}{page}/" for page in ("edit", "labels", "delete", "add-variable", "add-file")),
        f"{top}variables/{variable.pk}/",
        f"{top}variables/{variable.pk}/remove/",
        "/settings/environments/new/",
    ):
        assert member.post(path, {"environment": azure.pk, "name": "x"}).status_code == 403
        assert member.get(path).status_code == 403
    assert environment_of(stack, Kind.TRACKED)[1] == [SECRET]
    for path in (top, "/settings/environments/", PATH):
        page = member.get(path)
        assert page.status_code == 200 and holds(shown(page), [SECRET]) == []


def test_shared_secrets_count_for_what_members_may_change(member: Client, stack: Stack) -> None:
    azure = make_environment("Azure", stack)
    share(azure, "ARM_TENANT_ID")
    assert held_by(stack) == ""
    share_secret(azure)
    assert held_by(stack) == "secrets"
    refused = member.post(PATH, {"name": "ARM_TENANT_ID", "value": "of-a-member"})
    assert "This stack holds secrets, which ARM_TENANT_ID can send" in errors(refused, "name")
    refused = member.post(f"{PATH}add-file/", {"name": "TF_VAR_x", "value": "of-a-member"})
    assert "Only an admin may add or change files." in errors(refused, "name")
    typed = {"name": "Network", "project_root": "elsewhere"}
    refused = member.post("/stacks/network/edit/", typed)
    assert "This stack holds secrets" in errors(refused, "project_root")
    assert member.post(PATH, {"name": "TF_VAR_x", "value": "1"}).status_code == 302


def test_whoever_attaches_a_secret_confirms_what_members_set_before(
    member: Client, admin: Client, stack: Stack
) -> None:
    evil = "https://vault.evil.example"
    member.post(PATH, {"name": "VAULT_ADDR", "value": evil})
    azure = make_environment(labels=["prod"])
    share_secret(azure)
    typed = {"environment": azure.pk}
    page = words(admin.post(f"{PATH}attach/", typed))
    assert evil in page and "VAULT_ADDR" in page
    refused = admin.post("/stacks/network/edit/", edited(stack, "prod"))
    assert "Attach it under Environment first" in errors(refused, "labels")
    assert not Attachment.objects.exists()
    confirmed(admin, f"{PATH}attach/", typed)
    assert StackVariable.objects.get().is_checked
    assert entries()[0].note == (
        "Attached Azure; confirmed where the secrets are sent: VAULT_ADDR; confirmed for the code "
        "of Network"
    )


def test_whoever_shares_a_first_secret_confirms_what_members_of_its_stacks_set(
    member: Client, admin: Client, stack: Stack
) -> None:
    azure = make_environment("Azure", stack, make_stack(stack.repository, "Other"))
    for name in ("network", "other"):
        member.post(f"/stacks/{name}/environment/", {"name": "VAULT_ADDR", "value": f"of-{name}"})
    path = f"{azure.get_absolute_url()}add-variable/"
    typed = {"name": "TF_VAR_password", "value": SECRET, "is_secret": "on"}
    page = admin.post(path, typed)
    for said in ("VAULT_ADDR of Network", "VAULT_ADDR of Other", "of-network", "of-other"):
        assert said in words(page)
    assert holds(shown(page), [SECRET]) == [] and not SharedVariable.objects.exists()
    assert confirmed(admin, path, typed).status_code == 302
    assert environment_of(stack, Kind.TRACKED)[1] == [SECRET]


def test_only_an_admin_uncovers_a_shared_secret(
    member: Client, admin: Client, stack: Stack
) -> None:
    azure = make_environment("Azure", stack)
    share(azure, "TF_VAR_password", SECRET, is_secret=True, runs=Runs.ALL)
    member.post(PATH, {"name": "TF_VAR_password", "value": "of-a-member"})
    path = f"{PATH}{StackVariable.objects.get().pk}/"
    why = "TF_VAR_password hides a secret of Azure, which the code of this stack could then read."
    assert why in words(member.get(f"{path}remove/"))
    assert why in words(member.post(f"{path}remove/"))
    for narrowed in ({"runs": "tracked"}, {"runs": "proposed"}, {"is_secret": "on"}):
        typed = {"value": "of-a-member"} | narrowed
        assert why in errors(member.post(path, typed), "runs")
    for kind in (Kind.TRACKED, Kind.PROPOSED):
        assert environment_of(stack, kind)[0] == {"TF_VAR_password": "of-a-member"}
    assert member.post(path, {"value": "another"}).status_code == 302
    assert admin.post(path, {"value": "another", "runs": "tracked"}).status_code == 302
    assert environment_of(stack, Kind.PROPOSED)[0] == {"TF_VAR_password": SECRET}
    assert admin.post(f"{path}remove/").status_code == 302
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_password": SECRET}


# What stays masked


@pytest.mark.parametrize("end", ["changed", "removed", "detached", "deleted", "label", "relabeled"])
def test_a_shared_secret_stays_masked_however_it_ends(
    admin: Client, stack: Stack, end: str
) -> None:
    stack.labels = ["prod"]
    stack.save()
    azure = make_environment()
    variable = share_secret(azure)
    if "label" in end:
        set_labels(azure, ["prod"], [stack])
    else:
        attach(azure, stack)
    assert environment_of(stack, Kind.TRACKED)[1] == [SECRET]
    top = azure.get_absolute_url()
    match end:
        case "changed":
            admin.post(f"{top}variables/{variable.pk}/", {"value": "another", "is_secret": "on"})
        case "removed":
            admin.post(f"{top}variables/{variable.pk}/remove/")
        case "detached":
            admin.post(f"{PATH}detach/{azure.pk}/")
        case "deleted":
            page = words(admin.get(f"{top}delete/"))
            assert "Network</a>" in page and "<code>ARM_CLIENT_SECRET</code>" in page
            admin.post(f"{top}delete/")
            assert "It was attached to Network" in entries()[0].note
        case "label":
            admin.post(f"{top}labels/", {"labels": ""})
        case "relabeled":
            admin.post("/stacks/network/edit/", edited(stack))
    assert SECRET not in environment_of(stack, Kind.TRACKED)[1]
    assert former_secrets_of(stack) == [SECRET]


def test_all_secrets_of_a_large_environment_stay_masked_where_it_is_detached(
    admin: Client, stack: Stack
) -> None:
    FormerSecret.objects.keep("a-former-secret-of-its-own", stack=stack)
    azure = make_environment("Azure", stack)
    secrets = [f"secret-number-{number}" for number in range(120)]
    for number, secret in enumerate(secrets):
        share(azure, f"TF_VAR_{number}", secret, is_secret=True)
    admin.post(f"{PATH}detach/{azure.pk}/")
    assert environment_of(stack, Kind.TRACKED)[1] == []
    assert set(former_secrets_of(stack)) == {"a-former-secret-of-its-own", *secrets}


def test_a_shared_secret_that_left_counts_while_a_run_may_have_it_in_its_plan(
    member: Client, admin: Client, stack: Stack
) -> None:
    azure = make_environment("Azure", stack)
    share_secret(azure)
    make_run(stack, 1, state=State.UNCONFIRMED)
    admin.post(f"{PATH}detach/{azure.pk}/")
    refused = member.post(PATH, {"name": "VAULT_ADDR", "value": "of-a-member"})
    assert "holds former secrets in a run" in errors(refused, "name")


def test_what_is_attached_twice_stays_until_both_are_taken_back(
    admin: Client, stack: Stack
) -> None:
    azure = make_environment("Azure", stack)
    share(azure, "TF_VAR_x")
    admin.post("/stacks/network/edit/", edited(stack, "prod"))
    set_labels(azure, ["prod"])
    admin.post(f"{PATH}detach/{azure.pk}/")
    assert environment_of(stack, Kind.TRACKED)[0] == {"TF_VAR_x": "shared"}
    assert admin.post(f"{PATH}detach/{azure.pk}/").status_code == 404
    set_labels(azure, [])
    assert environment_of(stack, Kind.TRACKED)[0] == {}
    assert not FormerSecret.objects.exists()


def test_an_environment_is_changed_and_its_name_is_there_once(admin: Client, db: None) -> None:
    azure = make_environment()
    path = f"{azure.get_absolute_url()}edit/"
    typed = {"name": "Azure", "description": "All of it", "priority": "7"}
    assert admin.post(path, typed).status_code == 302
    azure.refresh_from_db()
    assert (azure.description, azure.priority) == ("All of it", 7)
    assert "Another shared environment" in errors(
        admin.post("/settings/environments/new/", typed | {"name": "AZURE"}), "name"
    )
    assert errors(admin.post(path, typed | {"priority": "-1"}), "priority")
