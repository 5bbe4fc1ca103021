"""The page of a stack's state: its versions, their contents, and the lock."""

import pytest
from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from stacks.models import Run, Stack, StateContent, StateLock, StateVersion
from stacks.states import State
from tests.addresses import make_lock, make_run, make_state_version

VERSIONS = "/stacks/network/state/versions/"
UNLOCK = "/stacks/network/state/unlock/"


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
    assert "The backend that the code names keeps the state" in page
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
    admin: Client, run: Run
) -> None:
    make_state_version(run, 1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE stacks_statecontent SET packed = %s", [b"of another key"])
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
    assert f'href="{UNLOCK}"' not in page


def test_the_lock_of_a_run_that_goes_on_is_not_taken_away(admin: Client, run: Run) -> None:
    make_lock(run)
    for response in (admin.get(UNLOCK, follow=True), admin.post(UNLOCK, follow=True)):
        [said] = [str(one) for one in response.context["messages"]]
        assert said == "Run 1 is still applying, and needs its lock"
    assert StateLock.objects.exists()


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
    admin.post(UNLOCK, {"lock_id": "another one, that was seen before"})
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


# Deleting


def test_deleting_a_stack_says_what_becomes_of_its_state(
    admin: Client, member: Client, run: Run
) -> None:
    path = "/stacks/network/delete/"
    assert "Its state is deleted" not in words(member, path)
    make_state_version(run, 1, resources=2)
    assert "It is the only record of 2 resources that stay behind." in words(member, path)
    assert "Have an admin download the newest version" in words(member, path)
    assert "Download the newest version" in words(admin, path)
    Run.objects.update(state=State.FINISHED)
    member.post(path)
    assert not StateVersion.objects.exists() and not StateContent.objects.exists()
