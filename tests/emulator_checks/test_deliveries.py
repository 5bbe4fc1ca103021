"""A test decides which deliveries of the emulator arrive, in which order and how often."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from tests.emulator_checks.world import FILES, Receiver, World


def pushes(received: list[tuple[dict[str, str], dict[str, Any]]]) -> list[int]:
    """Return the ids of the pushes that arrived, in their order."""
    return [event["resource"]["pushId"] for _, event in received]


@pytest.fixture
def held(world: World, receiver: Receiver) -> list[int]:
    """The ids of four pushes whose deliveries are held back."""
    world.organization.add_subscription(world.project, "git.push", receiver.url, password="s3cret")
    world.emulator.deliveries.hold()
    for number in range(4):
        world.repository.push({"x": str(number)})
    return [push.id for push in world.repository.pushes[1:]]


def test_nothing_arrives_before_it_is_released(
    world: World, receiver: Receiver, held: list[int]
) -> None:
    world.emulator.wait_for_deliveries()
    assert receiver.received == []
    deliveries = world.emulator.deliveries
    assert [one.event["resource"]["pushId"] for one in deliveries.held()] == held
    deliveries.release(1)
    assert pushes(receiver.received) == [held[1]]
    deliveries.release([2, 0])
    assert pushes(receiver.received) == [held[1], held[3], held[0]]
    deliveries.resume()
    assert pushes(receiver.received) == [held[1], held[3], held[0], held[2]]
    world.repository.push({"x": "last"})
    world.emulator.wait_for_deliveries()
    assert len(receiver.received) == 5
    assert all(one.result == "succeeded" for one in world.organization.notifications)


def test_a_doubled_delivery_is_a_retry_and_a_dropped_one_is_gone(
    world: World, receiver: Receiver, held: list[int]
) -> None:
    deliveries = world.emulator.deliveries
    deliveries.drop([1, 3])
    deliveries.release([1, 0, 1])
    assert pushes(receiver.received) == [held[2], held[0], held[2]]
    first, _, again = (event for _, event in receiver.received)
    assert first == again
    assert deliveries.held() == []


def test_overlapping_subscriptions_send_a_push_twice(world: World, receiver: Receiver) -> None:
    for inputs in ({}, {"repository": world.repository.id}):
        world.organization.add_subscription(
            world.project, "git.push", receiver.url, publisher_inputs=inputs
        )
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    events = [event for _, event in receiver.received]
    assert len({one["subscriptionId"] for one in events}) == 2
    assert {one["notificationId"] for one in events} == {1}
    assert len({one["id"] for one in events}) == 1


def test_a_seed_gives_one_order(world: World, held: list[int]) -> None:
    deliveries = world.emulator.deliveries
    everything = set(range(len(held)))
    assert deliveries.shuffled(7) == deliveries.shuffled(7)
    assert len({tuple(deliveries.shuffled(seed)) for seed in range(20)}) > 5
    assert sorted(deliveries.shuffled(7)) == sorted(everything)
    assert deliveries.shuffled(7, drop=1) == []
    assert sorted(deliveries.shuffled(7, double=1)) == sorted([*everything, *everything])
    some = deliveries.shuffled(3, drop=0.5, double=0.5)
    assert set(some) < everything


def test_requests_are_taken_as_bytes_without_a_server(
    world: World, receiver: Receiver, held: list[int]
) -> None:
    taken = world.emulator.deliveries.take([3, 3])
    assert receiver.received == []
    first, again = taken
    assert first.url == receiver.url
    assert first.body == again.body
    assert json.loads(first.body)["resource"]["pushId"] == held[3]
    expected = base64.b64encode(b":s3cret").decode()
    assert first.headers["Authorization"] == f"Basic {expected}"
    assert first.headers["Content-Type"] == "application/json; charset=utf-8"
    [received] = world.emulator.deliveries.take(0)
    world.emulator.deliveries.release(0)
    assert receiver.received[0][1]["resource"]["pushId"] == held[1]
    assert json.loads(received.body)["resource"]["pushId"] == held[0]


def test_an_index_beyond_what_is_held_changes_nothing(world: World, held: list[int]) -> None:
    with pytest.raises(IndexError):
        world.emulator.deliveries.release([0, 4])
    assert len(world.emulator.deliveries.held()) == 4


def test_a_released_delivery_is_retried_like_any_other(
    world: World, receiver: Receiver, held: list[int]
) -> None:
    receiver.answers = [503]
    world.emulator.deliveries.release(0)
    world.emulator.wait_for_deliveries()
    assert pushes(receiver.received) == [held[0], held[0]]


def test_a_thousand_pushes_take_less_than_a_minute(world: World) -> None:
    world.organization.add_subscription(world.project, "git.push", "http://127.0.0.1:9/")
    world.emulator.deliveries.hold()
    started = time.monotonic()
    for number in range(200):
        world.repository.push({f"folder/{number % 20}.tf": str(number)}, f"branch-{number % 5}")
    assert len(world.emulator.deliveries.take()) == 200
    assert time.monotonic() - started < 12


def test_requests_are_counted_by_route(world: World) -> None:
    emulator, key = world.emulator, world.repository.id
    for _ in range(3):
        world.get(f"_apis/git/repositories/{key}/pushes")
    world.get(f"Platform%20Team/_apis/git/Repositories/{key}/pushes?$top=1")
    world.get(f"_apis/git/repositories/{key}/pullrequests")
    world.get("_apis/nonsense")
    emulator.faults.add("throttled", path="refs", times=1, seconds=1)
    world.get(f"_apis/git/repositories/{key}/refs")
    assert emulator.request_counts() == {
        "GET git/repositories/{repository}/pushes": 4,
        "GET git/repositories/{repository}/pullrequests": 1,
        "GET git/repositories/{repository}/refs[/{*filter}]": 1,
        "GET nonsense": 1,
    }
    emulator.reset_requests()
    assert emulator.request_counts() == {}
    assert emulator.requests == []


def test_renames_keep_ids(world: World, receiver: Receiver) -> None:
    world.organization.add_subscription(world.project, "git.push", receiver.url)
    ids = (world.organization.id, world.project.id, world.repository.id)
    world.repository.rename("network")
    world.project.rename("Core")
    old = world.organization.url
    world.organization.rename("Contoso")
    assert old != world.organization.url
    shown = world.get("Core/_apis/git/repositories/network").json()
    assert (shown["id"], shown["project"]["id"]) == (ids[2], ids[1])
    assert shown["remoteUrl"].endswith("/Contoso/Core/_git/network")
    assert world.get("_apis/connectionData?api-version=7.1-preview").json()["instanceId"] == ids[0]
    assert world.get(f"_apis/git/repositories/{ids[2]}").json()["name"] == "network"
    assert world.get("Platform%20Team/_apis/git/repositories/network").status_code == 404
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    resource = receiver.received[0][1]["resource"]
    assert (resource["repository"]["name"], resource["repository"]["id"]) == ("network", ids[2])
    assert receiver.received[0][1]["resourceContainers"]["collection"]["id"] == ids[0]
    assert FILES["main.tf"] == world.repository.git.run("show", "HEAD:main.tf").decode()
