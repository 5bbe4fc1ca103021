"""A mirror of releases on this machine, with a key of its own, whose owner may be an attacker."""

import hashlib
import io
import json
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from stacks.execution.versions.releases import archive_of
from stacks.models import Tool
from stacks.rules.versions import read_version
from tests.serving import serving


class Signer:
    """A key of OpenPGP, and what it signs."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self._gpg("--passphrase", "", "--quick-generate-key", name, "rsa2048", "sign", "never")
        self.key = home / "key.asc"
        self.key.write_bytes(self._gpg("--armor", "--export"))

    def sign(self, content: bytes) -> bytes:
        return self._gpg("--detach-sign", content=content)

    def end(self) -> None:
        command = ["gpgconf", "--homedir", str(self.home), "--kill", "all"]
        subprocess.run(command, check=False, capture_output=True)

    def _gpg(self, *arguments: str, content: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", *arguments]
        return subprocess.run(command, input=content, check=True, capture_output=True).stdout


@contextmanager
def signer(name: str) -> Iterator[Signer]:
    """Yield a new key; its folder has a short path, as sockets in it need one."""
    with tempfile.TemporaryDirectory() as home:
        made = Signer(Path(home), name)
        try:
            yield made
        finally:
            made.end()


def archive(program: str, content: bytes, **more: bytes) -> bytes:
    """Return a zip with a program, and with more files."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as opened:
        for name, text in {"LICENSE.txt": b"A license", program: content, **more}.items():
            opened.writestr(name, text)
    return written.getvalue()


@dataclass
class Mirror:
    """Files by their paths, and which were asked for."""

    signer: Signer
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def release(self, version: str, packed: bytes, sums: Mapping[str, str] | None = None) -> str:
        """Publish a release of Terraform; return the path of its folder."""
        folder = f"/terraform/{version}"
        name = archive_of(Tool.TERRAFORM, read_version(version))
        listed = sums or {str(name): hashlib.sha256(packed).hexdigest()}
        content = "".join(f"{value}  {file}\n" for file, value in listed.items()).encode()
        self.files[f"{folder}/{name}"] = packed
        self.files[f"{folder}/terraform_{version}_SHA256SUMS"] = content
        self.files[f"{folder}/terraform_{version}_SHA256SUMS.sig"] = self.signer.sign(content)
        versions = json.loads(self.files.get("/terraform/index.json", b'{"versions": {}}'))
        versions["versions"][version] = {}
        self.files["/terraform/index.json"] = json.dumps(versions).encode()
        return folder


@contextmanager
def mirror(signed_by: Signer) -> Iterator[Mirror]:
    served = Mirror(signed_by)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            if to := served.redirects.get(self.path):
                self.send_response(302)
                self.send_header("Location", to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = served.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        yield served
