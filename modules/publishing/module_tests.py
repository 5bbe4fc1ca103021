"""Which tests of a module are run: those that only plan, unless the module may apply."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modules.documents.asking import ask
from modules.publishing.contents import File

# Where Terraform and OpenTofu look for tests (Command: test, “Usage”).
TESTS = re.compile(r"(?:tests/)?[^/]+\.(?:tftest|tofutest)\.(?:hcl|json)")
LARGEST = 2 * 1024 * 1024  # bytes, of all files together


@dataclass(frozen=True)
class ModuleTests:
    """The files of tests that are run, and those that are not, as they would apply."""

    run: Sequence[str]
    skipped: Sequence[str]

    @property
    def filters(self) -> list[str]:
        """The options that have exactly these files run."""
        return [f"-filter={path}" for path in self.run]


def tests_of(files: Mapping[str, File], *, may_apply: bool) -> ModuleTests | None:
    """Return which tests of a module are run; None where it has none."""
    found = sorted(path for path in files if TESTS.fullmatch(path))
    if not found:
        return None
    if may_apply:
        return ModuleTests(found, [])
    only_plan = _only_plan({path: files[path].content for path in found if path.endswith(".hcl")})
    run = [path for path in found if path in only_plan]
    return ModuleTests(run, [path for path in found if path not in only_plan])


def _only_plan(files: Mapping[str, bytes]) -> set[str]:
    """Return the files whose run blocks all say `command = plan`; none where that is not known."""
    if not files or sum(map(len, files.values())) > LARGEST:
        return set()
    try:
        texts = {path: content.decode() for path, content in files.items()}
    except UnicodeDecodeError:
        return set()
    said = ask("modules.documents.run_blocks", texts)
    return {path for path, plans in said.items() if plans is True} if said else set()
