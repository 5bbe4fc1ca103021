"""A network for each job: the outside world and Stackhook, not what is near the worker.

pasta carries a job's connections out of a network namespace of its own, and nftables filters them
there, where the job has no rights. The job is started in that namespace; steps that need no network
get an empty one. Only IPv4 leads out.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from django.conf import settings

from stacks.execution.isolation.system import SYSTEM_PATH
from vcs_integrations.providers import PROVIDERS

PROGRAMS = ("pasta", "nft", "nsenter", "setpriv")
TUNNEL = Path("/dev/net/tun")
RESOLVERS = Path("/etc/resolv.conf")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
PORTS = {"https": 443}
START_SECONDS = 20
NOBODY = 65534
# The addresses inside are reserved for tests of network devices, so that none of them is in use.
ADDRESS, GATEWAY, RESOLVER = "198.18.0.2", "198.18.0.1", "198.18.1.1"
# Private and special networks, and the address at which a cloud serves a machine's own settings.
CLOSED = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
# A reset ends a connection at once, which is tried again after anything else.
FILTER = """
table inet stackhook {
  chain refuse {
    meta l4proto tcp reject with tcp reset
    reject
  }
  chain output {
    type filter hook output priority 0; policy accept;
%s
  }
}
"""
# It stays as long as somebody can write to its input.
SET_UP = """
printf %s "$1" | nft -f - && echo ready && exec cat >/dev/null
"""


class NoNetwork(Exception):
    """Jobs can't have a network of their own as the operator wants it; the text says what to do."""


@dataclass
class Network:
    """The network of one job, which is set up while the worker goes on.

    It lasts until every process has closed `lifeline`; `options` are bubblewrap's.
    """

    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]
    user_id: int | None
    lifeline: int
    namespaces: dict[str, int] = field(default_factory=dict)

    @cached_property
    def prefix(self) -> list[str]:
        """What starts a command in it, once it is there. Raises NoNetwork."""
        if not is_ready(self.process):
            self.errors.seek(0)
            raise NoNetwork(f"pasta or nft failed: {said(self.errors.read())}")
        self.namespaces = opened_namespaces(self.process.pid, self.user_id)
        return entering(self.namespaces)

    @property
    def options(self) -> list[str]:
        return keeping_user(self.user_id)

    def isolation(self, folder: Path, *, is_offline: bool) -> list[str]:
        """Return bubblewrap's arguments; what it needs of files is put into a folder."""
        if is_offline:
            return ["--unshare-net"]
        resolvers = folder / "resolv.conf"
        resolvers.write_text(resolver_configuration())
        resolvers.chmod(0o644)
        return ["--ro-bind", str(resolvers), "/etc/resolv.conf", *self.options]


@contextmanager
def network_of_job(user_id: int | None, ports: Collection[int] = ()) -> Iterator[Network | None]:
    """Yield a network for one job, whose user is given where it has one; None for the worker's own.

    `ports` of the worker's loopback are this job's own. Raises NoNetwork if jobs must have one and
    can't; so does what first uses it.
    """
    if why_shared():
        yield None
        return
    with started_network(user_id, ports) as network:
        yield network


def describe_network() -> str:
    """Return a sentence on which network jobs get. Raises NoNetwork like `network_of_job`."""
    reason = why_shared()
    if not reason:
        return "Network of jobs: isolated"
    return (
        f"Network of jobs: SHARED with this machine ({reason}). Code of repositories can reach "
        f"local services, private networks and the metadata address."
    )


def why_shared() -> str:
    """Return why jobs use the worker's network, or nothing.

    Raises NoNetwork if they must not.
    """
    if settings.RUN_NETWORK == "shared":
        return "RUN_NETWORK=shared"
    if settings.RUN_ISOLATION == "none":
        trouble = "RUN_ISOLATION=none isolates nothing; set it to bubblewrap"
    else:
        trouble = what_is_missing()
    if trouble and settings.RUN_NETWORK == "isolated":
        raise NoNetwork(
            f"RUN_NETWORK=isolated does not work here: {trouble}; or set RUN_NETWORK=shared, which "
            f"lets code of repositories reach local services, private networks and the metadata "
            f"address."
        )
    return trouble


@cache
def what_is_missing() -> str:
    """Return what keeps jobs from having networks of their own here and what to do, or nothing.

    It is determined once, so that no job silently gets less than the one before.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        return (
            f"{' and '.join(missing)} not found; install the missing programs "
            f"(on Debian: apt-get install passt nftables util-linux)"
        )
    if not TUNNEL.exists():
        return f"{TUNNEL} is missing; load the module tun, or pass the device to this container"
    # Another user than the worker opens it.
    if os.getuid() == 0 and TUNNEL.stat().st_mode & 0o006 != 0o006:
        return f"{TUNNEL} is not open to jobs' users; run chmod 666 {TUNNEL}, as udev does"
    if not any(line.startswith("nameserver") and "." in line for line in resolver_lines()):
        return f"{RESOLVERS} names no IPv4 resolver; add one"
    for host, port in hosts_of_operator():
        if not found_at(host, port, socket.AF_INET) and found_at(host, port, socket.AF_INET6):
            return f"{host} has no IPv4 address, and jobs' own networks have no IPv6; add one"
    user_id = NOBODY if os.getuid() == 0 else None
    try:
        with started_network(user_id) as network:
            inside = [*network.prefix, *as_user(user_id), "bwrap", *network.options]
            for command in (inside, [*as_user(user_id), "bwrap", "--unshare-net"]):
                try_isolation([*command, "--unshare-user", "--unshare-pid"])
    except NoNetwork as error:
        return str(error)
    return ""


def try_isolation(command: list[str]) -> None:
    """Start a trivial command in bubblewrap. Raises NoNetwork if that fails."""
    done = subprocess.run(
        [*command, *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"), "--", "true"],
        env={"PATH": SYSTEM_PATH},
        cwd="/",
        capture_output=True,
    )
    if done.returncode:
        raise NoNetwork(f"bubblewrap failed: {said(done.stderr)}")


@contextmanager
def started_network(user_id: int | None, own_ports: Collection[int] = ()) -> Iterator[Network]:
    """Yield a network that is being set up for a user; None means this process's own user."""
    ports, rules = opened()
    ports |= set(own_ports)
    reader, lifeline = os.pipe()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*as_user(user_id), *pasta(ports), "--", "sh", "-c", SET_UP, "set-up", rules],
            env={"PATH": SYSTEM_PATH},
            cwd="/",
            stdin=reader,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        os.close(reader)
        network = Network(process, errors, user_id, lifeline)
        try:
            yield network
        finally:
            for descriptor in (lifeline, *network.namespaces.values()):
                os.close(descriptor)
            end(process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end of pasta, which follows that of its command; kill it if need be."""
    assert process.stdout  # noqa: S101 - it was started with a pipe
    process.stdout.close()
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        # Also its command, which is of the same group.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_ready(process: "subprocess.Popen[bytes]") -> bool:
    assert process.stdout  # noqa: S101 - it was started with a pipe
    answers, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    return bool(answers) and process.stdout.readline() == b"ready\n"


def said(errors: bytes) -> str:
    return " ".join(errors.decode(errors="replace").split())[-300:] or "it says nothing"


def as_user(user_id: int | None) -> list[str]:
    """Return the command that switches to a user."""
    if user_id is None:
        return []
    return ["setpriv", f"--reuid={user_id}", f"--regid={user_id}", "--clear-groups", "--"]


def pasta(ports: set[int]) -> list[str]:
    """Return the command that makes a namespace and carries connections out of it.

    `ports` are those of the worker's loopback that are reached inside, too.
    """
    return [
        *("pasta", "--foreground", "--quiet", "--ipv4-only", "--config-net"),
        *("--address", ADDRESS, "--netmask", "30", "--gateway", GATEWAY, "--no-map-gw"),
        *("--dns-forward", RESOLVER),
        *("--tcp-ports", "none", "--udp-ports", "none", "--udp-ns", "none"),
        *("--tcp-ns", ",".join(map(str, sorted(ports))) or "none"),
    ]


def opened_namespaces(pasta_id: int, user_id: int | None) -> dict[str, int]:
    """Return descriptors of a network's namespaces, by kind: they stay when pasta is gone.

    A worker that is not root may enter a network only by way of the user namespace that owns it.
    Raises NoNetwork.
    """
    kinds = ["net"] if user_id is not None else ["user", "net"]
    try:
        child = Path(f"/proc/{pasta_id}/task/{pasta_id}/children").read_text().split()[0]
        return {kind: os.open(f"/proc/{child}/ns/{kind}", os.O_RDONLY) for kind in kinds}
    except (OSError, IndexError) as error:
        raise NoNetwork(f"pasta's namespaces can't be opened: {error}") from error


def entering(namespaces: dict[str, int]) -> list[str]:
    """Return what starts a command in namespaces."""
    paths = [f"--{kind}=/proc/{os.getpid()}/fd/{fd}" for kind, fd in namespaces.items()]
    return ["nsenter", "--preserve-credentials", *paths, "--"]


def keeping_user(user_id: int | None) -> list[str]:
    """Return bubblewrap's arguments for what entered as the user namespace's root, if it did."""
    if user_id is not None:
        return []
    return ["--uid", str(os.getuid()), "--gid", str(os.getgid()), "--cap-drop", "ALL"]


def resolver_lines() -> list[str]:
    with suppress(OSError):
        return RESOLVERS.read_text(errors="replace").splitlines()
    return []


def resolver_configuration() -> str:
    """Return the worker's /etc/resolv.conf with the resolver that pasta passes on to its own."""
    kept = [line for line in resolver_lines() if not line.lstrip().startswith("nameserver")]
    return "\n".join([f"nameserver {RESOLVER}", *kept, ""])


def opened() -> tuple[set[int], str]:
    """Return the ports of the worker's loopback that jobs may reach, and the rules of the filter.

    What is more exact comes first: a service, a listed address, the worker's own ones, networks.
    """
    services = services_of_operator()
    networks = [network for network, port in settings.RUN_NETWORK_ALLOWED if port is None]
    rules = [
        'oifname "lo" accept',
        "meta nfproto ipv6 jump refuse",
        f"ip daddr {RESOLVER} meta l4proto {{ tcp, udp }} th dport 53 accept",
        *(f"ip daddr {address} tcp dport {port} accept" for address, port in services),
        *(f"ip daddr {network} accept" for network in networks if network.prefixlen == 32),
        *(f"ip daddr {address} jump refuse" for address in own_addresses()),
        *(f"ip daddr {network} accept" for network in networks if network.prefixlen < 32),
        *(f"ip daddr {network} jump refuse" for network in CLOSED),
    ]
    ports = {port for address, port in services if address.is_loopback}
    return ports, FILTER % "\n".join(rules)


def services_of_operator() -> list[tuple[IPv4Address, int]]:
    """Return the addresses and ports that the operator's settings name, in any range."""
    found = {
        (network.network_address, port)
        for network, port in settings.RUN_NETWORK_ALLOWED
        if port is not None
    }
    for host, port in hosts_of_operator():
        found |= {(IPv4Address(one), port) for one in found_at(host, port, socket.AF_INET)}
    return sorted(found)


def hosts_of_operator() -> Iterator[tuple[str, int]]:
    """Yield host and port of Stackhook, of own servers of providers and of proxies."""
    servers = [url for provider in PROVIDERS.values() for url in provider.own_servers]
    proxies = [os.environ[name] for name in PROXIES if os.environ.get(name)]
    for url in (settings.PUBLIC_URL, *servers, *proxies):
        with suppress(ValueError):  # programs can't use such a proxy, either
            parts = urlsplit(url if "://" in url else f"http://{url}")
            yield parts.hostname or "", parts.port or PORTS.get(parts.scheme, 80)


def found_at(host: str, port: int, family: socket.AddressFamily) -> set[str]:
    """Return the addresses that a name leads to now; none where it is not known."""
    with suppress(OSError, UnicodeError):
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        return {str(address[0]) for *_, address in found}
    return set()


def own_addresses() -> list[IPv4Address]:
    """Return the worker's own addresses but loopback, as /proc/net/fib_trie lists them."""
    found, latest = set(), ""
    for line in Path("/proc/net/fib_trie").read_text().splitlines():
        words = line.split()
        if words[0] == "|--":
            latest = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            found.add(IPv4Address(latest))
    return sorted(address for address in found if address not in IPv4Network("127.0.0.0/8"))
