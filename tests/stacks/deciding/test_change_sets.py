"""What changed is what git says: in generated repositories, and as a stack's path rule sees it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from stacks.deciding.facts import Facts
from stacks.models import Stack
from stacks.rules.triggers import ChangedPaths, is_affected
from tests.builders import make_stack
from tests.emulator import Emulator
from tests.emulator.git import NO_OBJECT
from tests.emulator.model import Repository
from tests.repetitions import repeated
from vcs_integrations.models import Integration
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import BACKGROUND, RemoteChange
from vcs_integrations.providers.events import RefChanged

KINDS = {"A": "added", "D": "deleted", "M": "modified", "T": "modified", "R": "renamed"}
FILE, PROGRAM, LINK = "100644", "100755", "120000"
FOLDERS = ("", "infra/", "infrastructure/", "größe/", "deep/er/", 'a "b" c/')
NAMES = st.sampled_from(("main.tf", "größe.tf", "two words", 'q"uote', "tab\there", "日本.tf"))
OTHER_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), max_size=12
).map("f{}".format)


@dataclass(frozen=True)
class File:
    """A file in a commit: its mode and its content."""

    mode: str
    text: str


Tree = dict[str, File]
paths = st.builds("{}{}".format, st.sampled_from(FOLDERS), NAMES | OTHER_NAMES)
texts = st.integers(0, 200).map(lambda start: "".join(f"{start + one}\n" for one in range(20)))
files = st.builds(File, st.sampled_from((FILE, FILE, PROGRAM, LINK)), texts)
trees = st.dictionaries(paths, files, max_size=8)


@dataclass(frozen=True)
class Edit:
    """A change of a tree; `path` is one that is there, counted."""

    what: str
    path: int
    new_path: str
    file: File

    def apply(self, tree: Tree) -> Tree:
        """Return the tree with the change."""
        if self.what == "add" or not tree:
            return tree | {self.new_path: self.file}
        path = sorted(tree)[self.path % len(tree)]
        rest = {name: file for name, file in tree.items() if name != path}
        before = tree[path]
        changed = {
            "delete": {},
            "edit": {path: File(before.mode, before.text + "more\n")},
            "mode": {path: File(PROGRAM if before.mode == FILE else FILE, before.text)},
            "rename": {self.new_path: before},
            "rename and edit": {self.new_path: File(before.mode, before.text + "more\n")},
        }
        return rest | changed[self.what]


edits = st.builds(
    Edit,
    st.sampled_from(("add", "delete", "edit", "mode", "rename", "rename and edit")),
    st.integers(0, 7),
    paths,
    files,
)
commits = st.lists(st.lists(edits, max_size=4), max_size=3)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """A repository in Azure DevOps."""
    root = Path(tmp_path_factory.mktemp("emulator"))
    with Emulator(root, allow_local_hooks=True) as emulator:
        organization = emulator.add_organization("fabrikam")
        yield organization.add_project("Platform").add_repository("shop", {"readme": "Shop"})


@pytest.fixture(scope="module")
def client(remote: Repository) -> AzureDevOpsClient:
    token = remote.organization.add_token({"vso.code"})
    return AzureDevOpsClient(remote.organization.url, token, BACKGROUND)


class Script:
    """Commits for git's fast-import, which writes all of them at once."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._last = 0

    def add(self, branch: str, trees: list[Tree], *parents: int) -> int:
        """Add commits to a branch, the first with these parents; return the last one's mark."""
        for tree in trees:
            self._last += 1
            head = [f"commit refs/heads/{branch}", f"mark :{self._last}"]
            head += ["committer A <a@b.example> 0 +0000", "data 0"]
            words = ["from", *["merge"] * len(parents)]
            head += [f"{word} :{mark}" for word, mark in zip(words, parents, strict=False)]
            self._lines += [line.encode() for line in [*head, "deleteall"]]
            for path, file in tree.items():
                text = file.text.encode()
                head = [f"M {file.mode} inline {quoted(path)}", f"data {len(text)}"]
                self._lines += [*(line.encode() for line in head), text]
            parents = (self._last,)
        return self._last

    def write(self, remote: Repository) -> None:
        """Write the commits, whatever the branches held before."""
        remote.git.run("fast-import", "--quiet", "--force", stdin=b"\n".join(self._lines) + b"\n")


def quoted(path: str) -> str:
    """Return a path as git's fast-import takes it, whatever its characters."""
    return '"' + "".join(f"\\{byte:03o}" for byte in path.encode()) + '"'


def grown(tree: Tree, commits: list[list[Edit]]) -> list[Tree]:
    """Return the trees that follow from another by edits, at least one."""
    found = []
    for edits in commits or [[]]:
        for edit in edits:
            tree = edit.apply(tree)
        found.append(tree)
    return found


def as_git_says(remote: Repository, base: str, head: str) -> set[RemoteChange]:
    """Return what `git diff --name-status -M` says of the merge base and the head."""
    git = remote.git
    merge_base = git.run("merge-base", base, head).decode().strip()
    output = git.run("diff", "--name-status", "-M", "-z", merge_base, head).decode()
    words = iter(output.split("\0")[:-1])
    found = set()
    for letter in words:
        old = next(words) if letter[0] == "R" else ""
        found.add(RemoteChange(KINDS[letter[0]], next(words), old))
    return found


def check(remote: Repository, client: AzureDevOpsClient) -> int:
    """Check both ways in which the client reads a topic's changes; return how many there are."""
    base, head = remote.sha("main"), remote.sha("topic")
    expected = as_git_says(remote, base, head)
    found = client.changes(remote.id, base, head, from_merge_base=True)
    assert sorted(found.changes, key=str) == sorted(expected, key=str)
    assert found.merge_base == remote.git.merge_base(base, head)
    one = remote.open_pull_request("topic", "main")
    proposed = client.revision_changes(remote.id, one.id, 1)
    assert sorted(proposed, key=str) == sorted(expected, key=str)
    remote.pull_requests.clear()
    return len(expected)


@settings(
    max_examples=repeated(25),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(first=trees, on_main=commits, on_topic=commits, merged=st.booleans(), after=commits)
def test_changes_are_those_that_git_names(
    remote: Repository,
    client: AzureDevOpsClient,
    first: Tree,
    on_main: list[list[Edit]],
    on_topic: list[list[Edit]],
    merged: bool,
    after: list[list[Edit]],
) -> None:
    script = Script()
    start = script.add("main", [first])
    topic_trees, main_trees = grown(first, on_topic), grown(first, on_main)
    topic = script.add("topic", topic_trees, start)
    main = script.add("main", main_trees, start)
    if merged:
        both = main_trees[-1] | topic_trees[-1]
        script.add("topic", grown(both, after), topic, main)
    script.write(remote)
    check(remote, client)


@pytest.mark.parametrize("count", [1999, 2000, 4100])
def test_thousands_of_changes_are_read_to_the_last(
    remote: Repository, client: AzureDevOpsClient, count: int
) -> None:
    same = "".join(f"{line}\n" for line in range(10))
    before = {f"old/{number}.tf": File(FILE, f"{number}\n{same}") for number in range(50)}
    renamed = {f"new/{number}.tf": before[f"old/{number}.tf"] for number in range(50)}
    added = {f"many/{number}.tf": File(FILE, f"{number}\n") for number in range(count - 50)}
    script = Script()
    script.add("topic", [renamed | added], script.add("main", [before]))
    script.write(remote)
    assert check(remote, client) == count


# What a stack's path rule sees


@dataclass
class Seen:
    """A stack on main, and the paths that its path rule sees of a push."""

    repository: Repository
    stack: Stack

    def of(self, branch: str) -> set[str]:
        """Return what the newest push of a branch changed."""
        return self.of_push(branch, self.repository.pushes[-1].id)

    def of_push(self, branch: str, position: int) -> set[str]:
        """Return what a push of a branch changed."""
        changed = self.changed(branch, position)
        assert not changed.unknown_because
        return set(changed.paths)

    def changed(self, branch: str, position: int) -> ChangedPaths:
        push = next(push for push in self.repository.pushes if push.id == position)
        ref = f"refs/heads/{branch}"
        moved = next(update for update in push.ref_updates if update.name == ref)
        old, new = (sha if sha != NO_OBJECT else "" for sha in (moved.old, moved.new))
        event = RefChanged(self.repository.id, position, ref, old, new)
        return Facts(self.stack.integration).read_paths_of_push(self.stack, event)


@pytest.fixture
def seen(integration: Integration, repository: Repository, settings: Settings) -> Seen:
    row = integration.repositories.get(name="infrastructure")
    return Seen(repository, make_stack(row))


def test_a_push_on_top_shows_what_was_pushed(seen: Seen) -> None:
    for branch in ("main", "topic"):
        seen.repository.push({"before.tf": branch}, branch)
        seen.repository.push({"a.tf": branch, "before.tf": None}, branch)
        assert seen.of(branch) == {"a.tf", "before.tf"}


def test_several_commits_of_a_push_count(seen: Seen) -> None:
    repository = seen.repository
    first = repository.commit({"a.tf": "1"}, [repository.sha("main")])
    second = repository.commit({"b.tf": "1"}, [first])
    repository.push_refs({"refs/heads/main": second})
    assert seen.of("main") == {"a.tf", "b.tf"}


def test_a_new_branch_shows_what_it_has_beyond_the_tracked_one(seen: Seen) -> None:
    repository = seen.repository
    start = repository.sha("main")
    repository.push({"only/on-main.tf": "1"})
    repository.push({"only/on-topic.tf": "1"}, "topic", start=start)
    assert seen.of("topic") == {"only/on-topic.tf"}


def test_a_new_branch_without_new_commits_shows_nothing(seen: Seen) -> None:
    seen.repository.push_refs({"refs/heads/topic": seen.repository.sha("main")})
    assert seen.of("topic") == set()


def test_a_new_branch_shows_the_same_after_it_was_merged(seen: Seen) -> None:
    repository = seen.repository
    repository.push({"a.tf": "1"}, "topic")
    position = repository.pushes[-1].id
    repository.push_refs({"refs/heads/main": repository.sha("topic")})
    repository.push({"b.tf": "1"})
    assert seen.of_push("topic", position) == {"a.tf"}


def test_a_rewritten_branch_shows_all_it_has_beyond_the_tracked_one(seen: Seen) -> None:
    repository = seen.repository
    repository.push({"old.tf": "1"}, "topic")
    other = repository.commit({"kept.tf": "1"}, [repository.sha("main")])
    repository.push({"new.tf": "1"}, "topic", start=other)
    assert seen.of("topic") == {"kept.tf", "new.tf"}


def test_a_tracked_branch_that_was_rewritten_shows_what_came_and_what_went(seen: Seen) -> None:
    repository = seen.repository
    start = repository.sha("main")
    repository.push({"gone.tf": "1"})
    repository.push({"new.tf": "1"}, start=start)
    assert seen.of("main") == {"gone.tf", "new.tf"}


def test_a_tracked_branch_that_was_reset_shows_what_went(seen: Seen) -> None:
    repository = seen.repository
    start = repository.sha("main")
    repository.push({"gone.tf": "1"})
    repository.push_refs({"refs/heads/main": start})
    assert seen.of("main") == {"gone.tf"}


def test_a_merge_shows_what_it_brought(seen: Seen) -> None:
    repository = seen.repository
    repository.push({"topic.tf": "1"}, "topic")
    repository.push({"main.tf": "1"})
    repository.open_pull_request("topic").complete()
    assert seen.of("main") == {"topic.tf"}


def test_both_ends_of_a_rename_are_seen(seen: Seen) -> None:
    text = "".join(f"{line}\n" for line in range(10))
    seen.repository.push({"infra/a.tf": text})
    seen.repository.push({"infra/a.tf": None, "docs/a.tf": text})
    assert seen.of("main") == {"infra/a.tf", "docs/a.tf"}


def test_commits_that_are_gone_are_said_to_be_unknown(seen: Seen) -> None:
    repository = seen.repository
    repository.push({"a.tf": "1"}, "topic")
    repository.push({"b.tf": "1"}, "topic")
    position = repository.pushes[-1].id
    repository.delete_branch("topic")
    repository.prune()
    assert seen.changed("topic", position).unknown_because


@pytest.mark.parametrize(
    ("root", "globs", "path", "expected"),
    [
        ("infra", [], "infra/main.tf", True),
        ("infra", [], "infra/deep/er/main.tf", True),
        ("infra", [], "infrastructure/main.tf", False),
        ("infra", [], "modules/infra/main.tf", False),
        ("infra", [], "Infra/main.tf", False),
        ("infra/net", [], "infra/main.tf", False),
        ("", [], "main.tf", True),
        ("", [], "any/where", True),
        ("infra", ["modules/*"], "other/modules/a.tf", False),
        ("infra", ["*.tfvars"], "env/live.tfvars.bak", False),
        # What is taken back is what the globs added, never the project root.
        ("infra", ["*.md", "!infra/**", "!*"], "infra/a.md", True),
        ("infra", ["*.md", "!*"], "docs/a.md", False),
        ("größe", [], "größe/main.tf", True),
        # A submodule, or a link to another folder
        ("infra", [], "infra", True),
        ("infra/net", [], "infra", True),
        ("infra/net", [], "infra/", True),
        ("infra", [], "modules/x/", False),
        ("infra", ["modules/**/*.tf"], "modules/x/", True),
        ("infra", ["modules/*/main.tf"], "modules/x/", True),
        ("infra", ["/modules/x/*.tf"], "modules/x/", True),
        ("infra", ["modules/x"], "modules/x/", True),
        ("infra", ["*.tf"], "modules/x/", True),
        ("infra", ["modules/y/*.tf", "docs/**"], "modules/x/", False),
        ("infra", ["*.md", "!modules/**"], "docs/", True),
        ("infra", ["modules/x/**"], "modules/x", True),
        ("infra", ["modules/**/*.tf"], "modules/x", False),
    ],
)
def test_a_path_affects_a_stack_by_its_segments_or_an_extra_glob(
    root: str, globs: list[str], path: str, expected: bool
) -> None:
    stack = Stack(project_root=root, extra_globs=globs)
    assert is_affected(stack, [path]) is expected
    assert is_affected(stack, ["elsewhere/a", path]) is (expected or not root)
