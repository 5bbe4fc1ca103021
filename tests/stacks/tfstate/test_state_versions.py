"""Comparing two versions of a state, and restoring one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.audit.records import Verb, entries
from stacks.execution.progress import end
from stacks.lifecycle.basis import why_state_refuses
from stacks.models import Run, Stack, StackVariable, StateVersion
from stacks.rules.states import Kind, State
from stacks.tfstate.files import InvalidState
from stacks.tfstate.restoring import with_serial
from tests.builders import make_lock, make_run, make_state_version

VERSIONS = "/stacks/network/state/versions/"
COMPARE = "/stacks/network/state/compare/"
A = {"type": "get_attr", "value": "a"}
RESTORE = f"{VERSIONS}1/restore/"


def state(serial: int, *resources: dict[str, Any], **more: Any) -> bytes:
    content = {"version": 4, "serial": serial, "lineage": "a", "resources": resources}
    return json.dumps(content | more).encode()


def resource(name: str, attributes: Any, **instance: Any) -> dict[str, Any]:
    one = {"attributes": attributes} | instance
    return {"mode": "managed", "type": "t", "name": name, "instances": [one]}


def words(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def said(response: Any) -> list[str]:
    return [str(one) for one in response.context["messages"]]


@pytest.fixture
def run(stack: Stack) -> Run:
    return make_run(stack, 1, state=State.FINISHED)


def compare(client: Client, old: Any = 1, new: Any = 2, **more: Any) -> str:
    return words(client.get(COMPARE, {"old": old, "new": new} | more))


# Comparing


def test_two_versions_are_compared_resource_by_resource(admin: Client, run: Run) -> None:
    gone = resource("gone", {"id": "1"})
    moved = {"module": "module.m"} | resource("inner", {"id": "2"}, index_key="k")
    make_state_version(
        run, 1, state(1, gone, moved, resource("same", {"id": "3"}), resource("b", {"size": 1}))
    )
    outputs = {
        "url": {"value": "<b>", "type": "string"},
        "key": {"value": "hush", "sensitive": True},
    }
    make_state_version(
        run, 2, state(2, resource("same", {"id": "3"}), resource("b", {"size": 2}), outputs=outputs)
    )
    page = compare(admin)
    for shown in (
        "2 added", "1 changed", "2 removed", "<code>t.gone</code>", "<code>output url</code>",
        '<code>module.m.t.inner[&quot;k&quot;]</code>', "&quot;&lt;b&gt;&quot;", "(sensitive)",
    ):  # fmt: skip
        assert shown in page, shown
    assert "t.same" not in page and "hush" not in page
    assert (
        '<code class="value">1</code></td> <td data-label="New"><code class="value">2</code>'
        in page
    )
    assert "No resource and no output differs." in compare(admin, 2, 2)
    (entry, *_) = entries().filter(verb=Verb.STATE_COMPARED)
    assert entry.note == "Version 2 with Version 2"


@pytest.mark.parametrize(
    "paths",
    [
        [[A]],
        [[A, {"type": "index", "value": {"value": "b", "type": "string"}}]],
        [[A, {"type": "index", "value": {"value": 0, "type": "number"}}]],
        [[A, {"type": "index", "value": {"value": {"c": 1}}}]],
        [[{"nonsense": 1}]],
        [[]],
        ["nonsense"],
    ],
)  # fmt: skip
def test_what_is_sensitive_in_one_version_is_hidden_in_both(
    admin: Client, run: Run, paths: Any
) -> None:
    make_state_version(
        run, 1, state(1, resource("r", {"a": {"b": "old-hush"}, "copy": "old-hush"}))
    )
    new = resource("r", {"a": {"b": "new-hush"}, "copy": "old-hush"}, sensitive_attributes=paths)
    make_state_version(run, 2, state(2, new))
    page = compare(admin)
    assert "(sensitive)" in page
    assert "old-hush" not in page and "new-hush" not in page


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense", b"[]", b"{}", b'{"resources": {"a": 1}}',
        b'{"resources": [1, {"instances": 2}]}',
        b'{"resources": [{"instances": [3, {"attributes": [1], "sensitive_attributes": {}}]}]}',
        b'{"outputs": {"a": 1}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_whatever_a_version_holds_it_is_compared(admin: Client, run: Run, content: bytes) -> None:
    make_state_version(run, 1, content)
    make_state_version(run, 2, state(2, resource("r", {"a": 1})))
    make_state_version(run, 3, is_deletion=True)
    assert "1 added" in compare(admin)
    assert "removed" in compare(admin, 2, 1)
    assert "1 removed" in compare(admin, 2, 3)


def test_many_differences_are_on_pages(admin: Client, run: Run) -> None:
    make_state_version(run, 1, state(1))
    many = [resource(f"r{n:03}", {f"a{m}": m for m in range(120)}) for n in range(60)]
    make_state_version(run, 2, state(2, *many))
    first, second = compare(admin), compare(admin, after=50)
    assert "t.r049<" in first and "t.r050<" not in first
    assert "after=50" in first and "20 more differences are not shown." in first
    assert "t.r059<" in second and "after=" not in second
    assert "There is no more." in compare(admin, after="9" * 18)


def test_only_admins_compare(member: Client, admin: Client, run: Run) -> None:
    make_state_version(run, 1)
    make_state_version(run, 2)
    link = f'href="{COMPARE}?old=1&amp;new=2"'
    assert link in words(admin.get(VERSIONS)) and link not in words(member.get(VERSIONS))
    assert member.get(COMPARE, {"old": 1, "new": 2}).status_code == 403
    assert not entries().filter(verb=Verb.STATE_COMPARED).exists()


@pytest.mark.parametrize("number", ["", "x", "-1", "9", "9" * 30, "1.5"])
def test_a_version_that_is_not_there_is_said(admin: Client, run: Run, number: str) -> None:
    make_state_version(run, 1)
    page = admin.get(COMPARE, {"old": number, "new": "1"})
    assert page.status_code == 200 and page.context["form"].errors["old"]
    assert not entries().exists()


def test_with_another_key_a_comparison_says_what_to_do(
    admin: Client, run: Run, settings: Settings
) -> None:
    make_state_version(run, 1)
    settings.FIELD_ENCRYPTION_KEY = "another key altogether"
    [message] = said(admin.get(COMPARE, {"old": 1, "new": 1}, follow=True))
    assert message.startswith("The stored state can't be decrypted.")


# Restoring


@pytest.fixture
def two(run: Run) -> Run:
    """A run with two versions of the state; the first has one resource."""
    make_state_version(run, 1, state(5, resource("r", {"a": 1})), serial=5, resources=1)
    make_state_version(run, 2, state(8), serial=8)
    return run


def test_an_admin_restores_a_version_with_a_higher_serial(
    admin: Client, member: Client, two: Run, stack: Stack
) -> None:
    assert f'href="{RESTORE}"' in words(admin.get(VERSIONS))
    assert f'href="{RESTORE}"' not in words(member.get(VERSIONS))
    assert f'href="{VERSIONS}2/restore/"' not in words(admin.get(VERSIONS))
    assert member.post(RESTORE, {"name": "Network"}).status_code == 403
    assert "Type Network to confirm." in words(admin.get(RESTORE))
    planned = make_run(stack, 2, state=State.FINISHED, state_version=2)
    drift = {"kind": Kind.DRIFT, "plan_started_at": timezone.now(), "state_version": 2}
    found = make_run(stack, 3, state=State.FINISHED, **drift)
    comparing = make_run(stack, 4, state=State.PLANNING, **drift)
    Stack.objects.update(drift_run=found)
    answer = admin.post(RESTORE, {"name": "Network"}, follow=True)
    assert said(answer) == ["Version 1 of the state of Network was restored"]
    restored = stack.state_versions.first()
    assert restored
    assert (restored.number, restored.serial, restored.lineage) == (3, 9, "a")
    assert (restored.uploaded_by, restored.restored_from, restored.resources) == ("alice", 1, 1)
    assert json.loads(restored.read()) == json.loads(state(9, resource("r", {"a": 1})))
    assert "Restored from version 1 by alice" in words(member.get(VERSIONS))
    (entry,) = entries().filter(verb=Verb.STATE_RESTORED)
    assert entry.note == "Version 1 as Version 3: lineage a, serial 9"
    assert why_state_refuses(planned).startswith("The state changed since this plan was made")
    # Drift was found in another state, before or meanwhile.
    assert Stack.objects.get().drift_run is None
    end(comparing, State.FINISHED, drifted=2)
    assert Stack.objects.get().drift_run is None


@pytest.mark.parametrize("name", ["", "network", "Network2", "NETWORK"])
def test_the_name_has_to_be_typed(admin: Client, two: Run, name: str) -> None:
    answer = admin.post(RESTORE, {"name": name})
    assert answer.context["form"].errors["name"]
    assert StateVersion.objects.count() == 2
    assert not entries().exists()


def _holds(run: Run) -> None:
    Run.objects.update(state=State.UNCONFIRMED)


def _locks(run: Run) -> None:
    make_lock(run)


def _has_own_backend(run: Run) -> None:
    Stack.objects.update(backend="own")


def _is_newest(run: Run) -> None:
    StateVersion.objects.filter(number=2).delete()


def _is_deletion(run: Run) -> None:
    StateVersion.objects.filter(number=1).update(is_deletion=True)


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (_holds, "Run 1 needs confirmation and started with another state."),
        (_locks, "Run 1 has locked the state."),
        (_has_own_backend, "The backend in the code keeps the state"),
        (_is_newest, "Version 1 is the newest version already."),
        (_is_deletion, "That version is a deletion and has no content."),
    ],
)
def test_a_version_is_restored_only_where_nothing_else_writes(
    admin: Client, two: Run, happen: Callable[[Run], None], reason: str
) -> None:
    happen(two)
    before = StateVersion.objects.count()
    for answer in (
        admin.get(RESTORE, follow=True),
        admin.post(RESTORE, {"name": "Network"}, follow=True),
    ):
        [message] = said(answer)
        assert message.startswith(reason)
    assert StateVersion.objects.count() == before
    assert not entries().exists()


def test_whoever_restores_confirms_where_the_state_is_sent(
    admin: Client, two: Run, stack: Stack
) -> None:
    StackVariable.objects.create(stack=stack, name="ARM_TENANT_ID", value="elsewhere")
    answer = admin.post(RESTORE, {"name": "Network"})
    assert "ARM_TENANT_ID" in words(answer) and answer.context["confirmation"].errors
    assert StateVersion.objects.count() == 2
    confirmed = {
        "confirmed": "on",
        "destinations": answer.context["confirmation"].destinations.digest,
    }
    admin.post(RESTORE, {"name": "Network"} | confirmed)
    assert StateVersion.objects.count() == 3


def test_a_deleted_state_is_restored(admin: Client, two: Run, stack: Stack) -> None:
    make_state_version(two, 3, is_deletion=True, serial=8)
    admin.post(RESTORE, {"name": "Network"})
    newest = stack.state_versions.first()
    assert newest and (newest.number, newest.serial, newest.is_deletion) == (4, 9, False)


def test_what_is_no_state_is_not_restored(admin: Client, two: Run) -> None:
    make_state_version(two, 3, b'{"serial": 1, "serial": 2, "lineage": "a"}', serial=2)
    make_state_version(two, 4)
    [message] = said(admin.post(f"{VERSIONS}3/restore/", {"name": "Network"}, follow=True))
    assert message == "Version 3 can't be restored. Invalid state: it has several serials."
    assert admin.post(f"{VERSIONS}9/restore/", {"name": "Network"}).status_code == 404


@pytest.mark.parametrize(
    ("content", "serial"),
    [
        ('{"lineage":"a","serial":%s}', "1"),
        (
            ' {\n "x": {"serial": 2}, "serial" : %s ,"lineage": "a", "n": 1.2345678901234567890}\n',
            "12",
        ),
        ('{"a": "\\"serial\\": 3", "serial": %s, "lineage": "é"}', "0"),
    ],
)
def test_a_serial_is_changed_and_nothing_else(content: str, serial: str) -> None:
    assert with_serial((content % serial).encode(), 7).decode() == content % 7


@pytest.mark.parametrize("content", ["{}", "", "[]", '{"a": 1}', '{"a"', '{"serial"', "{" * 5000])
def test_what_has_no_serial_is_refused(content: str) -> None:
    with pytest.raises(InvalidState):
        with_serial(content.encode(), 7)
