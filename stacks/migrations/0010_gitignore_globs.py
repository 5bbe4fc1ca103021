"""Extra globs get the meaning of a .gitignore; those there are match no less than before.

Before, `*`, `?` and brackets also matched slashes, a `**` was a `*`, a `!` was itself, and every
glob was compared with the whole path.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from django.db import migrations

# What the form takes
MOST_GLOBS = 50
LONGEST_GLOB = 200
MOST_DOUBLE_STARS = 3
MOST_STARS_MORE = 2

MOST_ALTERNATIVES = 8
PARTS = re.compile(r"\*+|\[(?:!|(?!!))(?:\][^]]*|[^]]+)\]|.", re.DOTALL)
SIMPLE_BRACKETS = re.compile(r"\[!?(?:[^][\\/&|~^!-](?:-[^][\\/&|~^!-])?)+\]")


def translated(globs: list[str]) -> list[str]:
    """Return globs in the new meaning that match all that globs in the old meaning match."""
    found = list(dict.fromkeys(new for glob in globs for new in _translate(glob)))
    if len(found) > MOST_GLOBS:
        found = list(dict.fromkeys(_wider(_parts(glob)) for glob in globs))
    return found


def _translate(glob: str) -> list[str]:
    """Return globs for one; where they would be many or long, one that matches more."""
    parts = _parts(glob)
    choices = [[part, "/"] if _may_be_slash(part) else [part] for part in parts]
    if _count(choices) > MOST_ALTERNATIVES:
        return [_wider(parts)]
    found = [new for one in product(*choices) if _names_a_path(one) for new in _with_stars(one)]
    if len(found) > MOST_ALTERNATIVES or any(map(_is_refused, found)):
        return [_wider(parts)]
    return found


def _parts(glob: str) -> list[str]:
    """Divide a glob into stars, question marks, brackets and single characters."""
    parts: list[str] = []
    for part in PARTS.findall(glob):
        if part.startswith("*"):
            parts.append("*")
        elif part == "[":
            parts.append(r"\[")
        elif part == "\\":
            parts.append("?")
        elif part.startswith("["):
            parts.append(_brackets(part))
        else:
            parts.append(part)
    return parts


def _brackets(part: str) -> str:
    """Return brackets that mean the same; a `?` where they are too odd for that."""
    if part.startswith("[^"):  # it was a character like others
        part = f"[{part[2:-1]}^]" if SIMPLE_BRACKETS.fullmatch(f"[{part[2:-1]}]") else "?"
    elif not SIMPLE_BRACKETS.fullmatch(part):
        return "?"
    try:
        re.compile(part)
    except re.error:  # a range that ends before it begins
        return "?"
    return part


def _may_be_slash(part: str) -> bool:
    return part == "?" or (part.startswith("[") and fnmatchcase("/", part))


def _names_a_path(parts: tuple[str, ...]) -> bool:
    return not {"", ".", ".."} & set("".join(parts).split("/"))


def _with_stars(parts: tuple[str, ...]) -> Iterator[str]:
    """Yield globs that match what one with stars matches, which stood for slashes, too."""
    around = zip(("/", *parts[:-1]), parts, (*parts[1:], ""), strict=True)
    choices = [_choices(*each) if each[1] == "*" else [each[1]] for each in around]
    if _count(choices) > MOST_ALTERNATIVES:
        yield _wider(list(parts))
        return
    for one in product(*choices):
        yield _anchored(re.sub(r"(\*\*/)+(?=\*\*)", "", "".join(one)))


def _choices(before: str, star: str, after: str) -> list[str]:
    """Return what a star between two parts becomes; it begins a path after a slash."""
    begins, ends = before == "/", after in {"/", ""}
    if begins and not after:
        return ["**"]
    if after == "/":
        return ["*/**"]
    if begins:
        return ["**/*"]
    return ["*"] if ends else ["*", "*/**/*"]


def _anchored(glob: str) -> str:
    """Bind a glob to the top, where only a slash in its middle would do that by itself."""
    rest = glob.removeprefix("**/")
    if glob == "**":
        return "*"
    if rest != glob and "/" not in rest:
        return rest
    return f"/{glob}" if "/" not in glob or glob[0] in "!#" else glob


def _wider(parts: list[str]) -> str:
    """Return a glob that matches all that begins like another does before its first wildcard."""
    known = "".join(parts[: next(i for i, part in enumerate([*parts, "*"]) if _is_open(part))])
    if not known:
        return "*"
    return f"{known}**" if known.endswith("/") else _anchored(f"{known}*")


def _is_open(part: str) -> bool:
    return part in {"*", "?"} or part.startswith("[")


def _is_refused(glob: str) -> bool:
    names = glob.split("/")
    more = sum(max(name.count("*") - 1, 0) for name in names if name != "**")
    return (
        names.count("**") > MOST_DOUBLE_STARS
        or more > MOST_STARS_MORE
        or len(glob) > LONGEST_GLOB
    )


def _count(choices: list[list[str]]) -> int:
    count = 1
    for one in choices:
        count *= len(one)
    return count


def translate_globs(apps: Any, schema_editor: Any) -> None:
    stacks = apps.get_model("stacks", "Stack").objects
    for stack in stacks.exclude(extra_globs=[]).only("extra_globs"):
        stacks.filter(pk=stack.pk).update(extra_globs=translated(stack.extra_globs))


class Migration(migrations.Migration):
    dependencies = [("stacks", "0009_secrets_and_warnings")]

    operations = [migrations.RunPython(translate_globs, migrations.RunPython.noop, elidable=True)]
