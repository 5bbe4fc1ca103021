"""Tests use what the product offers; what is private may be rewritten without them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from tests.packages import PACKAGES

# What Django, Python and the SDK of Azure DevOps offer under such names.
OF_OTHERS = {
    "_base_manager",
    "_current_frames",
    "_default_manager",
    "_locations_cache",
    "_meta",
}
# Functions that are given a name as text.
TAKE_NAMES = {"delattr", "getattr", "hasattr", "object", "patch", "setattr"}


def private_names(tree: ast.AST) -> Iterator[str]:
    """Yield the private names that are used of anything but one's own object."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name):
                yield from name_if_private(name)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in PACKAGES:
                for alias in node.names:
                    yield from name_if_private(alias.name)
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
                if called in TAKE_NAMES:
                    for argument in node.args:
                        if isinstance(argument, ast.Constant):
                            yield from name_if_private(str(argument.value).rpartition(".")[2])


def name_if_private(name: str) -> Iterator[str]:
    if name.startswith("_") and not name.startswith("__") and name not in OF_OTHERS:
        yield name


def test_no_test_uses_a_private_name() -> None:
    used = {
        f"{path.name}: {name}"
        for path in (Path(settings.BASE_DIR) / "tests").rglob("*.py")
        for name in private_names(ast.parse(path.read_text()))
    }
    assert used == set()


def test_every_way_to_use_one_is_found() -> None:
    ways = (
        "module._one",
        "from stacks.models.run import _two",
        "monkeypatch.setattr('stacks.models._three', fail)",
        "mock.patch.object(Client, '_four')",
    )
    assert [*private_names(ast.parse("\n".join(ways)))] == ["_two", "_one", "_three", "_four"]
