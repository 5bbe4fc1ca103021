"""Where releases of Terraform and OpenTofu are, and which key signs their checksums.

Terraform: https://releases.hashicorp.com/terraform/, whose key is that of "PGP Public Keys" on
https://www.hashicorp.com/trust/security. `keys/hashicorp.asc` is what HashiCorp's own installer
carries, hashicorp/hc-install, internal/pubkey/pubkey.go, as of April 2026. Plain `.sig` files of
releases before April 2021 are of a key that was revoked since; those with the key's id are not.

OpenTofu: "Installing OpenTofu from GitHub Releases" in its documentation, and MIRROR-SPECIFICATION
of opentofu/tofudl. `keys/opentofu.asc` is what tofudl carries, branding/gpg_key.go, a copy of
https://get.opentofu.org/opentofu.asc.
"""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from stacks.execution.tools.terraform import PROGRAMS
from stacks.models import Tool
from stacks.rules.versions import Version, read_exact

KEYS = Path(__file__).parent / "keys"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Site:
    """Where a tool's releases are: the address of their list, and of a version's folder.

    `signatures` are the endings of names of signatures, the first that is there counts.
    """

    index: str
    folder: str
    signatures: Sequence[str]
    key: Path

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, where plain http is allowed."""
        return urlsplit(self.folder).scheme == "http"


def site_of(tool: Tool) -> Site:
    """Return the official site of a tool, or the operator's mirror of it."""
    if tool == Tool.TERRAFORM:
        top = f"{settings.TERRAFORM_MIRROR or 'https://releases.hashicorp.com'}/terraform"
        key = Path(settings.TERRAFORM_KEY or KEYS / "hashicorp.asc")
        return Site(f"{top}/index.json", f"{top}/{{}}", [".72D7468F.sig", ".sig"], key)
    key = Path(settings.TOFU_KEY or KEYS / "opentofu.asc")
    if mirror := settings.TOFU_MIRROR:
        return Site(f"{mirror}/api.json", f"{mirror}/v{{}}", [".gpgsig"], key)
    folder = "https://github.com/opentofu/opentofu/releases/download/v{}"
    return Site("https://get.opentofu.org/tofu/api.json", folder, [".gpgsig"], key)


def archive_of(tool: Tool, version: Version) -> str | None:
    """Return the name of a version's archive for this machine; None where there is none."""
    architecture = ARCHITECTURES.get(platform.machine())
    return architecture and f"{PROGRAMS[tool]}_{version}_linux_{architecture}.zip"


def listed_versions(index: Any) -> list[Version]:
    """Return the versions that the list of a site names. Raises ValueError if it is none."""
    try:
        versions = index["versions"]
        names = list(versions) if isinstance(versions, dict) else [one["id"] for one in versions]
        return [version for name in names if (version := read_exact(str(name)))]
    except (KeyError, TypeError) as error:
        raise ValueError("It lists no versions.") from error
