"""Give a run files: those of its environment, in a folder that it can only read, and ours."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import PurePosixPath

from stacks.execution.isolation.sandbox import Sandbox

FOLDER = "files"
# The second reaches the code, as its variable "stackhook_files"; where it declares none, nothing.
VARIABLES = ("STACKHOOK_FILES", "TF_VAR_stackhook_files")

# Copies files into the current folder, from where no link leads out, and goes on with a command.
COPY = """
while [ "$1" != -- ]; do
  cp -T --remove-destination "$1" "$2" || exit
  shift 2
done
shift
exec "$@"
"""


def provide_files(sandbox: Sandbox, files: Mapping[str, bytes]) -> dict[str, str]:
    """Let a job read files, each at its path below one folder; return variables that name it."""
    for path, content in files.items():
        sandbox.provide(str(PurePosixPath(FOLDER, path)), content)
    return dict.fromkeys(VARIABLES, sandbox.path("input", FOLDER))


def with_files(sandbox: Sandbox, files: Mapping[str, bytes], command: Sequence[str]) -> list[str]:
    """Return a command that first puts files into the folder in which it is run."""
    copies = [(sandbox.provide(name, content), name) for name, content in files.items()]
    return ["sh", "-c", COPY, "copy", *chain.from_iterable(copies), "--", *command]
