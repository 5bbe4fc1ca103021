"""README, CONTRIBUTING, SECURITY and docs/: what they name exists, and what they draw is so."""

import ast
import html
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest
from django.conf import settings
from django.core.management import get_commands

from stacks.rules.states import State
from stacks.rules.triggers import RULE_TEXTS
from tests.config.test_configuration import variables_that_config_reads
from tests.packages import PACKAGES

ROOT = Path(settings.BASE_DIR)
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *DOCS.rglob("*.md")]
# In these, bold text that no colon follows is a label of a page.
GUIDES = [ROOT / "README.md", DOCS / "modules.md"]
GUIDES += [DOCS / f"{name}.md" for name in ("admins", "operators", "runs", "troubleshooting")]
# A file, or a folder with a slash at its end, as code writes it: from the top of the repository.
PATH = re.compile(r"(?:[\w.-]+/)*(?:[\w.-]+\.(?:py|md|toml|html|css|txt)|[\w.-]+/|\.env\.example)")


# Reading Markdown


def lines_of(page: Path, *, code: bool) -> str:
    """Return the lines of code blocks, fenced or indented; or all others."""
    found, in_fence = [], False
    for line in page.read_text().splitlines():
        is_fence = line.startswith("```")
        if (in_fence or line.startswith("    ")) == code and not is_fence:
            found.append(line)
        in_fence ^= is_fence
    return "\n".join(found)


def code_of(page: Path) -> list[str]:
    """Return what a page writes as code: in lines of its own and within sentences."""
    spans = re.findall(r"`([^`]+)`", lines_of(page, code=False))
    return [*spans, *lines_of(page, code=True).splitlines()]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", lines_of(page, code=False), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}


def first_cells(page: Path, heading: str) -> list[str]:
    """Return the first cells of the rows of the tables that have this heading in the first."""
    found: list[str] = []
    is_wanted = False
    for line in page.read_text().splitlines():
        cell = line[1:].partition("|")[0].strip()
        if not line.startswith("|"):
            is_wanted = False
        elif is_wanted and set(cell) != set("-"):
            found.append(cell)
        else:
            is_wanted = is_wanted or cell == heading
    return found


def block_after(page: Path, heading: str) -> str:
    """Return the first fenced block after a heading."""
    return page.read_text().partition(f"\n{heading}\n")[2].split("```")[1]


# What pages name


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", lines_of(page, code=False)):
            if re.match(r"https?:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors_of(target)):
                broken.append(f"{page.name}: {link}")
    assert broken == []


def test_each_page_can_be_reached() -> None:
    linked = {ROOT / "README.md"}
    for page in PAGES:
        links = re.findall(r"\]\(([^)#\s]+)", lines_of(page, code=False))
        linked |= {(page.parent / link).resolve() for link in links}
    assert set(PAGES) - linked == set()


def test_commands_of_make_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for code in code_of(page)
        for targets_named in re.findall(r"\bmake((?: [a-z]+)+)", code)
        for target in targets_named.split()
    }
    assert named >= {"demo", "run", "check", "test"}
    assert named - targets == set()


def test_commands_of_manage_exist() -> None:
    code = "\n".join(code for page in PAGES for code in code_of(page))
    named = set(re.findall(r"\bmanage\.py ([a-z]\w*)", code))
    assert named >= {"migrate", "background_worker", "run_worker"}
    assert named - set(get_commands()) == set()


def test_paths_exist() -> None:
    named = {code for page in PAGES for code in code_of(page) if PATH.fullmatch(code)}
    # What a folder of a provider or a stack has.
    roles = {f"{name}.py" for name in ("provider", "client", "webhook", "service_hooks", "checkup")}
    roles |= {"views.py", "forms.py", "texts.py", "job.py", "manage.py"}
    assert len(named) > 80
    assert sorted(one for one in named - roles if not (ROOT / one).exists()) == []


# Settings


def test_each_setting_is_documented_and_no_other() -> None:
    documented = re.findall(r"`(\w+)`", "".join(first_cells(DOCS / "settings.md", "Variable")))
    assert sorted(documented) == sorted(variables_that_config_reads())


def test_settings_that_the_settings_page_names_exist() -> None:
    spans = re.findall(r"`([A-Z][A-Z0-9_]*[A-Z0-9])`", (DOCS / "settings.md").read_text())
    assert set(spans) - variables_that_config_reads() == set()


# What people read in the interface


@cache
def texts_of_product() -> str:
    """Return every text that the product's code and templates have, with … for each value."""
    code = [path for name in PACKAGES for path in (ROOT / name).rglob("*.py")]
    texts = [text for path in [*code, ROOT / "manage.py"] for text in texts_of_code(path)]
    texts += map(text_of_template, (ROOT / "templates").rglob("*.html"))
    return "\n".join(texts)


def texts_of_code(path: Path) -> Iterator[str]:
    """Yield the texts in a module but its docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in docstrings
        ):
            yield node.value
        if isinstance(node, ast.JoinedStr):
            parts = (one.value if isinstance(one, ast.Constant) else "…" for one in node.values)
            yield "".join(map(str, parts))


def text_of_template(path: Path) -> str:
    text = re.sub(r"\{\{.*?\}\}", "…", path.read_text())
    text = re.sub(r"\{%.*?%\}|\{#.*?#\}", " ", text)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", text).split()))


def test_labels_are_those_of_the_interface() -> None:
    unknown = []
    for page in GUIDES:
        for bold, colon in re.findall(r"\*\*([^*]+)\*\*(:?)", lines_of(page, code=False)):
            for part in [] if colon else " ".join(bold.split()).split(" → "):
                if not re.search(rf"(?<!\w){re.escape(part)}(?!\w)", texts_of_product()):
                    unknown.append(f"{page.name}: {part}")
    assert unknown == []


def test_messages_are_those_of_the_product() -> None:
    messages = first_cells(DOCS / "troubleshooting.md", "Message")
    assert len(messages) > 40
    unknown = [one for one in messages if one.strip("… ") not in texts_of_product()]
    assert unknown == []


def test_each_rule_is_explained() -> None:
    assert sorted(first_cells(DOCS / "runs.md", "Rule")) == sorted(RULE_TEXTS.values())


def test_each_state_of_a_run_is_explained_and_has_its_status() -> None:
    states = ", ".join(first_cells(DOCS / "runs.md", "State")).split(", ")
    assert sorted(states) == sorted(State)
    reported = ", ".join(first_cells(DOCS / "runs.md", "The run")).split(", ")
    assert set(State) <= set(reported)


# The drawing of the rooms


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("modules", "stacks", "vcs_integrations", cache_dir=None)


def rooms_of(package: str) -> dict[str, set[str]]:
    """Return the rooms of a package: the modules of each, itself among them."""
    graph = import_graph()
    children = graph.find_children(package) - {f"{package}.migrations"}
    below = {child: graph.find_descendants(child) for child in children}
    return {child.rpartition(".")[2]: {child, *found} for child, found in below.items() if found}


def imports_of_rooms(package: str) -> dict[str, set[str]]:
    """Return the rooms that each room of a package imports."""
    rooms = rooms_of(package)
    home = {module: room for room, modules in rooms.items() for module in modules}
    return {
        room: {
            home[imported]
            for module in modules
            for imported in import_graph().find_modules_directly_imported_by(module)
            if imported in home
        }
        - {room}
        for room, modules in rooms.items()
    }


def without_implied(imports: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Return the edges that no longer way implies, of a graph without circles."""

    def reached(start: str) -> set[str]:
        return imports[start].union(*map(reached, imports[start]))

    return {
        (room, other)
        for room, others in imports.items()
        for other in others
        if not any(other in reached(between) for between in others)
    }


@pytest.mark.parametrize("package", ["vcs_integrations", "stacks", "modules"])
def test_the_rooms_are_drawn_as_they_import_each_other(package: str) -> None:
    drawing = block_after(DOCS / "architecture.md", f"### Rooms of {package}")
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", drawing, re.MULTILINE))
    assert drawn == without_implied(imports_of_rooms(package))


def test_each_room_is_described() -> None:
    described = first_cells(DOCS / "architecture.md", "Room")
    rooms = [
        room for package in ("vcs_integrations", "stacks", "modules") for room in rooms_of(package)
    ]
    assert sorted(described) == sorted(f"`{room}`" for room in rooms)
