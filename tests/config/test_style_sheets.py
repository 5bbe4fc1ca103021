"""Style sheets: each class in them is one that a page has, and each variable is used."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings
from django.contrib.messages import constants
from django.contrib.messages.utils import get_level_tags

from tests.packages import PACKAGES

ROOT = Path(settings.BASE_DIR)
STYLES = "".join(one.read_text() for one in sorted((ROOT / "static/css").glob("*.css")))
TEMPLATES = [one.read_text() for one in sorted((ROOT / "templates").rglob("*.html"))]
SCRIPTS = [one.read_text() for one in sorted((ROOT / "static/js").glob("*.js"))]
CODE = [one.read_text() for name in PACKAGES for one in sorted((ROOT / name).rglob("*.py"))]
# What Django writes into forms.
OF_DJANGO = {"errorlist", "nonfield"}
TAG = r"\{[{%].*?[%}]\}"
# The beginning of a class whose end is filled in, like `step-{{ step.status }}` or `log-{color}`.
BEGINNING = re.compile(r"([\w-]+-)\$?\{")


def words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[\w-]+", text)}


def classes_in_styles() -> set[str]:
    selectors = re.findall(r"([^{};]+)\{", re.sub(r"(?s)/\*.*?\*/", "", STYLES))
    return {name for one in selectors for name in re.findall(r"\.([A-Za-z_][\w-]*)", one)}


def classes_in_pages() -> Iterator[str]:
    """Yield what stands in attributes of templates, and in strings of scripts and of code."""
    for template in TEMPLATES:
        yield from re.findall(rf'class="((?:{TAG}|[^"])*)"', template)
    for text in (*SCRIPTS, *CODE):
        yield from re.findall(r'"([^"\n]*)"', text)
        yield from re.findall(r"'([^'\n]*)'", text)


def test_every_class_in_a_style_sheet_is_one_that_a_page_has() -> None:
    whole = words(classes_in_pages()) | OF_DJANGO
    texts = [*TEMPLATES, *SCRIPTS, *CODE]
    beginnings = tuple({one for text in texts for one in BEGINNING.findall(text)})
    levels = get_level_tags()
    ends = words(texts) | {levels[one] for one in constants.DEFAULT_LEVELS.values()}
    styled = classes_in_styles()
    assert len(styled) > 100
    unused = []
    for name in sorted(styled - whole):
        fitting = [one for one in beginnings if name.startswith(one)]
        if not any(name.removeprefix(one) in ends for one in fitting):
            unused.append(name)
    assert unused == []


def test_every_variable_of_a_style_sheet_is_set_and_used() -> None:
    assert {*re.findall(r"(--[\w-]+)\s*:", STYLES)} == {*re.findall(r"var\((--[\w-]+)", STYLES)}
