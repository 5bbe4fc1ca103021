"""URL names: each one that a template, a module or a setting uses exists."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings
from django.template import Engine
from django.template.defaulttags import URLNode
from django.urls import URLPattern, URLResolver, get_resolver

from tests.packages import PACKAGES

ROOT = Path(settings.BASE_DIR)
TEMPLATES = ROOT / "templates"
CALLS = {"reverse", "redirect", "ComboboxInput"}
SETTINGS = ("LOGIN_URL", "LOGIN_REDIRECT_URL", "LOGOUT_REDIRECT_URL")


def named(
    patterns: Sequence[URLPattern | URLResolver], namespace: str = ""
) -> Iterator[tuple[str, int]]:
    """Yield each URL name with its namespace, and the number of its arguments."""
    for one in patterns:
        if isinstance(one, URLResolver):
            inside = f"{namespace}{one.namespace}:" if one.namespace else namespace
            yield from named(one.url_patterns, inside)
        elif one.name:
            yield f"{namespace}{one.name}", len(one.pattern.converters)


URLS = list(named(get_resolver().url_patterns))


def used_in(template: Path) -> Iterator[tuple[str, int]]:
    """Yield the names in a template's `{% url %}`, but no variables, and how many arguments."""
    compiled = Engine.get_default().get_template(str(template.relative_to(TEMPLATES)))
    for node in compiled.nodelist.get_nodes_by_type(URLNode):
        if isinstance(node, URLNode) and isinstance(node.view_name.var, str):
            yield node.view_name.var, len(node.args) + len(node.kwargs)


def used_by(module: Path) -> Iterator[str]:
    """Yield the names that a module reverses, redirects to or passes to a combobox."""
    for node in ast.walk(ast.parse(module.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        if node.func.id in CALLS and isinstance(node.args[0], ast.Constant | ast.IfExp):
            parts = [one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)]
            yield from (part for part in parts if isinstance(part, str))


def test_no_two_urls_have_the_same_name() -> None:
    names = [name for name, _ in URLS]
    assert sorted(set(names)) == sorted(names)


def test_every_url_of_an_app_is_in_its_namespace() -> None:
    assert [name for name, _ in URLS if ":" not in name] == ["healthz"]


def test_every_url_that_a_template_names_exists() -> None:
    used = [
        (template.name, *url)
        for template in sorted(TEMPLATES.rglob("*.html"))
        for url in used_in(template)
    ]
    assert len(used) > 100
    assert [one for one in used if one[1:] not in URLS] == []


def test_every_url_that_code_names_exists() -> None:
    names = {name for name, _ in URLS}
    modules = [module for package in PACKAGES for module in (ROOT / package).rglob("*.py")]
    used = [(module.name, name) for module in modules for name in used_by(module)]
    used += [(setting, getattr(settings, setting)) for setting in SETTINGS]
    assert len(used) > 50
    assert [one for one in used if one[1] not in names] == []
