"""The rules of the code's structure that import-linter does not know; see docs/architecture.md."""

import ast
import re
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import grimp
import pytest
from django.apps import apps
from django.conf import settings
from django.db.models import Model
from django.urls import URLResolver, get_resolver

from tests.packages import PACKAGES

ROOT = Path(settings.BASE_DIR)
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
    graph = grimp.build_graph(*PACKAGES)
    imports = {one: graph.find_modules_directly_imported_by(one) for one in graph.modules}
    for one in CIRCLE:
        imports[one] -= CIRCLE
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_a_package_is_small_enough_to_be_looked_over() -> None:
    folders = {path.parent for path in files(*PACKAGES)}
    sizes = {folder: len([*folder.glob("[!_]*.py")]) for folder in folders}
    assert {str(folder): size for folder, size in sizes.items() if size > MOST_MODULES} == {}


def test_a_file_of_views_is_short() -> None:
    views = [path for path in files(*PACKAGES) if path.stem.endswith("views")]
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
        for path in [*files(*PACKAGES), *pages]
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


# Reaching up without an import

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAYERS = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
# What lies in templates/ for all packages, like elements/, is below them: 0.
HEIGHTS = {package: height for height, package in enumerate(reversed(LAYERS), start=1)}
# A template by its path, or a URL by its namespace, as code and templates quote it.
QUOTED_NAME = re.compile(r"""['"]((?:(\w+)/|(\w+):\w)[\w./]*)""")
# The page after signing in: a setting, and so no package's choice.
START_PAGE = settings.LOGIN_REDIRECT_URL


def height_of(model: type[Model]) -> int:
    """Return the height of a model's package; 0 for Django's."""
    return HEIGHTS.get(model.__module__.partition(".")[0], 0)


def heights_of_files() -> Iterator[tuple[int, Path]]:
    """Yield the files of code and of templates, each with the height of its package.

    Without the templates of all pages, like base.html: their navigation leads everywhere.
    """
    for package in PACKAGES:
        yield from ((HEIGHTS[package], path) for path in files(package))
    for folder in (ROOT / "templates").glob("*/"):
        yield from ((HEIGHTS.get(folder.name, 0), path) for path in folder.rglob("*.html"))


def names_from_above(height: int, text: str) -> Iterator[str]:
    """Yield the templates and URLs of packages above a height that a text names."""
    packages = {
        one.namespace: one.urlconf_module.__name__.partition(".")[0]
        for one in get_resolver().url_patterns
        if isinstance(one, URLResolver) and isinstance(one.urlconf_module, ModuleType)
    }
    for name, folder, namespace in QUOTED_NAME.findall(text):
        package = folder or packages.get(namespace)
        if HEIGHTS.get(package, 0) > height and name != START_PAGE:
            yield name


def relations_from_above(height: int, text: str) -> Iterator[str]:
    """Yield the uses of relations that come from models of packages above a height."""
    names = {
        str(name)
        for model in apps.get_models()
        for relation in model._meta.related_objects
        if height_of(relation.related_model) > max(height, height_of(model)) and height_of(model)
        for name in (relation.get_accessor_name(), relation.field.related_query_name())
    }
    one = "|".join(names) or "(?!)"
    uses = rf"(?:\.|__)(?:{one})\b|\b(?:{one})(?:__|=)|['\"]-?(?:{one})['\"]"
    yield from re.findall(uses, text)


def test_nothing_names_a_template_or_a_url_of_a_package_above() -> None:
    strays = [
        f"{path.relative_to(ROOT)}: {name}"
        for height, path in heights_of_files()
        for name in names_from_above(height, path.read_text())
    ]
    assert strays == []


def test_nothing_uses_a_relation_that_comes_from_a_package_above() -> None:
    strays = [
        f"{path.relative_to(ROOT)}: {use}"
        for height, path in heights_of_files()
        for use in relations_from_above(height, path.read_text())
    ]
    assert strays == []


def test_every_way_to_reach_up_is_found() -> None:
    height = HEIGHTS["vcs_integrations"]
    names = """{% include "stacks/runs/plan.html" %} <a href="{% url 'stacks:list' %}">
        render(request, f"stacks/{name}.html") redirect("dashboard:reports")
        {% extends "base.html" %} {% include one.template %} reverse("accounts:people")"""
    assert [*names_from_above(height, names)] == [
        "stacks/runs/plan.html",
        "stacks:list",
        "stacks/",
        "dashboard:reports",
    ]
    relations = """{{ delivery.decisions.all }} filter(reports__state="waiting", stacks=None)
        order_by("-runs") Prefetch("repository__pull_requests") integration.deliveries"""
    assert [*relations_from_above(height, relations)] == [
        ".decisions",
        "reports__",
        "stacks=",
        '"-runs"',
        "__pull_requests",
    ]
    assert [*relations_from_above(HEIGHTS["stacks"], relations)] == []
