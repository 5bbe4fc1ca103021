"""Names of modules: what an address in a registry takes, and what a repository suggests.

The rules are those of Terraform and OpenTofu, which refuse any other source ("Module Registry
Protocol", Module Addresses; `ParseModuleSource` of terraform-registry-address). Both compare
letters as they are written, and people do not: names are lower case here.
"""

import re
import unicodedata
from dataclasses import dataclass

LONGEST = 64
_NAME = re.compile(r"[0-9a-z](?:[0-9a-z_-]{0,62}[0-9a-z])?")
_SYSTEM = re.compile(r"[0-9a-z]{1,64}")
# Of a whole repository, or of a folder: as the public registries ask for.
_CONVENTION = re.compile(r"terraform-([0-9a-z]+)-(.+)", re.IGNORECASE)
# What git refuses in the name of a ref (git-check-ref-format, Description).
_NO_TAG = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(?:^|/)\.|\.lock(?:/|$)|\.$|^@$")


@dataclass(frozen=True)
class Suggestion:
    """What a repository and a folder suggest for a module; empty where they suggest nothing."""

    name: str
    system: str
    tag_prefix: str


def why_not_name(text: str) -> str:
    """Return why a text is no name or namespace; empty if it is one."""
    if _NAME.fullmatch(text):
        return ""
    return (
        f"Use at most {LONGEST} letters, digits, - and _, with a letter or digit first and last, "
        f"like network or key-vault."
    )


def why_not_system(text: str) -> str:
    """Return why a text is no target system; empty if it is one."""
    if _SYSTEM.fullmatch(text):
        return ""
    return f"Use at most {LONGEST} letters and digits, like azurerm or aws."


def why_not_tag_prefix(text: str) -> str:
    """Return why no tag can begin with a prefix and a slash; empty if it can."""
    if not _NO_TAG.search(text) and not text.startswith("/") and not text.endswith("/"):
        return ""
    return "Git takes no such name for a tag. Use a prefix like network, without the / after it."


def suggested(repository: str, folder: str) -> Suggestion:
    """Return what the names of a repository and of a folder in it suggest.

    The folder's own name counts first, as it says more; then the repository's.
    """
    last = folder.rpartition("/")[2]
    of_folder, of_repository = _CONVENTION.fullmatch(last), _CONVENTION.fullmatch(repository)
    found = of_folder or of_repository
    name = found[2] if found and not (last and not of_folder) else last
    return Suggestion(
        name=as_name(name),
        system=found[1].lower()[:LONGEST] if found else "",
        tag_prefix="" if why_not_tag_prefix(last) else last,
    )


def as_name(text: str) -> str:
    """Return a text as a name or namespace; empty if nothing of it can be one."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^0-9a-z_]+", "-", plain).strip("-_")[:LONGEST].rstrip("-_")
