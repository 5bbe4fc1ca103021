"""The page on which a person triggers a run, and confirming one that destroys."""

import json
from typing import Any

import pytest
from django.test import Client

from accounts.audit.records import Verb, entries
from stacks.models import Run, Stack
from stacks.rules.states import Kind, Operation, Origin, State
from stacks.runs import trigger_forms
from stacks.sources.heads import read_head
from tests.builders import make_run, make_state_version
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.stacks.conftest import errors

NEW = "/stacks/network/runs/new/"
STATE = {
    "version": 4,
    "resources": [
        {
            "mode": "managed",
            "type": "terraform_data",
            "name": "network",
            "module": 'module.a["b"]',
            "instances": [{"index_key": number} for number in (10, 2)],
        },
        {"mode": "data", "type": "http", "name": "read", "instances": [{}]},
        {"mode": "managed", "type": "a", "name": "b", "instances": [{"index_key": "<i>"}]},
    ],
}
ADDRESSES = [
    'a.b["<i>"]',
    'module.a["b"].terraform_data.network[2]',
    'module.a["b"].terraform_data.network[10]',
]


@pytest.fixture
def known(stack: Stack) -> Stack:
    """A stack whose head was read, and whose state holds resources."""
    assert read_head(stack) is None
    stack.refresh_from_db()
    applied = make_run(stack, 1, state=State.FINISHED)
    make_state_version(applied, 1, json.dumps(STATE).encode())
    return stack


def send(client: Client, stack: Stack, **typed: Any) -> Any:
    about = {"kind": "tracked", "operation": "apply", "head": stack.head_sha}
    return client.post(NEW, about | typed)


def words(response: Any) -> str:
    return " ".join(response.content.decode().split())


def newest() -> Run:
    found = Run.objects.order_by("-number").first()
    assert found
    return found


def test_a_member_runs_the_head_commit(member: Client, known: Stack) -> None:
    page = words(member.get("/stacks/network/"))
    assert f'href="{NEW}">Trigger run<' in page
    answer = send(member, known, note="Now")
    run = newest()
    assert answer["Location"] == run.get_absolute_url()
    assert (run.kind, run.sha, run.origin) == (Kind.TRACKED, known.head_sha, Origin.PERSON)
    assert "Triggered by bob" in words(member.get(run.get_absolute_url()))
    assert "Triggered by bob" in words(member.get("/stacks/network/"))
    (entry,) = entries()
    assert (entry.verb, entry.thing, entry.note) == (
        Verb.RUN_TRIGGERED,
        "Run 2 of Network",
        "Plan and apply; Now",
    )


def test_what_is_in_the_state_is_offered_as_addresses(member: Client, known: Stack) -> None:
    page = member.get(NEW)
    assert [row.address for row in page.context["form"].rows] == ADDRESSES
    assert "<i>" not in page.content.decode()
    send(member, known, targets=ADDRESSES[:1], replacements=ADDRESSES[1:2], more_targets="module.x")
    run = newest()
    assert run.targets == [ADDRESSES[0], "module.x"]
    assert run.replacements == [ADDRESSES[1]]
    assert "module.x" in words(member.get(run.get_absolute_url()))


def test_a_long_list_is_filtered_and_keeps_what_was_chosen(
    member: Client, known: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger_forms, "MOST_LISTED", 1)
    assert len(member.get(NEW).context["form"].rows) == 1
    page = send(member, known, filter="on", find="[10] MODULE", targets=ADDRESSES[:1], note="Mine")
    assert [tuple(row) for row in page.context["form"].rows] == [
        (ADDRESSES[0], True, False),
        (ADDRESSES[2], False, False),
    ]
    assert 'value="Mine"' in page.content.decode()
    assert not page.context["form"].errors
    assert newest().number == 1


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("operation", {"operation": "destroy", "kind": "proposed"}, "can’t destroy"),
        ("operation", {"operation": "guess"}, "Choose from the list"),
        ("stack_name", {"operation": "destroy"}, "type the stack's name: Network"),
        (
            "stack_name",
            {"operation": "destroy", "stack_name": "network"},
            "type the stack's name: Network",
        ),
        (
            "operation",
            {"operation": "refresh_only", "more_replacements": "a.b"},
            "Terraform replaces resources only when it plans and applies.",
        ),
        ("targets", {"targets": ["a.gone"]}, "a.gone is not in the state any more."),
        ("more_targets", {"more_targets": "a.b\n-destroy"}, "“-destroy” is no address"),
        ("more_replacements", {"more_replacements": "module.a"}, "“module.a” is no address"),
        (
            "more_targets",
            {"more_targets": "\n".join(f"a.b[{number}]" for number in range(101))},
            "These are 101 addresses, and a run takes 100.",
        ),
        ("branch", {"kind": "proposed"}, "Choose a branch"),
        ("branch", {"kind": "proposed", "branch": "refs/pull/1/merge"}, "has no branch"),
        ("commit", {"kind": "proposed", "commit": "1a2b3c4d"}, "Enter the full commit id"),
        ("commit", {"kind": "proposed", "commit": "a" * 40}, "has no commit aaaaaaaa"),
    ],
)
def test_what_can_not_be_run_is_refused_and_nothing_typed_is_lost(
    member: Client, known: Stack, field: str, typed: dict[str, Any], said: str
) -> None:
    answer = send(member, known, note="My note", **typed)
    assert answer.status_code == 200
    assert said in errors(answer, field)
    assert 'value="My note"' in answer.content.decode()
    assert newest().number == 1 and not entries().exists()


def test_a_destroy_run_takes_the_stacks_name_twice(member: Client, known: Stack) -> None:
    send(member, known, operation="destroy", stack_name="Network")
    run = newest()
    assert run.operation == Operation.DESTROY
    page = words(member.get(run.get_absolute_url()))
    assert "This run destroys what the stack manages." in page
    Run.objects.filter(pk=run.pk).update(state=State.UNCONFIRMED)
    page = words(member.get(run.get_absolute_url()))
    assert f'href="{run.get_absolute_url()}confirm/?plan="' in page
    act = f"{run.get_absolute_url()}act/"
    form = {"action": "confirm", "plan": ""}
    assert "To confirm, type Network" in words(member.post(act, form, follow=True))
    form["sure"] = "yes"
    answer = member.post(act, form, follow=True)
    assert "To confirm, type the stack&#x27;s name: Network" in words(answer)
    run.refresh_from_db()
    assert run.state == State.UNCONFIRMED
    member.post(act, form | {"stack_name": "Network"})
    run.refresh_from_db()
    assert run.state == State.CONFIRMED


def test_a_proposed_run_is_of_a_branch_or_a_commit_of_it(
    member: Client, known: Stack, repository: Repository
) -> None:
    older = repository.sha("feature/network")
    tip = repository.push({"b.tf": "2"}, branch="feature/network")
    send(member, known, kind="proposed", branch="feature/network")
    assert (newest().kind, newest().sha, newest().branch) == (
        Kind.PROPOSED,
        tip,
        "feature/network",
    )
    send(member, known, kind="proposed", branch="feature/network", commit=older.upper())
    assert newest().sha == older
    send(member, known, kind="proposed", commit=known.head_sha)  # of the tracked branch
    assert (newest().sha, newest().branch) == (known.head_sha, "main")


def test_a_commit_of_another_branch_or_of_a_fork_is_not_run_under_a_branch_of_ours(
    member: Client, known: Stack, repository: Repository
) -> None:
    ours = repository.sha("feature/network")
    answer = send(member, known, kind="proposed", commit=ours)
    assert f"Commit {ours[:8]} is not on main." in errors(answer, "commit")
    fork = repository.fork("fork")
    theirs = fork.push({"fork.tf": "1"}, "idea", "An idea", start="main")
    repository.open_pull_request("idea", fork=fork)  # from now on its commit is here, too
    for branch in ("main", "feature/network"):
        answer = send(member, known, kind="proposed", branch=branch, commit=theirs)
        assert errors(answer, "commit"), branch
    assert newest().number == 1


def test_who_saw_an_older_head_is_shown_the_newer_one_first(
    member: Client, known: Stack, repository: Repository
) -> None:
    newer = repository.push({"main.tf": "# 2\n"}, message="Add a bastion")
    answer = send(member, known, note="Mine")
    assert f"The head of main is {newer[:8]} Add a bastion by now." in words(answer)
    assert 'value="Mine"' in words(answer)
    assert newest().number == 1
    known.refresh_from_db()
    send(member, known)
    assert newest().sha == newer


def test_pressing_twice_leads_to_the_run_that_waits(member: Client, known: Stack) -> None:
    send(member, known)
    answer = send(member, known)
    assert "Run 2 waits already, and does the same." in words(answer)
    assert "/stacks/network/runs/2/" in words(answer)


def test_without_an_answer_from_the_provider_nothing_starts(
    member: Client, known: Stack, emulator: Emulator
) -> None:
    emulator.stop()
    assert "The head commit could not be read." in words(send(member, known))
    answer = send(member, known, kind="proposed", commit=known.head_sha)
    assert errors(answer, "commit")
    assert newest().number == 1


def test_a_stack_whose_state_is_kept_elsewhere_takes_typed_addresses(
    member: Client, known: Stack
) -> None:
    Stack.objects.update(backend="own")
    assert "does not list the resources of this stack" in words(member.get(NEW))
    send(member, known, more_replacements="a.b[0]")
    assert newest().replacements == ["a.b[0]"]


def test_a_state_that_can_not_be_read_fails_no_page(
    member: Client, known: Stack, settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEY = "another key than the one that was used"
    assert "its state is kept elsewhere, too large, or not readable" in words(member.get(NEW))
