"""Extra globs: what they mean, which is what the lines of a .gitignore mean.

The last glob that matches a path decides: one with a `!` takes the path back.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import takewhile

from pathspec import PathSpec
from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

# Matching takes time that grows with a high power of the length: what is longer counts as matched.
LONGEST_PATH = 400
MOST_DOUBLE_STARS = 3
MOST_STARS_MORE = 2  # in all of a glob, besides one star in each name
BRACKETS = re.compile(r"\\.|\[[!^]?(?:[^][\\/&|~-](?:-[^][\\/&|~-])?)+\]")
ESCAPED = re.compile(r"\\(?:[][]|(?<=^\\)[!#])")


class InvalidGlob(ValueError):
    """A glob that can't be used; the text says why, as the end of a sentence about it."""


def matching(globs: Sequence[str], paths: Iterable[str]) -> Iterator[str]:
    """Yield the paths that globs match, in their order."""
    if globs:
        spec = _spec(tuple(globs))
        for path in paths:
            # To the library's wildcards a line break is no character of a name.
            if len(path) > LONGEST_PATH or spec.match_file(path.replace("\n", "?")):
                yield path


def concern(globs: Sequence[str], paths: Collection[str]) -> bool:
    """Say whether globs match a changed path, or may match something in a changed submodule.

    A submodule has a slash at its end; where a deletion is listed without its type, it has none.
    """
    return any(matching(globs, (path.removesuffix("/") for path in paths))) or any(
        _may_match_below(glob, path) for glob in globs for path in paths if not glob.startswith("!")
    )


def plain(typed: str) -> str:
    """Return a glob as it is kept. Raises InvalidGlob."""
    negation = "!" if typed.startswith("!") else ""
    glob = typed.removeprefix("!").strip()
    if glob.startswith("./"):
        glob = glob[2:] if "/" in glob[2:-1] else glob[1:]
    names = glob.removeprefix("/").removesuffix("/").split("/")
    if {"", ".", ".."} & set(names) or not glob.isprintable() or "\\" in ESCAPED.sub("", glob):
        raise InvalidGlob(
            "matches no file. Use a path inside the repository, with / between its parts, "
            "like modules/**/*.tf."
        )
    if "{" in glob or "}" in glob:
        raise InvalidGlob("has braces, which are not supported. Write one glob for each choice.")
    if "[" in BRACKETS.sub("", glob):
        raise InvalidGlob(
            r"has brackets that are not supported. Use [abc], [a-z] or [!a-z], or write \[ for a "
            "bracket itself."
        )
    if _takes_long(names):
        raise InvalidGlob("has too many stars for one glob. Write several simpler ones.")
    try:
        GitIgnoreSpecPattern(negation + glob)
    except (GitIgnorePatternError, re.error):
        raise InvalidGlob("can't be read. Check its brackets and stars.") from None
    return negation + glob


def _takes_long(names: Sequence[str]) -> bool:
    more = sum(max(name.count("*") - 1, 0) for name in names if name != "**")
    return names.count("**") > MOST_DOUBLE_STARS or more > MOST_STARS_MORE


def _may_match_below(glob: str, path: str) -> bool:
    """Say whether a glob may match a file in a submodule; in what may be one, if it names it."""
    if not path.endswith("/"):
        return glob.removeprefix("/").startswith(f"{path}/")
    if "/" not in glob.removesuffix("/"):
        return True  # it matches at any depth
    names, folders = glob.removeprefix("/").split("/"), path.removesuffix("/").split("/")
    before_stars = takewhile(lambda pair: pair[0] != "**", zip(names, folders, strict=False))
    return all(fnmatchcase(folder, name) for name, folder in before_stars)


@lru_cache(maxsize=200)
def _spec(globs: tuple[str, ...]) -> PathSpec[GitIgnoreSpecPattern]:
    return PathSpec.from_lines(GitIgnoreSpecPattern, globs)
