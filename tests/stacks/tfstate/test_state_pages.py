"""The page of a stack's state: its versions, their contents, and the lock."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.audit.records import Verb, entries
from accounts.models import User
from accounts.roles import Role
from stacks.models import (
    Run,
    Stack,
    StateContent,
    StateLock,
    StateUpload,
    StateVersion,
    prune_uploads,
)
from stacks.rules.states import State
from tests.builders import make_lock, make_run, make_state_version
from tests.conftest import make_person, signed_in

VERSIONS = "/stacks/network/state/versions/"
UNLOCK = "/stacks/network/state/unlock/"
UPLOAD = "/stacks/network/state/upload/"
CONFIRM = f"{UPLOAD}confirm/"


def words(client: Client, path: str) -> str:
    return " ".join(client.get(path).content.decode().split())


@pytest.fixture
def run(stack: Stack) -> Run:
    return make_run(stack, 1, state=State.APPLYING)


def test_before_the_first_version_the_page_says_how_one_comes(member: Client, stack: Stack) -> None:
    assert "No state yet. The first run that applies stores it here" in words(member, VERSIONS)
    assert f'href="{VERSIONS}"' in words(member, "/stacks/network/")
    Stack.objects.update(backend="own")
    page = words(member, VERSIONS)
    assert "No state is stored here." in page
    assert "The backend in the code keeps the state" in page
    assert "These versions are no longer used." not in page
    assert member.get("/stacks/nothing/state/versions/").status_code == 404


def test_the_page_lists_every_version_newest_first(
    member: Client, run: Run, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(1, 33):
        make_state_version(run, number, resources=number * 100, tool_version="1.11.4")
    member.get(VERSIONS)
    with django_assert_max_num_queries(7):
        page = words(member, VERSIONS)
    assert page.count("Newest</span>") == 1
    assert page.index("serial 32<") < page.index("serial 31<")
    assert "3200" in page and "tool 1.11.4" in page
    assert f'href="{run.get_absolute_url()}"' in page
    assert "serial 2<" not in page
    older = words(member, f"{VERSIONS}?before=3")
    assert "serial 2<" in older
    assert "Newest</span>" not in older


def test_only_admins_get_the_content_of_a_version(admin: Client, member: Client, run: Run) -> None:
    make_state_version(run, 1)
    assert f'href="{VERSIONS}1/"' in words(admin, VERSIONS)
    assert f'href="{VERSIONS}1/"' not in words(member, VERSIONS)
    assert member.get(f"{VERSIONS}1/").status_code == 403
    answer = admin.get(f"{VERSIONS}1/")
    assert answer.content == b'{"version": 4}'
    assert answer["Content-Disposition"] == 'attachment; filename="network-1.tfstate"'
    assert "no-store" in answer["Cache-Control"]
    assert admin.get(f"{VERSIONS}2/").status_code == 404


def test_a_deletion_is_a_version_without_content(admin: Client, run: Run) -> None:
    make_state_version(run, 1, is_deletion=True)
    assert "state deleted" in words(admin, VERSIONS)
    assert f'href="{VERSIONS}1/"' not in words(admin, VERSIONS)
    assert admin.get(f"{VERSIONS}1/").status_code == 404


def test_with_another_key_the_page_works_and_a_download_says_what_to_do(
    admin: Client, run: Run, settings: Settings
) -> None:
    make_state_version(run, 1)
    settings.FIELD_ENCRYPTION_KEY = "another key altogether"
    assert "serial 1<" in words(admin, VERSIONS)
    response = admin.get(f"{VERSIONS}1/", follow=True)
    [said] = [str(one) for one in response.context["messages"]]
    assert said.startswith("The stored state can't be decrypted. Start Stackhook with the FIELD")


# The lock


def test_a_lock_is_shown_with_who_holds_it(admin: Client, run: Run) -> None:
    assert "Locked</strong>" not in words(admin, VERSIONS)
    make_lock(run)
    page = words(admin, VERSIONS)
    assert "Locked</strong>" in page and ">run 1</a>, which is applying." in page
    assert f'href="{UNLOCK}"' in page


@pytest.mark.parametrize(
    ("taken_while", "warning"),
    [
        (State.APPLYING, "is still applying. Unlock only if it hangs"),
        (State.PLANNING, "is still planning. Once unlocked, the state may change"),
    ],
)
def test_an_admin_unlocks_the_state_while_its_run_goes_on(
    admin: Client, member: Client, run: Run, taken_while: State, warning: str
) -> None:
    lock = make_lock(run)
    Run.objects.update(state=taken_while)
    StateLock.objects.update(taken_while=taken_while)
    page = words(admin, UNLOCK)
    assert ">Run 1</a> locked it" in page and warning in page
    assert member.post(UNLOCK, {"lock_id": lock.lock_id}).status_code == 403
    assert StateLock.objects.exists()
    admin.post(UNLOCK, {"lock_id": lock.lock_id})
    assert not StateLock.objects.exists()
    (entry,) = entries().filter(verb=Verb.STATE_UNLOCKED)
    assert entry.note == f"Run 1 held the lock and was {taken_while}"


def test_an_admin_unlocks_what_a_broken_off_run_left(
    admin: Client, member: Client, run: Run
) -> None:
    lock = make_lock(run)
    Run.objects.update(state=State.FAILED)
    for client, offered in ((member, False), (admin, True)):
        page = words(client, VERSIONS)
        assert "The state is still locked." in page
        assert (f'href="{UNLOCK}"' in page) == offered
    assert "Unlock the state?" in words(admin, UNLOCK)
    shown = admin.post(UNLOCK, {"lock_id": "another one, that was seen before"}, follow=True)
    assert "Unlock the state?" in shown.content.decode()
    assert "The lock has changed. Nothing was unlocked." in shown.content.decode()
    assert StateLock.objects.exists()
    response = admin.post(UNLOCK, {"lock_id": lock.lock_id}, follow=True)
    assert not StateLock.objects.exists()
    assert [str(one) for one in response.context["messages"]] == [
        "The state of Network was unlocked"
    ]
    assert admin.post(UNLOCK, {"lock_id": lock.lock_id}).status_code == 302


def test_a_lock_of_a_planning_that_is_over_is_none(admin: Client, run: Run) -> None:
    make_lock(run)
    StateLock.objects.update(taken_while=State.PLANNING)
    assert "ocked" not in words(admin, VERSIONS).split("<main")[1]
    assert admin.get(UNLOCK)["Location"] == VERSIONS


# Uploading

STATE: dict[str, Any] = {
    "version": 4,
    "terraform_version": "1.11.4",
    "serial": 7,
    "lineage": "3f0c7f0b-7d4c",
    "outputs": {"password": {"value": "of a resource", "type": "string"}},
    "resources": [
        {"mode": "managed", "instances": [{}, {}]},
        {"mode": "data", "instances": [{}]},
    ],
}


def upload(client: Client, content: object = STATE) -> Any:
    """Choose a file and send it; return the page that answers."""
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    file = SimpleUploadedFile("terraform.tfstate", data)
    return client.post(UPLOAD, {"state": file}, follow=True)


def digest_of(response: Any) -> str:
    found = re.search(r'name="digest" value="(\w+)"', response.content.decode())
    assert found
    return found[1]


def said(response: Any) -> list[str]:
    return [str(one) for one in response.context["messages"]]


def test_an_admin_uploads_a_first_state_and_confirms_what_it_says(
    admin: Client, member: Client, stack: Stack
) -> None:
    assert f'href="{UPLOAD}"' in words(admin, VERSIONS)
    assert f'href="{UPLOAD}"' not in words(member, VERSIONS)
    assert member.get(UPLOAD).status_code == 403
    assert upload(member).status_code == 403
    assert 'type="file"' in words(admin, UPLOAD)

    shown = upload(admin)
    page = " ".join(shown.content.decode().split())
    for fact in ("3f0c7f0b-7d4c", "<dd>7</dd>", "<dd>2</dd>", "tool 1.11.4"):
        assert fact in page
    assert "of a resource" not in page
    assert not StateVersion.objects.exists()

    answer = admin.post(CONFIRM, {"digest": digest_of(shown)}, follow=True)
    assert said(answer) == ["The state of Network was uploaded"]
    version = stack.state_versions.get()
    assert (version.number, version.serial, version.resources) == (1, 7, 2)
    assert (version.run, version.uploaded_by) == (None, "alice")
    assert json.loads(version.read()) == STATE
    assert not StateUpload.objects.exists()
    page = words(member, VERSIONS)
    assert "Uploaded by alice" in page and f'href="{UPLOAD}"' not in page


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "The file is empty."),
        (b"nonsense", "Invalid state: expected JSON."),
        (b"\xff\xfe\x00", "Invalid state: expected JSON."),
        (b"[" * 100_000, "Invalid state: expected JSON."),
        (b'{"serial": NaN}', "Invalid state: expected JSON."),
        ([STATE], "Invalid state: expected a JSON object."),
        (STATE | {"version": 3}, "Invalid state: expected version 4 of the format"),
        ({"serial": 7, "lineage": "a"}, "Invalid state: expected version 4 of the format"),
        (STATE | {"serial": "7"}, "Invalid state: expected a serial"),
        (STATE | {"serial": -1}, "Invalid state: expected a serial"),
        (STATE | {"lineage": ""}, "Invalid state: expected a lineage."),
        (STATE | {"lineage": "a\0"}, "Invalid state: expected a lineage."),
        (STATE | {"resources": {}}, "Invalid state: expected a list of resources."),
        ({"serial": 7, "lineage": "a", "encrypted_data": "x"}, "OpenTofu encrypted this state."),
    ],
)
def test_what_is_no_state_is_not_uploaded(
    admin: Client, stack: Stack, content: object, reason: str
) -> None:
    answer = upload(admin, content)
    assert answer.status_code == 200
    assert [one.partition(reason)[0] for one in answer.context["form"].errors["state"]] == [""]
    assert not StateUpload.objects.exists()


def test_a_form_without_a_file_says_so(admin: Client, stack: Stack) -> None:
    for answer in (admin.post(UPLOAD), admin.post(UPLOAD, {"state": "{}"})):
        assert answer.context["form"].errors["state"] == ["Choose a file."]


def test_a_state_that_is_too_large_is_refused(
    admin: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stacks.tfstate.uploads.LARGEST_STATE", 1000)
    for size in (2000, 100_000):  # as a file, and as a whole request
        answer = upload(admin, b" " * size)
        assert answer.context["form"].errors["state"] == ["A state has at most 64 MB."]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_state_in_another_encoding_is_stored_in_utf_8(
    admin: Client, stack: Stack, encoding: str
) -> None:
    shown = upload(admin, json.dumps(STATE).encode(encoding))
    admin.post(CONFIRM, {"digest": digest_of(shown)})
    assert stack.state_versions.get().read() == json.dumps(STATE).encode()


def test_only_the_file_that_was_shown_is_confirmed(admin: Client, stack: Stack) -> None:
    earlier = digest_of(upload(admin))
    shown = upload(admin, STATE | {"serial": 8})
    answer = admin.post(CONFIRM, {"digest": earlier})
    assert digest_of(answer) == digest_of(shown)
    assert signed_in(make_person("erin", Role.ADMIN)).get(CONFIRM)["Location"] == UPLOAD
    assert admin.post(CONFIRM, {"cancel": "1", "digest": digest_of(shown)}).status_code == 302
    assert not StateUpload.objects.exists() and not StateVersion.objects.exists()
    assert admin.post(CONFIRM, {"digest": earlier})["Location"] == UPLOAD


def test_a_state_follows_a_deletion(admin: Client, run: Run, stack: Stack) -> None:
    Run.objects.update(state=State.FINISHED)
    make_state_version(run, 1, is_deletion=True)
    assert f'href="{UPLOAD}"' in words(admin, VERSIONS)
    admin.post(CONFIRM, {"digest": digest_of(upload(admin))})
    assert [one.number for one in stack.state_versions.all()] == [2, 1]


def _holds(run: Run) -> None:
    Run.objects.update(state=State.UNCONFIRMED)


def _locks(run: Run) -> None:
    Run.objects.update(state=State.FAILED)
    make_lock(run)


def _has_state(run: Run) -> None:
    make_state_version(run, 1)


def _has_own_backend(run: Run) -> None:
    Stack.objects.update(backend="own")


@pytest.mark.parametrize(
    ("happen", "reason"),
    [
        (_holds, "Run 1 needs confirmation and started with another state."),
        (_locks, "Run 1 has locked the state."),
        (_has_state, "Stackhook holds a state of this stack already"),
        (_has_own_backend, "The backend in the code keeps the state"),
    ],
)
def test_a_state_is_uploaded_only_where_nothing_else_writes_one(
    admin: Client, run: Run, happen: Callable[[Run], None], reason: str
) -> None:
    Run.objects.update(state=State.FINISHED)
    digest = digest_of(upload(admin))
    happen(run)
    before = StateVersion.objects.count()
    confirmed = admin.post(CONFIRM, {"digest": digest}, follow=True)
    for answer in (confirmed, upload(admin), admin.get(UPLOAD, follow=True)):
        [message] = said(answer)
        assert message.startswith(reason)
    assert StateVersion.objects.count() == before


def test_an_upload_needs_the_token_of_its_form(alice: User, stack: Stack) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    file = SimpleUploadedFile("a", json.dumps(STATE).encode())
    assert client.post(UPLOAD, {"state": file}, secure=True).status_code == 403
    assert not StateUpload.objects.exists()


def test_an_uploaded_file_is_on_no_disk(admin: Client, stack: Stack) -> None:
    padded = json.dumps(STATE).encode() + b" " * 4_000_000
    with mock.patch("tempfile.NamedTemporaryFile", side_effect=AssertionError("a file was made")):
        assert digest_of(upload(admin, padded))


def test_what_nobody_confirms_is_removed(admin: Client, stack: Stack) -> None:
    upload(admin)
    prune_uploads()
    assert StateUpload.objects.exists()
    StateUpload.objects.update(uploaded_at=timezone.now() - timedelta(hours=2))
    prune_uploads()
    assert not StateUpload.objects.exists()


def test_an_upload_that_was_stored_with_another_key_is_uploaded_again(
    admin: Client, stack: Stack
) -> None:
    upload(admin)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE stacks_stateupload SET packed = %s", [b"of another key"])
    [message] = said(admin.get(CONFIRM, follow=True))
    assert message.startswith("The uploaded state can't be decrypted.")
    assert digest_of(upload(admin))


# Deleting


def test_deleting_a_stack_says_what_becomes_of_its_state(
    admin: Client, member: Client, bob: User, run: Run
) -> None:
    path = "/stacks/network/delete/"
    Stack.objects.update(owner=bob)
    assert "Its state is deleted" not in words(member, path)
    make_state_version(run, 1, resources=2)
    assert "It is the only record of 2 resources that stay behind." in words(member, path)
    assert "Have an admin download the newest version" in words(member, path)
    assert "Download the newest version" in words(admin, path)
    Run.objects.update(state=State.FINISHED)
    member.post(path, {"stack_name": "Network"})
    assert not StateVersion.objects.exists() and not StateContent.objects.exists()
