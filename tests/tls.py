"""https in front of a server of a test: a certificate of its own, and a port that speaks TLS."""

import datetime
import ipaddress
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.serving import serving

HOST = "127.0.0.1"
# What OpenSSL looks for in a folder of certificates: `openssl x509 -subject_hash`.
NAME_IN_FOLDER = "aeec8bab.0"


@dataclass(frozen=True)
class Https:
    """A port on this machine that speaks TLS, and the file with the certificate to trust."""

    port: int
    certificate: Path

    @property
    def host(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}"


@contextmanager
def https_to(url: str, folder: Path) -> Iterator[Https]:
    """Yield a port that passes on to a plain server; its certificate is put into a folder."""
    certificate, key = _self_signed(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    listener = _Listener((parts.hostname, parts.port), context)
    with serving(listener):
        yield Https(listener.server_address[1], certificate)


class _Listener(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, behind: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__((HOST, 0), _Connection)
        self.behind, self.context = behind, context


class _Connection(BaseRequestHandler):
    server: _Listener

    def handle(self) -> None:
        with (
            suppress(OSError),
            self.server.context.wrap_socket(self.request, server_side=True) as outside,
            socket.create_connection(self.server.behind) as inside,
        ):
            _pass_on(outside, inside)


def _pass_on(outside: ssl.SSLSocket, inside: socket.socket) -> None:
    """Pass on what comes on either side until one ends, in one thread: two would mix up TLS."""
    while True:
        ready = [outside] if outside.pending() else select.select([outside, inside], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (inside if source is outside else outside).sendall(data)


def _self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for this machine and its key; return their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Stackhook")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
