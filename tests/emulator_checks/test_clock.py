"""The clock of the emulator: everything that it dates goes by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import requests

from tests.emulator.clock import now
from tests.emulator.pull_requests import PullRequest
from tests.emulator_checks.world import Receiver, World

STATUS = {"state": "pending", "context": {"name": "plan"}}


def is_tomorrow(text: str) -> bool:
    moment = datetime.fromisoformat(text)
    return timedelta(hours=23) < moment - now() < timedelta(hours=25)


def test_it_goes_on_and_moves_ahead_only(world: World) -> None:
    clock = world.emulator.clock
    before = clock.now()
    assert abs(before - datetime.now(UTC)) < timedelta(seconds=5)
    assert clock.move(hours=36) - before >= timedelta(hours=36)
    assert clock.now() > before
    with pytest.raises(ValueError, match="ahead only"):
        clock.move(hours=-1)


def test_it_is_moved_over_http(world: World) -> None:
    url = f"{world.emulator.url}/_emulator/clock"
    moved = requests.post(url, json={"hours": 24}, timeout=9).json()["now"]
    assert is_tomorrow(moved)
    assert requests.get(url, timeout=9).json()["now"] >= moved
    for body in ({"fortnights": 1}, {"hours": -1}, {"hours": 1e300}, {"hours": "many"}):
        assert requests.post(url, json=body, timeout=9).status_code == 400


def test_a_token_ends_by_it(world: World) -> None:
    ends = now() + timedelta(days=30)
    token = world.organization.add_token(expires_on=ends)
    world.emulator.clock.move(days=29)
    assert world.get("_apis/git/repositories", token).status_code == 200
    world.emulator.clock.move(days=2)
    answer = world.get("_apis/git/repositories", token)
    assert answer.status_code == 401
    assert "has%20expired" in answer.headers["X-TFS-ServiceError"]


def test_everything_new_is_dated_by_it(
    world: World, opened: PullRequest, receiver: Receiver
) -> None:
    world.emulator.clock.move(hours=24)
    hook = world.organization.add_subscription(world.project, "git.push", receiver.url)
    sha = world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    assert is_tomorrow(receiver.received[0][1]["createdDate"])
    repository = f"_apis/git/repositories/{world.repository.id}"
    assert is_tomorrow(world.get(f"{repository}/pushes").json()["value"][0]["date"])
    posted = world.call("POST", f"{repository}/commits/{sha}/statuses", json=STATUS).json()
    assert is_tomorrow(posted["creationDate"])
    assert is_tomorrow(world.get(f"{repository}/commits/{sha}").json()["author"]["date"])
    thread = {"comments": [{"content": "hello"}]}
    made = world.call("POST", f"{repository}/pullRequests/{opened.id}/threads", json=thread).json()
    assert is_tomorrow(made["publishedDate"])
    shown = world.get(f"_apis/hooks/subscriptions/{hook.id}").json()
    assert is_tomorrow(shown["createdDate"])
    logged = world.get(f"_apis/hooks/subscriptions/{hook.id}/notifications").json()["value"]
    assert is_tomorrow(logged[0]["createdDate"])


def test_history_is_kept_seven_days(world: World, receiver: Receiver) -> None:
    hook = world.organization.add_subscription(world.project, "git.push", receiver.url)
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    path = f"_apis/hooks/subscriptions/{hook.id}/notifications"
    world.emulator.clock.move(days=6, hours=23)
    assert world.get(path).json()["count"] == 1
    world.emulator.clock.move(hours=2)
    assert world.get(path).json()["count"] == 0
    world.repository.push({"x": "2"})
    world.emulator.wait_for_deliveries()
    assert [one["id"] for one in world.get(path).json()["value"]] == [2]
