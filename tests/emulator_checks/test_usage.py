"""The rate limit: what answers say of it, when they refuse, and who did not wait."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests
from azure.devops.exceptions import AzureDevOpsServiceError

from tests.emulator_checks.world import World, git, with_token

PATH = "_apis/git/repositories"


def call(world: World, times: int) -> list[requests.Response]:
    return [world.get(PATH) for _ in range(times)]


def test_without_a_limit_answers_say_nothing(world: World) -> None:
    assert not any("Retry-After" in one.headers for one in call(world, 30))
    assert world.organization.overruns == 0


def test_the_last_fifth_asks_for_a_pause_and_more_is_refused(world: World) -> None:
    world.organization.limit(calls=10, seconds=300)
    answers = call(world, 12)
    assert [one.status_code for one in answers] == [200] * 10 + [429] * 2
    waits = [one.headers.get("Retry-After") for one in answers]
    assert waits[:8] == [None] * 8
    assert all(text and 295 <= int(text) <= 300 for text in waits[8:])
    remaining = [one.headers["X-RateLimit-Remaining"] for one in answers[8:]]
    assert remaining == ["1", "0", "0", "0"]
    last = answers[-1]
    assert last.headers["X-RateLimit-Limit"] == "10"
    assert 295 <= int(last.headers["X-RateLimit-Reset"]) - time.time() <= 301
    assert last.json()["message"].startswith("TF400733")


def test_the_window_slides(world: World) -> None:
    world.organization.limit(calls=10, seconds=300)
    call(world, 5)
    world.emulator.clock.move(seconds=200)
    call(world, 5)
    assert world.get(PATH).status_code == 429
    world.emulator.clock.move(seconds=101)
    [answer] = call(world, 1)
    assert (answer.status_code, "Retry-After" in answer.headers) == (200, False)
    assert [one.status_code for one in call(world, 5)] == [200] * 4 + [429]


def test_each_person_has_a_limit_and_all_their_tokens_share_it(world: World) -> None:
    world.organization.limit(calls=5)
    other = world.organization.add_token({"vso.code"})
    call(world, 4)
    assert world.get(PATH, other).status_code == 200
    assert world.get(PATH, other).status_code == 429
    bo = world.organization.add_token(user="Bo Builder")
    assert world.get(PATH, bo).status_code == 200
    assert world.get(PATH, "unknown").status_code == 401
    done = git("ls-remote", with_token(world.repository.clone_url, world.token))
    assert "429" in done.stderr


def test_who_waits_as_asked_is_never_refused(world: World) -> None:
    world.organization.limit(calls=10, seconds=100)
    for _ in range(40):
        answer = world.get(PATH)
        assert answer.status_code == 200
        if "Retry-After" in answer.headers:
            world.emulator.clock.move(seconds=float(answer.headers["Retry-After"]))
    assert world.organization.overruns == 0


def test_who_does_not_wait_is_counted(world: World) -> None:
    world.organization.limit(calls=10, seconds=300)
    call(world, 9)
    assert world.organization.overruns == 0
    call(world, 3)  # one answered and two refused
    assert world.organization.overruns == 3
    assert world.organization.pauses == 1
    world.emulator.clock.move(seconds=300)
    call(world, 1)
    assert world.organization.overruns == 3
    assert world.organization.pauses == 1
    call(world, 8)
    assert world.organization.pauses == 2


@pytest.mark.parametrize("fault", ["throttled", "delayed", "unavailable"])
def test_a_pause_that_a_fault_asked_for_counts_as_well(world: World, fault: str) -> None:
    world.emulator.faults.add(fault, times=2, seconds=7)
    call(world, 2)
    assert world.organization.overruns == 1
    world.emulator.clock.move(seconds=7)
    call(world, 1)
    assert world.organization.overruns == 1


def test_the_sdk_understands_the_refusal(world: World, sdk: Any) -> None:
    client = sdk.get_git_client()
    client.get_repositories()
    world.organization.limit(calls=0, seconds=1)
    body = {"state": "pending", "context": {"name": "plan"}}
    with pytest.raises(AzureDevOpsServiceError, match="TF400733"):
        client.create_commit_status(body, world.repository.tip(), world.repository.id)
