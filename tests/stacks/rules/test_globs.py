"""Extra globs: they mean what git reads in a .gitignore."""

import random
import subprocess
from pathlib import Path

import pytest

from stacks.rules.globs import matching, plain
from tests.emulator.git import environment


@pytest.mark.parametrize(
    ("globs", "matched", "left_out"),
    [
        (["modules/**/*.tf"], "modules/vpc.tf modules/a/b/c.tf", "modules/a.md x/modules/a.tf"),
        (["**/*.tfvars"], "a.tfvars env/a.tfvars a/b/c.tfvars", "a.tfvars.bak"),
        (["*.tfvars"], "a.tfvars env/a.tfvars", "a.tf"),
        (["modules/*.tf"], "modules/a.tf", "modules/a/b.tf x/modules/a.tf"),
        (["modules/*"], "modules/a modules/a/b", "modules other/modules/a"),
        (["modules/**"], "modules/a modules/a/b", "modules modules2/a"),
        (["a/**/b"], "a/b a/x/b a/x/y/b", "a/xb ab"),
        (["versions.tf"], "versions.tf a/versions.tf", "a/versions.tf.json"),
        (["/versions.tf"], "versions.tf", "a/versions.tf"),
        (["shared"], "shared shared/a.tf x/shared/a.tf", "shared2/a.tf"),
        (["shared/"], "shared/a.tf x/shared/y/a.tf", "shared x/shared"),
        (["/shared/"], "shared/a.tf", "x/shared/a.tf"),
        (["?.tf", "[a-c]x/*", "[!a]y/*"], "a.tf d/b.tf bx/1 by/1", "ab.tf dx/1 ay/1"),
        ([r"\#a", r"\!b", r"\[c\]"], "#a !b [c]", "a b c"),
        (["größe/*.tf"], "größe/日本.tf", "grosse/a.tf"),
        (["Modules/*"], "Modules/a", "modules/a"),
        (["**/*.md", "!docs/**"], "a.md x/docs/a.md", "docs/a.md docs/b/c.md"),
        (["**/*.md", "!docs/"], "a.md", "docs/a.md x/docs/a.md"),
        (["!docs/**", "**/*.md"], "docs/a.md", "docs/a.tf"),
        (["docs/", "!*.md", "docs/keep.md"], "docs/a.tf docs/keep.md", "docs/a.md"),
        (["*"], "a a/b/c .hidden", ""),
        ([], "", "a a/b"),
    ],
)
def test_globs_have_the_meaning_of_a_gitignore(
    globs: list[str], matched: str, left_out: str
) -> None:
    assert [plain(glob) for glob in globs] == globs
    paths = [*matched.split(), *left_out.split()]
    assert list(matching(globs, paths)) == matched.split()


def test_a_name_with_a_line_break_is_matched() -> None:
    paths = ["modules/a\nb/c.tf", "a\n.tf\n"]
    assert list(matching(["modules/**/*.tf"], paths)) == paths[:1]
    assert list(matching(["*"], paths)) == paths


def test_a_path_too_long_to_compare_counts_as_matched() -> None:
    path = "docs/" + "a" * 400
    assert list(matching(["*.tf"], [path])) == [path]
    assert list(matching([], [path])) == []


@pytest.mark.parametrize("glob", ["**/*a*a*b", "**/a/**/a/**/a/b", "**/*a*a*/**/*/**/*b"])
def test_the_slowest_globs_come_to_an_end(glob: str) -> None:
    paths = ["a" * 400, "a/" * 199 + "c", "aaaa/" * 79 + "c", "aaaaaaaaa/" * 39 + "c"]
    assert list(matching([plain(glob)], paths)) == []


def pick(chance: random.Random, characters: str, most: int) -> str:
    return "".join(chance.choice(characters) for _ in range(chance.randint(1, most)))


def a_path(chance: random.Random, characters: str) -> str:
    names = [pick(chance, characters, 3) for _ in range(chance.randint(1, 4))]
    return "/".join(name if name.strip(".") else "x" for name in names)


def test_single_globs_match_what_git_ignores(tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311
    subprocess.run(["git", "init", "-q", tmp_path], check=True, env=environment())
    compared = 0
    for _ in range(150):
        words = ("a", "b", ".tf", "*", "**", "?", "[ab]", "[!b]", "/", "/**/")
        glob = "".join(chance.choice(words) for _ in range(chance.randint(1, 6)))
        try:
            glob = plain(glob)
        except ValueError:
            continue
        # To git `[!b]` is no slash, which is no difference that a run could miss.
        paths = sorted({a_path(chance, "aab.") for _ in range(60)})
        (tmp_path / ".gitignore").write_text(glob)
        done = subprocess.run(
            ["git", "check-ignore", "--no-index", "--stdin"],
            input="\n".join(paths).encode(),
            cwd=tmp_path,
            capture_output=True,
            env=environment(),
        )
        expected = set(done.stdout.decode().split())
        found = set(matching([glob], paths))
        assert found >= expected, (glob, expected - found)
        assert "[!" in glob or found == expected, (glob, found - expected)
        compared += 1
    assert compared > 50
