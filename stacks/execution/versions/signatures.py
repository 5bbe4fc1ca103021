"""Checking signatures of OpenPGP, with GnuPG's `gpgv`.

gpgv does only this, and Debian's and Ubuntu's packages are checked by it or its like. Of the
libraries for Python, PGPy had no release since 2022, and pysequoia is not yet stable.
"""

import base64
import binascii
import shutil
import subprocess
import tempfile
from pathlib import Path

from stacks.execution.isolation.system import SYSTEM_PATH

SECONDS = 60
ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


class NotSigned(Exception):
    """A content is not signed by a key, or that can't be checked; the text says why."""


def is_available() -> bool:
    """Say whether signatures can be checked on this machine."""
    return shutil.which("gpgv", path=SYSTEM_PATH) is not None


def check_signature(content: bytes, signature: bytes, key: Path) -> None:
    """Raise NotSigned unless a content has a detached signature of a key that has not expired."""
    with tempfile.TemporaryDirectory() as folder:
        parts = {"key": _binary(key), "signature": signature, "content": content}
        for name, part in parts.items():
            Path(folder, name).write_bytes(part)
        keyring, signed = f"{folder}/key", [f"{folder}/signature", f"{folder}/content"]
        options = ["--homedir", folder, "--keyring", keyring, "--weak-digest", "SHA1"]
        try:
            done = subprocess.run(
                ["gpgv", *options, "--status-fd", "1", *signed],
                env={"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NotSigned("gpgv did not work") from error
    # "Format of the --status-fd output" in GnuPG's doc/DETAILS. The texts in it are of anybody.
    words = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(b"[GNUPG:] ")]
    if done.returncode or words.count(b"GOODSIG") != 1 or words.count(b"VALIDSIG") != 1:
        raise NotSigned(f"its checksums are not signed by the key in {key.name}")


def _binary(key: Path) -> bytes:
    """Return a public key as gpgv reads it: without armor. Raises NotSigned."""
    try:
        content = key.read_bytes()
        if not content.lstrip().startswith(ARMOR.encode()):
            return content
        # RFC 9580, section 6.2: headers, an empty line, the key in base64, a checksum, the tail.
        _, _, armored = content.decode("ascii").replace("\r", "").partition("\n\n")
        lines = armored.partition("-----END")[0].splitlines()
        return base64.b64decode("".join(line for line in lines if not line.startswith("=")))
    except (OSError, ValueError, binascii.Error) as error:
        raise NotSigned(f"the key in {key.name} can't be read") from error
