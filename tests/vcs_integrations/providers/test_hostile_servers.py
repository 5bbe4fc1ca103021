"""A server that means harm: answers that take memory, time or threads, and names that lead away."""

import contextlib
import gzip
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from pytest_django import Settings

from core import bounded_json
from tests.processes import wait_for
from tests.vcs_integrations.providers.raw_server import RawServer
from vcs_integrations.connections.linking import Details, link
from vcs_integrations.models import Integration, Repository
from vcs_integrations.providers import PROVIDERS
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import CallLimits, Problem, ProviderError

QUICK = CallLimits(seconds_per_call=0.6, seconds_in_all=0.6, retries=0)
WITH_RETRIES = CallLimits(seconds_per_call=0.3, seconds_in_all=5, retries=2)
ENOUGH = CallLimits(seconds_per_call=30, seconds_in_all=30, retries=0)
MB = 2**20
OK = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def gzipped(body: bytes) -> bytes:
    packed = gzip.compress(body)
    head = f"{OK}Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    return head.encode() + packed


def failure(url: str, limits: CallLimits = QUICK) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        AzureDevOpsClient(url, "a-token", limits).repositories()
    return caught.value


# Memory

MEASURE = """
import resource, sys
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import CallLimits, ProviderError

def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

before = megabytes()
try:
    AzureDevOpsClient(sys.argv[1], "a-token", CallLimits(30, 30, 0)).repositories()
except ProviderError as error:
    print(error.problem, megabytes() - before)
"""


@pytest.mark.parametrize(
    "part", [b"[],", b"{},", b'"",', b'{"":[]},', b"0,"], ids=["[]", "{}", "text", "both", "0"]
)
def test_an_answer_of_very_many_parts_takes_little_memory(part: bytes) -> None:
    body = b'{"value":[' + part * (40 * MB // len(part)) + b"0]}"
    assert memory_taken(gzipped(body)) < 400


def memory_taken(answer: bytes) -> int:
    """Return how many megabytes a process takes in which an answer is refused as too large."""
    with RawServer(answer) as server:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, server.url], capture_output=True, text=True, timeout=600
        )
    assert done.returncode == 0, done.stderr
    problem, megabytes = done.stdout.split()
    assert problem == Problem.ANSWER_TOO_LARGE
    return int(megabytes)


def test_an_answer_that_is_packed_twice_takes_little_memory() -> None:
    packed_once = gzip.compress(b" " * 64 * MB, 1) * 16
    packed = gzip.compress(packed_once)
    head = f"{OK}Content-Encoding: gzip, gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    assert memory_taken(head.encode() + packed) < 400


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        (b"[" * 100 + b"]" * 100, True),
        (b"[" * 101 + b"]" * 101, False),
        (b'{"a":' * 101 + b"1" + b"}" * 101, False),
        (b"[" * 100_000, False),
        (b"[" + b"0," * 998 + b"0]", True),
        (b"[" + b"0," * 1000 + b"0]", False),
        # What is inside a text is no part.
        (json.dumps('[{,\\"' * 5000).encode(), True),
        (json.dumps(['"', "\\", '\\"', "[" * 500, "," * 5000]).encode(), True),
        (b'["\\\\", ' + b"[" * 101 + b"]" * 101 + b"]", False),
        (b"\xef\xbb\xbf[]", True),
    ],
)
def test_parts_and_depth_of_json_are_bounded(text: bytes, is_taken: bool) -> None:
    if is_taken:
        assert bounded_json.loads(text, 1000) == json.loads(text)
    else:
        with pytest.raises(bounded_json.TooMuch):
            bounded_json.loads(text, 1000)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_json_in_another_encoding_is_none(encoding: str) -> None:
    with pytest.raises(ValueError):
        bounded_json.loads('["größe"]'.encode(encoding), 1000)


def test_a_list_of_pages_without_end_is_given_up() -> None:
    page = json.dumps({"value": [{"name": "refs/heads/a"}] * 100_000}).encode()
    pages = 0

    def next_page(connection: socket.socket) -> None:
        nonlocal pages
        pages += 1
        head = f"x-ms-continuationtoken: {pages}\r\nContent-Length: {len(page)}\r\n"
        connection.sendall(f"{OK}{head}Connection: close\r\n\r\n".encode() + page)

    with RawServer(next_page) as server, pytest.raises(ProviderError) as caught:
        AzureDevOpsClient(server.url, "a-token", ENOUGH).branches("r")
    assert caught.value.problem == Problem.ANSWER_TOO_LARGE
    assert pages == 4


# Time and threads


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert wait_for(lambda: set(threading.enumerate()) <= before)


@pytest.mark.parametrize("limits", [QUICK, WITH_RETRIES], ids=["one try", "retries"])
@pytest.mark.parametrize(
    "start",
    [
        b"H",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n",
    ],
    ids=["status", "headers", "body", "known length", "chunk", "503"],
)
def test_a_dripping_answer_leaves_no_thread_behind(
    start: bytes, limits: CallLimits, no_thread_left: None
) -> None:
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while not ended.wait(0.05):
            connection.sendall(b"1")

    with RawServer(drip) as server:
        assert failure(server.url, limits).problem == Problem.TIMEOUT
        # The client hung up, though the server goes on.
        assert server.wait_until_idle()
        ended.set()


def test_a_dripping_tls_handshake_leaves_no_thread_behind(no_thread_left: None) -> None:
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KB begins
        while not ended.wait(0.05):
            connection.sendall(b"\x00")

    with listening(drip) as (port, server):
        assert failure(f"https://127.0.0.1:{port}/fabrikam").problem == Problem.TIMEOUT
        assert wait_for(lambda: not server.is_alive())  # the client hung up
        ended.set()


@contextlib.contextmanager
def listening(
    answer: Callable[[socket.socket], None],
) -> Iterator[tuple[int, threading.Thread]]:
    """Take one connection, and answer at once, whatever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], thread
        thread.join(5)


def test_a_connection_that_was_kept_ends_in_time_too(no_thread_left: None) -> None:
    ended = threading.Event()
    body = b'{"value": []}'
    good = f"{OK}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def answer_then_drip(connection: socket.socket) -> None:
        connection.sendall(good)
        connection.recv(65536)
        while not ended.wait(0.05):
            connection.sendall(b"H")

    with RawServer(answer_then_drip) as server:
        limits = CallLimits(seconds_per_call=0.5, seconds_in_all=5, retries=0)
        client = AzureDevOpsClient(server.url, "a-token", limits)
        assert client.repositories() == []
        with pytest.raises(ProviderError) as caught:
            client.repositories()
        assert caught.value.problem == Problem.TIMEOUT
        assert server.connections == 1
        ended.set()


# Names that lead away

DOTS = ["..", ".", "%2e%2e", "%252E%252e", "..%2f..", "..\\..", "..;a", ".. "]


def listed(**names: str) -> dict[str, object]:
    names = {"id": "a" * 8, "name": "infrastructure", "project": "Web"} | names
    project = {"id": "p", "name": names["project"]}
    return {"id": names["id"], "name": names["name"], "project": project}


@pytest.mark.parametrize("which", ["id", "name", "project"])
@pytest.mark.parametrize("dots", DOTS)
def test_a_name_that_leads_to_another_address_is_left_out(which: str, dots: str) -> None:
    body = json.dumps({"value": [listed(), listed(**{which: dots})]}).encode()
    with RawServer(gzipped(body)) as server:
        found = AzureDevOpsClient(server.url, "a-token", ENOUGH).repositories()
    assert [(one.project_name, one.name) for one in found] == [("Web", "infrastructure")]


@pytest.mark.parametrize("dots", [*DOTS, "a/../../b", "../../../evil"])
def test_nothing_is_sent_to_a_path_outside_the_organization(dots: str) -> None:
    with RawServer(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n") as server:
        client = AzureDevOpsClient(server.url, "a-token", ENOUGH)
        for call in (
            lambda: client.branches(dots),
            lambda: client.repository(dots),
            lambda: client.commit("x", dots),
            lambda: client.subscription(dots),
            lambda: client.remove_subscription(dots),
        ):
            with pytest.raises(ProviderError) as caught:
                call()
            assert caught.value.problem == Problem.NOT_THE_PROVIDER
        assert server.connections == 0


@pytest.mark.parametrize("dots", DOTS)
def test_no_address_of_a_repository_leads_out_of_its_organization(dots: str) -> None:
    provider, organization = PROVIDERS["azure_devops"], "https://dev.azure.com/fabrikam"
    for project, name in ((dots, "infrastructure"), ("Web", dots)):
        assert provider.repository_url(organization, project, name) == organization
    assert provider.service_hooks_url(organization, dots) == organization


def test_linking_a_server_with_such_names_stores_none_of_them(db: None, settings: Settings) -> None:
    body = json.dumps({"value": [listed(), listed(id="b", project="..")]}).encode()
    with RawServer(gzipped(body)) as server:
        settings.AZURE_DEVOPS_SERVERS = [server.url.removesuffix("/fabrikam")]
        provider = PROVIDERS["azure_devops"]
        address = provider.parse_organization_url(server.url)
        link(provider, address, "a-token", Details("", "", None))
    assert Integration.objects.count() == 1
    assert [one.project_name for one in Repository.objects.all()] == ["Web"]
