"""What a project root holds, by the rules by which Terraform and OpenTofu load a folder.

https://developer.hashicorp.com/terraform/language/files and
https://opentofu.org/docs/language/files/ name them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from core import bounded_json
from stacks.execution.checkout.commands_file import FILE as COMMANDS_FILE
from stacks.execution.checkout.workspace import CODE
from stacks.execution.isolation.sandbox import Sandbox
from stacks.models import Tool
from stacks.tfstate.files import MOST_PARTS

SUFFIXES = {
    Tool.TERRAFORM: (".tf", ".tf.json"),
    Tool.OPENTOFU: (".tf", ".tf.json", ".tofu", ".tofu.json"),
}
STATE = "terraform.tfstate"
# Where the `local` backend keeps the states of workspaces, each in a folder.
WORKSPACES = "terraform.tfstate.d"
# Prints type and path of all that is in the folder $1, and in its folder of workspaces. Then in
# which of this folder and of $2, the top of the repository, the file $3 is found first.
NO_FOLDER = 66
ROOT, TOP = "root", "top"
LIST = rf"""
test -d "$1" || exit {NO_FOLDER}
find "$1/" -mindepth 1 -maxdepth 2 -printf '%y %P\0' ! -name {WORKSPACES} -prune
if test -f "$1/$3"; then printf '@ {ROOT}\0'; elif test -f "$2/$3"; then printf '@ {TOP}\0'; fi
"""


@dataclass(frozen=True)
class ProjectRoot:
    """The names in a project root: of files, of folders, and of the workspaces that have states.

    `place` says where the file of commands is that counts, ROOT or TOP; empty if there is none.
    """

    files: Sequence[str]
    folders: Sequence[str]
    workspaces: Sequence[str]
    place: str = ""

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


# Prints those of some paths, from the project root, that are no files.
MISSING = r"""for path; do test -f "$path" || printf '%s\0' "$path"; done"""


def list_command(sandbox: Sandbox, folder: str) -> list[str]:
    """Return the command that lists a project root, which is a folder in the workspace."""
    folders = [sandbox.path("workspace", one) for one in (folder, CODE)]
    return ["sh", "-c", LIST, "list", *folders, COMMANDS_FILE]


def read_listing(listing: bytes) -> ProjectRoot:
    """Return what `LIST` printed."""
    files: list[str] = []
    folders: list[str] = []
    workspaces, place = [], ""
    for line in listing.decode(errors="replace").split("\0")[:-1]:
        kind, _, path = line.partition(" ")
        if kind == "@":
            place = path
            continue
        folder, _, name = path.rpartition("/")
        if folder and kind == "d":
            workspaces.append(name)
        elif not folder:
            (folders if kind == "d" else files).append(name)
    return ProjectRoot(files, folders, workspaces, place)


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
