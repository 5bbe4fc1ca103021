"""Give a run the files of its environment, in a folder that it can only read."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from stacks.execution.isolation.sandbox import Sandbox

FOLDER = "files"
# The second reaches the code, as its variable "stackhook_files"; where it declares none, nothing.
VARIABLES = ("STACKHOOK_FILES", "TF_VAR_stackhook_files")


def provide_files(sandbox: Sandbox, files: Mapping[str, bytes]) -> dict[str, str]:
    """Let a job read files, each at its path below one folder; return variables that name it."""
    for path, content in files.items():
        sandbox.provide(str(PurePosixPath(FOLDER, path)), content)
    return dict.fromkeys(VARIABLES, sandbox.path("input", FOLDER))
