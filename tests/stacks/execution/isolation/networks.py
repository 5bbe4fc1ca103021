"""A small internet for tests: a worker's machine and what is around it, in namespaces of their own.

Started as a program, as root, it prints which places jobs reach on an isolated and on a shared
network. Everything listens: what a job does not reach was kept from it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import django
from django.conf import settings

from tests.processes import KEYS, environment, wait_for

MODULE = "tests.stacks.execution.isolation.networks"
OWN = "192.168.7.2"
NEIGHBOR = "192.168.7.1"
OUTSIDE = "203.0.113.9"
NAME = "outside.example"
RESOLVER = "127.0.0.53"
# What a job tries to connect to, host/port, and whether it should get there.
PLACES = {
    f"{OUTSIDE}/80": True,
    f"{OUTSIDE}/8080": True,
    f"{NAME}/80": True,
    # Stackhook, Azure DevOps Servers, a proxy
    "127.0.0.1/8000": True,
    "localhost/8000": True,
    "10.9.9.9/443": True,
    f"{OWN}/443": True,
    f"{NEIGHBOR}/3128": True,
    # What the operator lists
    "10.8.8.8/80": True,
    "172.20.1.1/80": True,
    "172.21.1.2/80": True,
    "127.0.0.1/9000": True,
    # The worker's own services, by each of its addresses; the last is in a network that is listed
    "127.0.0.1/8080": False,
    f"{RESOLVER}/53": False,
    f"{OWN}/8000": False,
    f"{OWN}/8080": False,
    "::1/8080": False,
    "fd00:7::2/8080": False,
    "172.20.3.3/80": False,
    # What is nearby
    f"{NEIGHBOR}/80": False,
    "10.9.9.9/80": False,
    "10.8.8.9/80": False,
    "172.21.1.2/8080": False,
    "100.64.1.1/80": False,
    "198.18.0.1/80": False,
    "198.18.1.1/80": False,
    "fd00:7::1/80": False,
    # Metadata of clouds
    "169.254.169.254/80": False,
    "168.63.129.16/80": False,
    "100.100.100.200/80": False,
}
OWN_ADDRESSES = [f"{OWN}/24", "172.20.3.3/32", "fd00:7::2/64"]
OTHER_ADDRESSES = [
    *(f"{NEIGHBOR}/24", "fd00:7::1/64", f"{OUTSIDE}/32", "10.9.9.9/32", "10.8.8.8/32"),
    *("10.8.8.9/32", "172.20.1.1/32", "172.21.1.2/32", "100.64.1.1/32", "198.18.0.1/32"),
    *("198.18.1.1/32", "169.254.169.254/32", "168.63.129.16/32", "100.100.100.200/32"),
]
PORTS = [80, 443, 3128, 8000, 8080, 9000]
OPERATOR = {
    "PUBLIC_URL": "http://127.0.0.1:8000",
    "AZURE_DEVOPS_SERVERS": f"https://10.9.9.9/tfs,http://{OWN}:443",
    "HTTP_PROXY": f"http://user:password@{NEIGHBOR}:3128",
    "RUN_NETWORK_ALLOWED": "10.8.8.8, 172.20.0.0/16, 172.21.1.2:80, 127.0.0.1:9000",
}
LISTENING: list[socket.socket] = []
# A job first tries to get rid of its filter.
TRY = """
nft flush ruleset; nft add rule inet stackhook output accept; ip link set lo down
for namespace in /proc/[0-9]*/ns/net; do nsenter --net=$namespace nft flush ruleset; done
unshare --user --map-root-user nft flush ruleset
for place; do
    timeout 5 bash -c "echo > /dev/tcp/$place" && echo "reached $place" &
done 2>&1
wait
"""


def why_not() -> str:
    """Say why jobs can't have networks of their own here; found out without the product."""
    missing = [name for name in ("pasta", "nft") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} missing: apt-get install passt nftables"
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    command = ["pasta", "--config-net", "--", "nft", "add", "table", "inet", "a"]
    command = [*(user if os.getuid() == 0 else []), *command]
    done = subprocess.run(command, cwd="/", capture_output=True, stdin=subprocess.DEVNULL)
    return f"pasta does not work here: {done.stderr.decode()[-200:]}" if done.returncode else ""


def reached_places() -> dict[str, list[str]]:
    """Return which places jobs reach, by kind of network."""
    command = ["unshare", "--net", "--mount", sys.executable, "-m", MODULE, "worker"]
    variables = KEYS | OPERATOR | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    done = subprocess.run(
        command, env=environment(**variables), capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def be_worker() -> None:
    """Build the small internet around this process, and let jobs try their network."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        run("mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf")
        stack.enter_context(others())
        django.setup()
        listen()
        threading.Thread(target=resolve, args=[udp(RESOLVER)], daemon=True).start()
        LISTENING.append(socket.create_server((RESOLVER, 53)))
        sys.stdout.write(json.dumps({kind: try_places(kind) for kind in ("isolated", "shared")}))


@contextmanager
def others() -> Iterator[None]:
    """Connect this network with another one, in which others listen."""
    command = ["unshare", "--net", sys.executable, "-m", MODULE, "others"]
    ours = os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116 - a file without a path
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert wait_for(lambda: os.stat(f"/proc/{process.pid}/ns/net").st_ino != ours)  # noqa: PTH116
        run("ip", "link", "add", "near", "type", "veth", "peer", "far", "netns", str(process.pid))
        addresses("near", OWN_ADDRESSES)
        run("ip", "route", "add", "default", "via", NEIGHBOR)
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        yield
        process.kill()


def be_others() -> None:
    """Listen at all other addresses, once connected."""
    sys.stdin.readline()
    addresses("far", OTHER_ADDRESSES)
    run("ip", "route", "add", "default", "via", OWN)
    listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


def addresses(device: str, listed: list[str]) -> None:
    run("ip", "link", "set", "lo", "up")
    for address in listed:
        more = ["nodad"] if ":" in address else []
        run("ip", "address", "add", address, "dev", device, *more)
    run("ip", "link", "set", device, "up")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def listen() -> None:
    """Have every port answered, as the kernel does before anybody accepts."""
    for port in PORTS:
        listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        LISTENING.append(listener)


def udp(address: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind((address, 53))
    return bound


def resolve(bound: socket.socket) -> None:
    """Answer each question for an IPv4 address with the one outside, others with nothing."""
    while True:
        question, client = bound.recvfrom(512)
        end = question.index(b"\0", 12) + 5
        is_address = question[end - 4 : end - 2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(OUTSIDE)
        counts = b"\0\1" + (b"\0\1" if is_address else b"\0\0") + b"\0\0\0\0"
        head = question[:2] + b"\x81\x80" + counts + question[12:end]
        bound.sendto(head + (answer if is_address else b""), client)


def try_places(kind: str) -> list[str]:
    """Return which places a job reaches."""
    from stacks.execution.isolation.sandbox import Limits, sandbox

    printed = bytearray()
    settings.RUN_NETWORK = kind
    with sandbox() as box:
        command = ["bash", "-c", TRY, "try", *PLACES]
        box.run(command, {}, printed.extend, lambda: False, Limits(60))
    lines = printed.decode().splitlines()
    return sorted(line.removeprefix("reached ") for line in lines if line.startswith("reached "))


if __name__ == "__main__":
    {"worker": be_worker, "others": be_others}[sys.argv[1]]()
