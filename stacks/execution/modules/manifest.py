"""What Terraform and OpenTofu wrote of the modules that they installed: modules.json.

It lies inside the sandbox, where the code could write anything into it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from core import bounded_json
from stacks.execution.isolation.system import MEGABYTE

FOLDER = "data/modules"
FILE = f"{FOLDER}/modules.json"
LARGEST = MEGABYTE
MOST = 1000
MOST_PARTS = 100_000
GIT = "git::"
# The names of the calls that lead to a module, each an identifier of the language.
_KEY = re.compile(r"[\w-]{1,100}(?:\.[\w-]{1,100}){0,30}")
# "Module Sources", Terraform Registry: <HOSTNAME>/<NAMESPACE>/<NAME>/<PROVIDER>, and a folder.
_NAME = r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}"
_REGISTRY = re.compile(
    rf"((?:[\w-]{{1,63}}\.)*[\w-]{{1,63}}(?::[0-9]{{1,5}})?/{_NAME}/{_NAME}/[0-9a-z]{{1,64}})(?://.*)?"
)
_VERSION = re.compile(r"[0-9A-Za-z.+-]{1,100}", re.ASCII)


@dataclass(frozen=True)
class Installed:
    """A module as it was installed: the calls that lead to it, its source, version and folder.

    The version is empty unless it is from a registry.
    """

    key: str
    source: str
    version: str
    folder: str

    @property
    def is_from_git(self) -> bool:
        return self.source.startswith(GIT)

    @property
    def registry_address(self) -> str:
        """Its address in a registry, with the registry's host; empty if it is not from one."""
        found = _REGISTRY.fullmatch(self.source) if self.version else None
        host, _, rest = found[1].partition("/") if found else ("", "", "")
        return f"{host.lower()}/{rest}" if found else ""

    @property
    def git_url(self) -> str:
        """The address that git fetched it from; empty if it is not from git."""
        if not self.is_from_git:
            return ""
        address = self.source.removeprefix(GIT).partition("?")[0]
        scheme, mark, rest = address.partition("://")
        return f"{scheme}{mark}{rest.partition('//')[0]}"

    @property
    def ref(self) -> str:
        """The ref that a source of git names; empty if it names none.

        "Module Sources", Selecting a Revision.
        """
        try:
            ref = parse_qs(urlsplit(self.source.removeprefix(GIT)).query).get("ref", [""])[0]
        except ValueError:
            return ""
        return "".join(filter(str.isprintable, ref))[:500]

    def place_in(self, package: str) -> str | None:
        """Return its folder within what was fetched for a call; None if it is not in there."""
        _, there, rest = self.folder.partition(f"{FOLDER}/{package}")
        parts = PurePosixPath(rest).parts
        if not there or (rest and not rest.startswith("/")) or ".." in parts:
            return None
        return "/".join(parts[1:])[:500]


def read_manifest(content: bytes) -> list[Installed]:
    """Return the modules that a manifest lists; nothing of what makes no sense."""
    try:
        listed = bounded_json.loads(content, MOST_PARTS)
    except ValueError:
        return []
    rows = listed.get("Modules") if isinstance(listed, Mapping) else None
    rows = rows if isinstance(rows, list) else []
    found = (_installed(one) for one in rows if isinstance(one, Mapping))
    return [one for one in found if _KEY.fullmatch(one.key)][:MOST]


def folders_of(package: Installed, installed: Sequence[Installed]) -> list[str]:
    """Return which folders of what was fetched for a module are used, in their order."""
    below = (
        one.place_in(package.key)
        for one in installed
        if one.key == package.key or one.key.startswith(f"{package.key}.")
    )
    return sorted({one for one in below if one is not None})


def _installed(row: Mapping[str, Any]) -> Installed:
    version = _text(row, "Version")
    return Installed(
        key=_text(row, "Key"),
        source=_text(row, "Source"),
        version=version if _VERSION.fullmatch(version) else "",
        folder=_text(row, "Dir"),
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""
