"""The delivery log of a subscription, as a client reads it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.emulator.model import Subscription
from tests.emulator_checks.world import Receiver, World


@pytest.fixture
def hook(world: World, receiver: Receiver) -> Subscription:
    return world.organization.add_subscription(world.project, "git.push", receiver.url)


@pytest.fixture
def log(sdk: Any, hook: Subscription) -> Callable[..., list[Any]]:
    """Read the log of the subscription by Microsoft's client."""
    client = sdk.get_service_hooks_client()

    def read(**filters: str) -> list[Any]:
        found: list[Any] = client.get_notifications(hook.id, **filters)
        return found

    return read


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Where one is listened to and never answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_client_sees_each_leg_of_a_delivery(
    world: World, hook: Subscription, log: Callable[..., list[Any]], silent_url: str
) -> None:
    deliveries = world.emulator.deliveries
    deliveries.timeout = 2
    hook.edit(url=silent_url)
    deliveries.hold()
    world.repository.push({"x": "1"})
    [queued] = log(status="queued")
    assert (queued.result, queued.details.request_attempts) == ("pending", 0)
    assert (queued.details.dequeued_date, queued.details.completed_date) == (None, None)
    deliveries.drop()
    deliveries.resume()
    world.repository.push({"x": "2"})
    deadline = time.monotonic() + 1.5
    while not (sending := log(status="requestInProgress")) and time.monotonic() < deadline:
        time.sleep(0.02)
    [sending] = sending
    assert (sending.id, sending.result, sending.details.request_attempts) == (2, "pending", 1)
    assert sending.details.dequeued_date >= sending.details.queued_date
    world.emulator.wait_for_deliveries()
    [failed] = log(status="completed", result="failed")
    assert failed.details.error_message == "The operation has timed out."
    assert failed.details.completed_date > failed.details.dequeued_date
    assert failed.details.request_duration == pytest.approx(2, abs=1)
    assert failed.details.publisher_inputs["projectId"] == world.project.id


def test_an_answer_stands_in_the_log(
    world: World, receiver: Receiver, log: Callable[..., list[Any]]
) -> None:
    receiver.answers = [503, 401]
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    [failed] = log()
    assert (failed.result, failed.details.request_attempts) == ("failed", 2)
    assert failed.details.response == "Status Code: 401\n\nseen\n"
    assert failed.details.error_message == "Unauthorized (401)"
    world.emulator.clock.move(minutes=21)
    [retried] = log()
    assert (retried.id, retried.result) == (failed.id, "succeeded")
    assert retried.details.request_attempts == 3
    assert retried.details.error_message == ""
    assert retried.details.response.startswith("Status Code: 200")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://nowhere.invalid/", "The remote name could not be resolved: 'nowhere.invalid'"),
        ("http://127.0.0.1:9/", "the target machine actively refused it 127.0.0.1:9"),
        ("https", "The SSL connection could not be established"),
    ],
)
def test_a_request_without_answer_says_why(
    world: World,
    hook: Subscription,
    receiver: Receiver,
    log: Callable[..., list[Any]],
    url: str,
    words: str,
) -> None:
    hook.edit(url=receiver.url.replace("http:", "https:") if url == "https" else url)
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    [failed] = log()
    assert (failed.result, failed.details.response) == ("failed", "")
    assert words in failed.details.error_message
    assert failed.details.error_detail
    assert hook.status == "onProbation"
