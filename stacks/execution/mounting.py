"""Give a run files: those of its environment, in a folder that it can only read, and ours."""

from collections.abc import Mapping
from itertools import chain
from pathlib import PurePosixPath

from stacks.execution.isolation.sandbox import Sandbox

FOLDER = "files"
# The second reaches the code, as its variable "stackhook_files"; where it declares none, nothing.
VARIABLES = ("STACKHOOK_FILES", "TF_VAR_stackhook_files")

# Copies each file to its place, which it takes from whatever is there, other than a folder.
COPY = """
while [ $# -gt 0 ]; do
  cp -T --remove-destination "$1" "$2" || exit
  shift 2
done
"""


def provide_files(sandbox: Sandbox, files: Mapping[str, bytes]) -> dict[str, str]:
    """Let a job read files, each at its path below one folder; return variables that name it."""
    for path, content in files.items():
        sandbox.provide(str(PurePosixPath(FOLDER, path)), content)
    return dict.fromkeys(VARIABLES, sandbox.path("input", FOLDER))


def copy_command(sandbox: Sandbox, files: Mapping[str, bytes], folder: str) -> list[str]:
    """Return the command that puts files into a folder of the workspace.

    It is a program of its own: a shell that went on with another one would not pass on variables
    like TF_TOKEN_example.com, as their names are none that a shell can have.
    """
    copies = [
        (sandbox.provide(name, content), sandbox.path("workspace", f"{folder}/{name}"))
        for name, content in files.items()
    ]
    return ["sh", "-c", COPY, "copy", *chain.from_iterable(copies)]
