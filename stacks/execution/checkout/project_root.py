"""What a project root holds, by the rules by which Terraform and OpenTofu load a folder.

https://developer.hashicorp.com/terraform/language/files and
https://opentofu.org/docs/language/files/ name them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from core import bounded_json
from stacks.models import Tool
from stacks.tfstate.files import MOST_PARTS

SUFFIXES = {
    Tool.TERRAFORM: (".tf", ".tf.json"),
    Tool.OPENTOFU: (".tf", ".tf.json", ".tofu", ".tofu.json"),
}
STATE = "terraform.tfstate"
# Where the `local` backend keeps the states of workspaces, each in a folder.
WORKSPACES = "terraform.tfstate.d"
# Prints type and path of all that is in the folder $1, and in its folder of workspaces.
NO_FOLDER = 66
LIST = rf"""
test -d "$1" || exit {NO_FOLDER}
exec find "$1/" -mindepth 1 -maxdepth 2 -printf '%y %P\0' ! -name {WORKSPACES} -prune
"""


@dataclass(frozen=True)
class ProjectRoot:
    """The names in a project root: of what is no folder, and of the workspaces that have states."""

    files: Sequence[str]
    workspaces: Sequence[str]

    def configuration(self, tool: Tool) -> list[str]:
        """Return the files that the tool loads and that can declare something."""
        return [name for name in self._loaded(tool) if not _is_override(name)]

    def overrides(self, tool: Tool) -> list[str]:
        """Return the files that only change what others declare."""
        return [name for name in self._loaded(tool) if _is_override(name)]

    def has_stem(self, stem: str) -> bool:
        """Say whether any tool could load a file of that name, whatever its suffix is.

        OpenTofu ignores `a.tf` where there is `a.tofu`.
        """
        return any(name.startswith(f"{stem}.") for name in self.files)

    def _loaded(self, tool: Tool) -> list[str]:
        # Hidden files are ignored. So are backups of editors (`a.tf~`), which end otherwise anyway.
        found = [name for name in self.files if not name.startswith(".")]
        return sorted(name for name in found if name.endswith(SUFFIXES[tool]))


def read_listing(listing: bytes) -> ProjectRoot:
    """Return what `LIST` printed."""
    files, workspaces = [], []
    for line in listing.decode(errors="replace").split("\0")[:-1]:
        kind, _, path = line.partition(" ")
        folder, _, name = path.rpartition("/")
        if folder and kind == "d":
            workspaces.append(name)
        elif not folder and kind != "d":
            files.append(name)
    return ProjectRoot(files, workspaces)


def holds_state(content: bytes) -> bool:
    """Say whether Terraform would want to migrate a `terraform.tfstate` with that content.

    One that it can't read counts: initializing fails over it. One without resources and outputs
    does not.
    """
    if not content.strip():
        return False
    try:
        state = bounded_json.loads(content, MOST_PARTS)
    except ValueError:
        return True
    is_known = isinstance(state, dict) and state.get("version") == 4
    return not is_known or bool(state.get("resources") or state.get("outputs"))


def _is_override(name: str) -> bool:
    stem = name.removesuffix(".json").rpartition(".")[0]
    return stem == "override" or stem.endswith("_override")
