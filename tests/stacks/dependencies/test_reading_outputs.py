"""Reading the outputs of another stack's state: only by a grant, and nothing but reading."""

import json
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from stacks.dependencies.outputs import grants_of, sensitive_outputs
from stacks.environment.variables import former_secrets_of, held_by
from stacks.models import Backend, FormerSecret, Run, Stack, StateGrant, StateLock, StateVersion
from stacks.rules.states import ENDED, Kind, Operation, Origin, State
from tests.builders import make_run, make_stack, make_state_version
from tests.stacks.conftest import errors
from tests.stacks.environment.test_shared_environments import confirmed, words
from tests.stacks.tfstate.test_state_backend import Program, lose
from vcs_integrations.models import Integration

STATE = {
    "version": 4,
    "terraform_version": "1.11.4",
    "serial": 3,
    "lineage": "a",
    "outputs": {"id": {"value": "net-1", "type": "string"}},
    "resources": [{"mode": "managed", "instances": [{"attributes": {"password": "hidden"}}]}],
    "check_results": [{"object_addr": "hidden"}],
}
READ = "/stacks/network/dependencies/"


@pytest.fixture
def owner(linked: Integration) -> Stack:
    """A stack whose state Stackhook keeps."""
    stack = make_stack(linked, "Network")
    run = make_run(stack, 1, state=State.FINISHED)
    make_state_version(run, 1, json.dumps(STATE).encode())
    return stack


@pytest.fixture
def reader(owner: Stack) -> Stack:
    return make_stack(owner.repository, "Shop")


@pytest.fixture
def run(reader: Stack) -> Run:
    return make_run(reader, 1, state=State.PLANNING)


def grant(owner: Stack, reader: Stack, **more: Any) -> StateGrant:
    return StateGrant.objects.create(stack=owner, reader=reader, **more)


def running(stack: Stack, kind: Kind) -> Run:
    """Store a run of a kind whose program runs; a tracked one may write its own state."""
    if kind == Kind.DRIFT:
        drift: dict[str, Any] = {"origin": Origin.DRIFT, "operation": Operation.REFRESH_ONLY}
        return make_run(stack, 1, state=State.PLANNING, kind=kind, **drift)
    state = State.APPLYING if kind == Kind.TRACKED else State.PLANNING
    return make_run(stack, 1, state=state, kind=kind)


def ask(run: Run, method: str = "GET", body: Any = "", query: str = "") -> Any:
    """Have a run's program ask for the state of the stack Network."""
    program = Program(run)
    elsewhere = Program(Run.objects.select_related("stack").get(pk=run.pk), program.password)
    elsewhere.run.stack.slug = "network"
    return elsewhere.send(method, body, query)


def test_a_granted_run_reads_the_outputs_and_nothing_else(
    owner: Stack, reader: Stack, run: Run
) -> None:
    grant(owner, reader)
    for state in (State.PREPARING, State.PLANNING, State.APPLYING):
        Run.objects.filter(pk=run.pk).update(state=state)
        answer = ask(run)
        assert answer.status_code == 200
        assert answer.json() == {
            "version": 4,
            "terraform_version": "1.11.4",
            "serial": 3,
            "lineage": "a",
            "outputs": {"id": {"value": "net-1", "type": "string"}},
            "resources": [],
        }
        assert b"hidden" not in answer.content


def test_without_a_grant_a_run_reads_no_other_state(owner: Stack, reader: Stack, run: Run) -> None:
    answer = ask(run)
    assert answer.status_code == 401
    assert answer.content == b"The user name or password is wrong.\n"
    other = make_stack(owner.repository, "Third")
    grant(owner, other)  # another one's
    grant(reader, owner)  # the other way round
    assert ask(run).status_code == 401
    given = grant(owner, reader)
    assert ask(run).status_code == 200
    given.delete()
    assert ask(run).status_code == 401


@pytest.mark.parametrize(
    "state", sorted({State.QUEUED, State.UNCONFIRMED, State.CONFIRMED, *ENDED})
)
def test_a_run_that_does_not_run_reads_nothing(
    owner: Stack, reader: Stack, run: Run, state: State
) -> None:
    grant(owner, reader)
    Run.objects.filter(pk=run.pk).update(state=state)
    assert ask(run).status_code == 403


def test_a_lost_apply_that_goes_on_reads_no_other_state(owner: Stack, reader: Stack) -> None:
    grant(owner, reader)
    applying = make_run(reader, 1, state=State.APPLYING)
    program = Program(applying)
    assert program.lock().status_code == 200
    lose(applying)
    assert program.write({"version": 4, "serial": 1, "lineage": "b"}).status_code == 200
    applying.stack.slug = "network"
    assert program.send("GET").status_code == 403


@pytest.mark.parametrize("method", ["POST", "DELETE", "LOCK", "UNLOCK"])
@pytest.mark.parametrize("kind", Kind)
def test_a_grant_lets_nobody_write_or_lock(
    owner: Stack, reader: Stack, method: str, kind: Kind
) -> None:
    grant(owner, reader, is_for_proposed=True)
    run = running(reader, kind)
    if kind == Kind.TRACKED:
        assert Program(run).lock("one").status_code == 200  # its own
    answer = ask(run, method, {"ID": "one", "version": 4, "serial": 9, "lineage": "a"}, "?ID=one")
    assert answer.status_code == 403
    assert "may only be read" in answer.content.decode()
    assert [one.serial for one in StateVersion.objects.all()] == [1]
    assert not StateLock.objects.filter(stack=owner).exists()


def test_proposed_runs_read_only_what_an_admin_lets_them(owner: Stack, reader: Stack) -> None:
    given = grant(owner, reader)
    run = make_run(reader, 1, state=State.PLANNING, kind=Kind.PROPOSED)
    answer = ask(run)
    assert answer.status_code == 403
    assert "An admin lets only tracked runs read the outputs of Network." in answer.content.decode()
    StateGrant.objects.filter(pk=given.pk).update(is_for_proposed=True)
    assert ask(run).json()["outputs"] == STATE["outputs"]


def test_a_drift_run_reads_what_a_tracked_run_does_and_both_mask_what_is_sensitive(
    owner: Stack, reader: Stack
) -> None:
    given = grant(owner, reader)
    assert [grants_of(reader, kind) for kind in Kind] == [[given], [], [given]]
    secret = STATE | {"outputs": {"key": {"value": ["a-secret"], "sensitive": True}, "id": {}}}
    make_state_version(make_run(owner, 2), 2, json.dumps(secret).encode())
    assert sensitive_outputs(reader) == ['["a-secret"]']
    assert ask(running(reader, Kind.DRIFT)).status_code == 200


def holds(owner: Stack, number: int, **sensitive: Any) -> None:
    """Store a version of a state with these sensitive outputs."""
    outputs = {name: {"value": value, "sensitive": True} for name, value in sensitive.items()}
    content = json.dumps(STATE | {"outputs": outputs}).encode()
    make_state_version(make_run(owner, number), number, content)


def test_outputs_that_were_rotated_stay_masked_in_runs_of_each_kind(
    owner: Stack, reader: Stack
) -> None:
    grant(owner, reader)  # for tracked runs, whose state proposed runs plan with
    for number in range(2, 14):
        holds(owner, number, password=f"password-{number}", same="the-same")
    owner.state_versions.filter(number=13).update(is_deletion=True)
    newest = [f"password-{number}" for number in range(12, 2, -1)]
    assert sensitive_outputs(reader) == [newest[0], "the-same", *newest[1:]]
    assert sensitive_outputs(owner) == []


def test_outputs_stay_masked_once_a_grant_was_revoked(
    admin: Client, owner: Stack, reader: Stack
) -> None:
    given = grant(owner, reader)
    FormerSecret.objects.keep("of-a-variable", stack=reader)
    holds(owner, 2, password="old-password")
    holds(owner, 3, password="new-password", **{f"n{n}": f"value-{n}" for n in range(260)})
    admin.post(f"{READ}readers/{given.pk}/remove/")
    assert sensitive_outputs(reader) == []
    kept = former_secrets_of(reader)
    assert kept[0] == "new-password" and kept[-1] == "of-a-variable"
    assert len(kept) == 251


def test_outputs_stay_masked_once_their_stack_was_deleted(
    admin: Client, owner: Stack, reader: Stack
) -> None:
    grant(owner, reader)
    holds(owner, 2, password="old-password")
    holds(owner, 3, password="new-password")
    admin.post(f"{owner.get_absolute_url()}delete/", {"stack_name": owner.name})
    assert not Stack.objects.filter(pk=owner.pk).exists()
    assert former_secrets_of(reader) == ["new-password", "old-password"]


def test_a_state_that_is_not_there_or_not_readable_is_no_error_of_ours(
    owner: Stack, reader: Stack, run: Run
) -> None:
    grant(owner, reader)
    version = owner.state_versions.get()
    version.is_deletion = True
    version.save()
    assert ask(run).status_code == 204
    encrypted = {"version": 4, "serial": 5, "lineage": "a", "encrypted_data": "abc"}
    make_state_version(make_run(owner, 2), 2, json.dumps(encrypted).encode())
    answer = ask(run)
    assert (answer.status_code, "OpenTofu encrypted" in answer.content.decode()) == (409, True)
    Stack.objects.filter(pk=owner.pk).update(backend=Backend.OWN)
    assert ask(run).status_code == 404


def test_only_an_admin_lets_a_stack_read_and_sees_whose_code_it_is(
    admin: Client, member: Client, owner: Stack, reader: Stack, run: Run
) -> None:
    member.post("/stacks/shop/environment/", {"name": "VAULT_ADDR", "value": "https://evil"})
    path, typed = f"{READ}readers/add/", {"reader": reader.pk}
    assert member.post(path, typed).status_code == 403
    page = words(admin.post(path, typed))
    assert "Web/tools, branch main" in page and "https://evil" in page
    assert not StateGrant.objects.exists()
    assert confirmed(admin, path, typed).status_code == 302
    assert ask(run).status_code == 200
    block = words(member.get("/stacks/shop/dependencies/"))
    assert 'data "terraform_remote_state" "network" {' in block
    assert '/stacks/network/state/"' in block
    assert "Shop</a>" in words(member.get(READ))
    assert "Other stacks read its outputs" in words(admin.get("/stacks/network/delete/"))
    given = StateGrant.objects.get()
    assert member.post(f"{READ}readers/{given.pk}/remove/").status_code == 403
    admin.post(f"/stacks/shop/dependencies/readers/{given.pk}/remove/")  # of another stack
    assert ask(run).status_code == 200
    admin.post(f"{READ}readers/{given.pk}/remove/")
    assert ask(run).status_code == 401


def test_a_member_leads_no_stack_that_may_read_to_other_code(
    member: Client, owner: Stack, reader: Stack
) -> None:
    assert held_by(reader) == ""
    grant(owner, reader)
    assert held_by(reader) == "outputs of another stack"
    typed = {"name": "Shop", "project_root": "mine"}
    refused = member.post("/stacks/shop/edit/", typed)
    assert "This stack holds outputs of another stack" in errors(refused, "project_root")


def test_no_stack_is_granted_its_own_state_or_twice(owner: Stack, reader: Stack) -> None:
    grant(owner, reader)
    for one in (owner, reader):
        with pytest.raises(IntegrityError), transaction.atomic():
            grant(owner, one)
