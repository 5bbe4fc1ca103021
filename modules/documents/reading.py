"""What a module's code says of itself: inputs, outputs, required providers and submodules.

It is for people: Terraform itself checks whether the code is right. So a file that can't be read
is named, and does not keep a version from being published.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from modules.documents.asking import ask

LARGEST_CODE = 2 * 1024 * 1024  # bytes, of all files together
LARGEST_README = 256 * 1024  # bytes
# Those of the module itself and, by convention, of its submodules ("Standard Module Structure").
CODE = re.compile(r"(?:modules/[^/]+/)?[^/]+\.tf(?:\.json)?")
README = "README.md"
SUBMODULES = "modules/"


@dataclass(frozen=True)
class Documentation:
    """What the code of a folder says; lists hold mappings of texts, as they are stored.

    An input has a name, type, description, default (None where it is required) and is_sensitive; an
    output a name, description and is_sensitive; a provider a name, source and version.
    """

    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    providers: list[dict[str, Any]] = field(default_factory=list)
    required_version: str = ""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ModuleDocumentation:
    """What a module says of itself: its own code, that of its submodules by name, its README.

    The README is HTML that is not safe to show as it is, see `modules.documents.readme`.
    """

    own: Documentation
    submodules: dict[str, Documentation]
    readme: str

    @property
    def stored(self) -> dict[str, Any]:
        """What is stored of the code, as JSON."""
        submodules = {name: asdict(one) for name, one in self.submodules.items()}
        return {**asdict(self.own), "submodules": submodules}


def read_module(files: Mapping[str, bytes]) -> ModuleDocumentation:
    """Read the files of a module, by their paths from its folder. Raises nothing."""
    code = {path: content for path, content in files.items() if CODE.fullmatch(path)}
    if sum(map(len, code.values())) > LARGEST_CODE:
        return _without("Its code is too large for its inputs and outputs to be shown.")
    said = ask(
        "modules.documents.child",
        {
            "code": {path: _text(content) for path, content in code.items()},
            "readme": _text(files.get(README, b"")[:LARGEST_README]),
        },
    )
    if said is None:
        return _without("It takes too long to read for its README, inputs and outputs to be shown.")
    folders: dict[str, dict[str, Any]] = said["folders"]
    submodules = {
        folder.removeprefix(SUBMODULES): Documentation(**found)
        for folder, found in sorted(folders.items())
        if folder
    }
    return ModuleDocumentation(Documentation(**folders.get("", {})), submodules, said["readme"])


def _without(problem: str) -> ModuleDocumentation:
    return ModuleDocumentation(Documentation(problems=[problem]), {}, "")


def _text(content: bytes) -> str:
    return content.decode(errors="replace").replace("\0", "")
