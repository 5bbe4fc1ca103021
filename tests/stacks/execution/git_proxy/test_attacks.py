"""Attacks on the git proxy from inside a sandbox: nothing gets out, and nothing is written."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_django import Settings

from stacks.execution.git_proxy import proxy as proxying
from tests.builders import make_run, make_stack, store_integration
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.processes import wait_for
from tests.stacks.execution.git_proxy.conftest import Inside, opened
from tests.stacks.execution.git_proxy.host import Host, recording
from tests.stacks.execution.isolation.networks import why_not
from vcs_integrations.models import Integration
from vcs_integrations.models import Repository as KnownRepository

pytestmark = pytest.mark.without_resources

TOKEN = "a-token-that-must-stay-outside"
REFS = "info/refs?service=git-upload-pack"
MODULE = "/0/Web/_git/module"


@pytest.fixture
def host() -> Iterator[Host]:
    with recording() as found:
        yield found


@pytest.fixture
def known(db: None, host: Host, settings: Settings) -> KnownRepository:
    """The repository Web/module of an organization at the recording host."""
    settings.AZURE_DEVOPS_SERVERS = [host.url]
    url = f"{host.url}/fabrikam"
    integration = store_integration(organization_url=url, organization_key=url, token=TOKEN)
    return add(integration, "module", "Web")


def add(integration: Integration, name: str, project: str) -> KnownRepository:
    return KnownRepository.objects.create(
        integration=integration,
        external_id=f"{project}/{name}",
        name=name,
        project_id=project,
        project_name=project,
    )


@pytest.fixture
def box(known: KnownRepository) -> Iterator[Inside]:
    """The sandbox of a run whose stack may read the repositories of Web."""
    add(known.integration, "vault", "Secret")
    with opened(make_run(make_stack(known)), TOKEN) as found:
        yield found


def request(
    box: Inside, target: str, *headers: str, method: str = "GET", body: bytes = b""
) -> bytes:
    """Return the bytes of a request that proves the run's secret."""
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: 127.0.0.1:{box.proxy.port}",
        f"Authorization: Bearer {box.proxy.secret}",
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1") + body


def posting(box: Inside, *headers: str, body: bytes = b"") -> bytes:
    kind = "Content-Type: application/x-git-upload-pack-request"
    return request(box, f"{MODULE}/git-upload-pack", kind, *headers, method="POST", body=body)


def is_answered(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.1 200")


def test_what_git_asks_arrives_with_the_token_and_nothing_else_of_the_code(
    box: Inside, host: Host
) -> None:
    spoken = (
        "Git-Protocol: version=2",
        "Cookie: a=b",
        "X-Forwarded-For: 1.2.3.4",
        "X-TFS-Impersonate: Alice",
        "User-Agent: evil",
        "Proxy-Authorization: Basic eA==",
    )
    assert is_answered(box.raw(request(box, f"{MODULE}/{REFS}", *spoken)))
    assert is_answered(box.raw(posting(box, "Content-Length: 4", body=b"0000")))
    chunked = b"2\r\n00\r\n2\r\n00\r\n0\r\n\r\n"
    assert is_answered(box.raw(posting(box, "Transfer-Encoding: chunked", body=chunked)))
    refs, objects, same = host.sent
    assert (refs.method, refs.path) == ("GET", f"/fabrikam/Web/_git/module/{REFS}")
    assert (objects.path, objects.body) == ("/fabrikam/Web/_git/module/git-upload-pack", b"0000")
    assert same.body == b"0000"
    assert set(refs.headers) == {
        *("host", "user-agent", "accept", "accept-encoding", "connection", "git-protocol"),
        "authorization",
    }
    assert refs.headers["user-agent"].startswith("git/")
    header = box.run.stack.integration.provider.git_header(TOKEN)
    assert f"Authorization: {refs.headers['authorization']}" == header


PATHS = [
    # Another repository, project, organization or host
    f"/0/Secret/_git/vault/{REFS}",
    f"/0/Web/_git/unknown/{REFS}",
    f"/1/other/Web/_git/module/{REFS}",
    f"/0/../other/Web/_git/module/{REFS}",
    f"/0/%2e%2e/other/Web/_git/module/{REFS}",
    f"/0/%252e%252e/other/Web/_git/module/{REFS}",
    f"/0/..%2fother/Web/_git/module/{REFS}",
    f"/0/Web/_git/module/../../../Secret/_git/vault/{REFS}",
    f"/0/Web/_git/module/%2e%2e/vault/{REFS}",
    f"/0/Web%2f_git%2fmodule/../../Secret/_git/vault/{REFS}",
    f"/0/Web/_git/module%2f..%2f..%2f..%2fSecret%2f_git%2fvault/{REFS}",
    f"/0/Web/_git/..;/module/{REFS}",
    f"/0/Web/_git/module;x/{REFS}",
    f"/0/Web\\_git\\module/{REFS}",
    f"/0/Web/_git/module%5c..%5cvault/{REFS}",
    f"/0/Web/_git/module%00/{REFS}",
    f"/0/Web/_git/module%0d%0aX:%20y/{REFS}",
    f"/0/Web/_git/module%20HTTP/{REFS}",
    f"/0//Web/_git/module/{REFS}",
    f"/0/Web//_git/module/{REFS}",
    f"/0/Web/_git/module//{REFS}",
    f"//example.com/Web/_git/module/{REFS}",
    f"/0/@example.com/Web/_git/module/{REFS}",
    f"/0/Web/_git/module/more/{REFS}",
    f"/00/Web/_git/module/{REFS}",
    f"/99/Web/_git/module/{REFS}",
    f"/-1/Web/_git/module/{REFS}",
    f"http://example.com{MODULE}/{REFS}",
    f"http://example.com/0/Web/_git/module/{REFS}",
    # Other services: writing, LFS, the REST API, the dumb protocol
    f"{MODULE}/info/refs?service=git-receive-pack",
    f"{MODULE}/info/refs?service=git-upload-pack&service=git-receive-pack",
    f"{MODULE}/info/refs?service=git-receive-pack&x=service=git-upload-pack",
    f"{MODULE}/info/refs?service=git-upload-archive",
    f"{MODULE}/{REFS}&x=y",
    f"{MODULE}/{REFS}#x",
    f"{MODULE}/info/refs",
    f"{MODULE}/HEAD",
    f"{MODULE}/objects/info/packs",
    f"{MODULE}/git-upload-pack",
    f"{MODULE}/info/lfs/objects/batch",
    f"/0/_apis/git/repositories/{REFS}",
    f"/0/Web/_apis/git/repositories/module/{REFS}",
    "*",
    "",
]


def test_no_path_leads_to_anything_but_refs_and_objects_of_what_may_be_read(
    box: Inside, host: Host
) -> None:
    for target in PATHS:
        answer = box.raw(request(box, target))
        assert answer.startswith(b"HTTP/1.1 4"), (target, answer)
    assert host.sent == []


def test_no_other_method_is_passed_on(box: Inside, host: Host) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "HEAD", "CONNECT", "get", "POST"):
        for target in (f"{MODULE}/{REFS}", f"{MODULE}/git-receive-pack", "example.com:443"):
            sent = request(box, target, "Content-Length: 4", method=method, body=b"0000")
            answer = box.raw(sent)
            assert answer.startswith(b"HTTP/1.1 4"), (method, target, answer)
    assert host.sent == []


SMUGGLED = b"GET /fabrikam/Secret/_git/vault/info/refs?service=git-upload-pack HTTP/1.1\r\n\r\n"


AMBIGUOUS: list[tuple[list[str], bytes]] = [
    (["Content-Length: 4", "Transfer-Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED),
    (["Content-Length: 4", "Content-Length: 90"], b"0000" + SMUGGLED),
    (["Content-Length: 4, 90"], b"0000" + SMUGGLED),
    (["Content-Length: +4"], b"0000" + SMUGGLED),
    (["Content-Length: 0x4"], b"0000" + SMUGGLED),
    (["Content-Length: -1"], b"0000" + SMUGGLED),
    (["Content-Length : 4"], b"0000" + SMUGGLED),
    ([" Content-Length: 4"], b"0000" + SMUGGLED),
    (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n" + SMUGGLED),
    (["Transfer-Encoding: xchunked"], b"0\r\n\r\n" + SMUGGLED),
    (["Transfer-Encoding:\x0bchunked"], b"0\r\n\r\n" + SMUGGLED),
    (["Transfer-Encoding: chunked"], b"4;a=b\r\n0000\r\n0\r\n\r\n"),
    (["Transfer-Encoding: chunked"], b"4\n0000\r\n0\r\n\r\n"),
    (["Transfer-Encoding: chunked"], b"4\r\n0000XX0\r\n\r\n"),
    (["Transfer-Encoding: chunked"], b"4\r\n0000\r\n0\r\nHost: x\r\n\r\n"),
    (["Transfer-Encoding: chunked"], b"FFFFFFFFF\r\n"),
    (["Transfer-Encoding: chunked"], b"FFFFFFFF\r\n0000"),
    (["Content-Length: 9999999999"], b"0000"),
    (["Content-Length: 4", "Content-Encoding: br"], b"0000"),
    (["Content-Length: 4", "Content-Type: text/plain"], b"0000"),
    (["Content-Length: 4", "Git-Protocol: version=2:command=push"], b"0000"),
    (["Content-Length: 4", "Git-Protocol: version=1\rX: y"], b"0000"),
    (["Content-Length: 4", "X: y\nAuthorization: Basic eDp5"], b"0000"),
    (["Content-Length: 4", "Authorization: Basic eDp5"], b"0000"),
    (["Content-Length: 4", "X\0Y: y"], b"0000"),
    (["Content-Length: 4", "X: \0"], b"0000"),
    (["Content-Length: 4", f"X: {'y' * 10_000}"], b"0000"),
    (["Content-Length: 4", *(f"X-{number}: y" for number in range(60))], b"0000"),
    ([], b"0000"),
]


def test_a_request_that_can_be_read_in_two_ways_is_read_in_none(box: Inside, host: Host) -> None:
    for headers, body in AMBIGUOUS:
        answer = box.raw(posting(box, *headers, body=body))
        assert answer.startswith(b"HTTP/1.1 4"), (headers, body, answer)
    assert host.sent == []


def test_a_second_request_on_a_connection_is_not_read(box: Inside, host: Host) -> None:
    one = posting(box, "Content-Length: 4", body=b"0000")
    answer = box.raw(one + request(box, f"{MODULE}/{REFS}"))
    assert answer.count(b"HTTP/1.1") == 1
    assert len(host.sent) == 1
    assert not is_answered(box.raw(one.replace(b"HTTP/1.1", b"HTTP/1.0")))
    assert not is_answered(box.raw(one.replace(b"HTTP/1.1", b"HTTP/2.0")))
    assert not is_answered(box.raw(one.replace(b"\r\n", b"\n")))
    assert len(host.sent) == 1


def test_nobody_is_answered_without_the_secret_of_this_run(box: Inside, host: Host) -> None:
    good = request(box, f"{MODULE}/{REFS}")
    other = make_run(box.run.stack)
    for secret in (b"", b"x", b"\xff", box.proxy.secret[:-1].encode()):
        answer = box.raw(good.replace(box.proxy.secret.encode(), secret))
        assert answer.startswith(b"HTTP/1.1 403")
    with opened(other, TOKEN) as beside:
        # With the secret of the other run, and at the other run's port with one's own
        theirs = good.replace(box.proxy.secret.encode(), beside.proxy.secret.encode())
        assert box.raw(theirs).startswith(b"HTTP/1.1 403")
        assert not is_answered(box.raw(good, beside.proxy.port))
    assert host.sent == []
    assert b"WWW-Authenticate" not in box.raw(theirs)  # git would ask for a password


def test_on_networks_of_their_own_runs_reach_no_proxy_but_theirs(
    known: KnownRepository, host: Host, settings: Settings
) -> None:
    if reason := why_not():
        pytest.skip(reason)
    settings.RUN_NETWORK = "isolated"
    one, two = make_run(make_stack(known)), make_run(make_stack(known, "Other"))
    with opened(one, TOKEN) as box, opened(two, TOKEN) as beside:
        for each, there in ((box, beside), (beside, box)):
            good = request(each, f"{MODULE}/{REFS}")
            assert is_answered(each.raw(good))
            assert b"HTTP/1.1" not in each.raw(good, there.proxy.port)
    assert len(host.sent) == 2


def test_nothing_is_answered_once_the_run_is_initialized(
    known: KnownRepository, host: Host
) -> None:
    with opened(make_run(make_stack(known)), TOKEN) as box:
        good = request(box, f"{MODULE}/{REFS}")
        assert is_answered(box.raw(good))
        half = posting(box, "Content-Length: 9", body=b"0000")
        with ThreadPoolExecutor() as pool:
            begun = pool.submit(box.raw, half)
            assert wait_for(lambda: connections_to(box.proxy.port) > 0)
            box.served.end()
            assert begun.result(60) == b""
        assert not is_answered(box.raw(good))
    assert len(host.sent) == 1


def connections_to(port: int) -> int:
    """Return how many connections to a port of the loopback there are."""
    local = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1] == local and row[3] == "01" for row in rows)


def test_an_answer_that_redirects_leads_nowhere(box: Inside, host: Host) -> None:
    with recording() as elsewhere:
        for status in (301, 302, 303, 307, 308):
            host.status, host.headers = status, {"Location": f"{elsewhere.url}/{REFS}"}
            answer = box.raw(request(box, f"{MODULE}/{REFS}"))
            assert answer.startswith(b"HTTP/1.1 502")
            assert b"Location" not in answer
        assert elsewhere.sent == []


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Type": "text/html"}),
        (203, {"Content-Type": "text/html"}),
        (200, {"Content-Encoding": "gzip"}),
        (401, {"WWW-Authenticate": "Basic"}),
        (500, {}),
    ],
)
def test_only_an_answer_to_git_is_passed_on(
    box: Inside, host: Host, status: int, headers: dict[str, str]
) -> None:
    host.status, host.headers, host.body = status, headers, f"echo of {TOKEN}".encode()
    answer = box.raw(request(box, f"{MODULE}/{REFS}"))
    assert not is_answered(answer)
    assert TOKEN.encode() not in answer
    assert b"WWW-Authenticate" not in answer


def test_an_answer_without_end_is_cut_off(box: Inside, host: Host, settings: Settings) -> None:
    settings.RUN_DISK_MB = 1
    host.more = 100
    answer = box.raw(request(box, f"{MODULE}/{REFS}"))
    assert is_answered(answer)
    assert len(answer) < 2 * 1024 * 1024
    assert not answer.endswith(b"0\r\n\r\n")  # so git knows that it is not whole


def test_huge_and_slow_requests_hold_up_nobody(
    box: Inside, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxying, "REQUEST_SECONDS", 2)
    huge = posting(box, "Content-Length: 16777217", body=bytes(1024))
    assert box.raw(huge).startswith(b"HTTP/1.1 413")
    script = """
    for number in 1 2 3 4 5 6 7 8; do
      (exec 3<>"/dev/tcp/127.0.0.1/$1"; while printf x >&3; do sleep 0.1; done) 2>/dev/null &
    done
    wait
    """
    code, _ = box.sh('exec bash -c "$1" slow "$2"', script, str(box.proxy.port))
    assert code == 0
    assert is_answered(box.raw(request(box, f"{MODULE}/{REFS}")))


def test_the_token_is_nowhere_inside(box: Inside, host: Host) -> None:
    script = """
    git ls-remote "$1"
    (env; cat /proc/*/environ /proc/*/cmdline) 2>/dev/null | tr '\\0' '\\n'
    """
    _, said = box.sh(script, f"{host.url}/fabrikam/Web/_git/module")
    assert "GIT_CONFIG_COUNT" in said
    assert host.sent
    header = box.run.stack.integration.provider.git_header(TOKEN)
    assert TOKEN not in said
    assert header.rpartition(" ")[2] not in said


def test_git_itself_can_not_push(
    inside: Inside, module: Repository, elsewhere: Repository, emulator: Emulator
) -> None:
    before = module.ref_values()
    script = """
    set -e; git clone --quiet "$1" clone; cd clone
    git -c user.name=E -c user.email=e@x commit --quiet --allow-empty --message evil
    git push origin HEAD:refs/heads/evil HEAD:main
    """
    code, said = inside.sh(script, module.clone_url)
    assert code != 0
    assert "Only fetching is possible here" in said or "403" in said
    assert module.ref_values() == before
    other = emulator.add_organization("contoso").add_project("Web")
    theirs = other.add_repository("theirs", {"a": "b"})
    for url in (elsewhere.clone_url, theirs.clone_url):
        code, said = inside.sh('git ls-remote "$1"', url)
        assert code != 0, said
        assert "refs/heads" not in said
