"""The rules of the code's structure that import-linter does not know; see docs/architecture.md."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
PRODUCT = ("accounts", "config", "core", "dashboard", "stacks", "vcs_integrations")
MOST_MODULES = 12
MOST_LINES_OF_VIEWS = 300
# A stack's newest run, a run's report and a report's stack: one aggregate, in one package.
CIRCLE = {f"stacks.models.{name}" for name in ("report", "run", "stack")}


def files(*packages: str) -> Iterator[Path]:
    for package in packages:
        for path in (ROOT / package).rglob("*.py"):
            if "migrations" not in path.parts:
                yield path


def test_no_modules_know_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*PRODUCT)
    imports = {one: graph.find_modules_directly_imported_by(one) for one in graph.modules}
    for one in CIRCLE:
        imports[one] -= CIRCLE
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_a_package_is_small_enough_to_be_looked_over() -> None:
    folders = {path.parent for path in files(*PRODUCT)}
    sizes = {folder: len([*folder.glob("[!_]*.py")]) for folder in folders}
    assert {str(folder): size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_a_file_of_views_is_short() -> None:
    views = [path for path in files(*PRODUCT) if path.stem.endswith("views")]
    lengths = {path: len(path.read_text().splitlines()) for path in views}
    assert {str(path): n for path, n in lengths.items() if n > MOST_LINES_OF_VIEWS} == {}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_a_provider_knows_neither_the_database_nor_pages() -> None:
    of_django = {
        (str(path), name)
        for path in files("vcs_integrations/providers")
        for name in imported(path)
        if name.startswith("django.") and not name.startswith(("django.conf.", "django.utils."))
    }
    assert of_django == set()


# What only Azure DevOps says; `AZURE_` and `azurerm` are words of Terraform's providers.
WORDS_OF_A_HOST = re.compile(
    r"azure.?devops|visualstudio|x-vss|vss|\biterations?\b|\babandoned\b|mergestatus|pushid",
    re.IGNORECASE,
)
# Names the providers that are installed, and what operators set for them.
NAMES_HOSTS = {ROOT / "config" / "settings.py"}


def test_no_word_of_a_host_stands_outside_of_its_folder() -> None:
    hosts = {
        path.parent for path in (ROOT / "vcs_integrations" / "providers").glob("*/provider.py")
    }
    pages = [path for path in (ROOT / "templates").rglob("*") if path.is_file()]
    strays = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in [*files(*PRODUCT), *pages]
        if path not in NAMES_HOSTS and not hosts & {*path.parents}
        if (found := WORDS_OF_A_HOST.search(path.read_text()))
    ]
    assert strays == []


def test_templates_lie_in_the_folders_of_their_packages() -> None:
    templates = ROOT / "templates"
    folders = {path.parent.relative_to(templates) for path in templates.rglob("*.html")}
    shared = {Path(), Path("elements"), Path("django"), Path("django/forms")}
    strays = [str(folder) for folder in folders - shared if not (ROOT / folder).is_dir()]
    assert strays == []
