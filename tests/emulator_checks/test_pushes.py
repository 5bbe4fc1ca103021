"""Pushes, differences and commits of the emulator, made in Python and by git itself."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from azure.devops.exceptions import AzureDevOpsServiceError
from azure.devops.v7_1.git import models

from tests.emulator.git import NO_OBJECT, GitError
from tests.emulator_checks.test_emulator import names_and_statuses
from tests.emulator_checks.world import World, clone, git

MAIN = "refs/heads/main"
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")


def moves(world: World, push_id: int) -> dict[str, tuple[str, str]]:
    """Return what a push moved, as the API returns it: ref name to old and new object."""
    path = f"_apis/git/repositories/{world.repository.id}/pushes/{push_id}?includeRefUpdates=true"
    updates = world.get(path).json()["refUpdates"]
    return {one["name"]: (one["oldObjectId"], one["newObjectId"]) for one in updates}


def test_one_push_moves_several_refs(world: World) -> None:
    repository = world.repository
    first = repository.push({"x": "1"}, "old")
    second = repository.commit({"y": "1"}, [first], "Not pushed yet")
    third = repository.commit({"z": "1"}, [second], "Nor this")
    done = repository.push_refs(
        {"refs/heads/new": third, "refs/heads/old": None, "refs/tags/v1": "main"}
    )
    assert done is not None
    assert done.commits == (third, second)
    assert moves(world, done.id) == {
        "refs/heads/new": (NO_OBJECT, third),
        "refs/heads/old": (first, NO_OBJECT),
        "refs/tags/v1": (NO_OBJECT, repository.tip()),
    }
    assert repository.push_refs({"refs/tags/v1": "main"}) is None


def test_the_sdk_reads_an_annotated_tag(world: World, sdk: Any) -> None:
    repository, client = world.repository, sdk.get_git_client()
    sha = repository.tag(
        "v1.0.0", message="First\n\nWith a list", author="Ann Admin <ann@x.example>"
    )
    found = client.get_annotated_tag(world.project.id, repository.id, sha)
    assert (found.name, found.message, found.object_id) == ("v1.0.0", "First\n\nWith a list", sha)
    assert (found.tagged_object.object_id, found.tagged_by.name) == (repository.tip(), "Ann Admin")
    [listed] = client.get_refs(repository.id, filter="tags/", peel_tags=True)
    assert (listed.object_id, listed.peeled_object_id) == (sha, repository.tip())
    with pytest.raises(AzureDevOpsServiceError, match="does not exist"):
        client.get_annotated_tag(world.project.id, repository.id, repository.tip())


def test_a_branch_in_the_middle_of_a_history_brings_no_new_commits(world: World) -> None:
    repository = world.repository
    first = repository.push({"x": "1"})
    middle = repository.push({"x": "2"})
    repository.push({"x": "3"})
    repository.push_refs({"refs/heads/first": first})
    done = repository.push_refs({"refs/heads/middle": middle})
    assert done is not None
    assert done.commits == ()


def test_a_force_push_leaves_commits_behind(world: World, sdk: Any) -> None:
    repository, client = world.repository, sdk.get_git_client()
    base = repository.tip()
    assert base is not None
    lost = repository.push({"x": "1"}, "topic")
    kept = repository.push({"y": "1"}, "topic", start="main")
    assert moves(world, 3) == {"refs/heads/topic": (lost, kept)}
    assert repository.git.commit(kept).parents == (base,)

    def diff() -> Any:
        return client.get_commit_diffs(
            repository.id,
            base_version_descriptor=models.GitBaseVersionDescriptor(
                base_version=lost, base_version_type="commit"
            ),
            target_version_descriptor=models.GitTargetVersionDescriptor(
                target_version=kept, target_version_type="commit"
            ),
        )

    found = diff()
    assert (found.ahead_count, found.behind_count, found.common_commit) == (1, 1, base)
    repository.prune()
    with pytest.raises(AzureDevOpsServiceError, match="TF401175"):
        diff()
    with pytest.raises(AzureDevOpsServiceError, match="TF401175"):
        client.get_commit(lost, repository.id)
    assert client.get_commit(kept, repository.id).commit_id == kept


def test_tags_are_pushed_and_resolved(world: World, sdk: Any) -> None:
    repository = world.repository
    plain = repository.tag("plain")
    annotated = repository.tag("v1", message="First")
    repository.push({"x": "1"})
    assert moves(world, 2) == {"refs/tags/plain": (NO_OBJECT, plain)}
    assert moves(world, 3) == {"refs/tags/v1": (NO_OBJECT, annotated)}
    assert annotated != plain
    assert repository.pushes[2].commits == ()
    found = sdk.get_git_client().get_commit_diffs(
        repository.id,
        base_version_descriptor=models.GitBaseVersionDescriptor(
            base_version="v1", base_version_type="tag"
        ),
        target_version_descriptor=models.GitTargetVersionDescriptor(
            target_version="main", target_version_type="branch"
        ),
    )
    assert (found.base_commit, found.ahead_count) == (plain, 1)


def test_pushes_are_listed_by_time_and_page(world: World, sdk: Any) -> None:
    repository, client = world.repository, sdk.get_git_client()
    other = world.project.add_repository("other", {"a": "1"})
    for number in range(4):
        repository.push({"x": str(number)}, "topic" if number % 2 else "main")
    assert [push.id for push in repository.pushes] == [1, 3, 4, 5, 6]  # 2 is the other's
    path = f"_apis/git/repositories/{repository.id}/pushes"
    listed = world.get(path).json()["value"]
    assert [one["pushId"] for one in listed] == [6, 5, 4, 3, 1]
    assert all(DATE.fullmatch(one["date"]) for one in listed)
    assert "refUpdates" not in listed[0]

    def found(top: int | None = None, skip: int | None = None, **criteria: Any) -> list[int]:
        wanted = models.GitPushSearchCriteria(**criteria)
        answer = client.get_pushes(repository.id, top=top, skip=skip, search_criteria=wanted)
        return [one.push_id for one in answer]

    assert found(top=2, skip=1) == [5, 4]
    assert found(ref_name="refs/heads/topic") == [6, 4]
    middle = next(one["date"] for one in listed if one["pushId"] == 4)
    after = {"searchCriteria.fromDate": middle}
    assert [one["pushId"] for one in world.get(path, params=after).json()["value"]] == [6, 5, 4]
    before = {"searchCriteria.toDate": middle}
    assert [one["pushId"] for one in world.get(path, params=before).json()["value"]] == [4, 3, 1]
    one = client.get_push(other.id, 2, include_commits=1, include_ref_updates=True)
    assert len(one.commits) == len(one.ref_updates) == 1


def test_git_reads_what_python_pushed_and_the_reverse(world: World, tmp_path: Path) -> None:
    repository = world.repository
    repository.push({"dir/a.tf": "1", "dir.tf": "2", "dir-x": "3", "ümlaut/ß.tf": "ö\n"})
    folder = clone(world, repository, tmp_path / "clone")
    assert (folder / "ümlaut/ß.tf").read_text() == "ö\n"
    (folder / "local.tf").write_text("x")
    git("add", ".", cwd=folder)
    git("commit", "-m", "From git", cwd=folder)
    git("push", "origin", "HEAD", cwd=folder)
    repository.git.run("gc", "--quiet")  # objects and refs in packs are read as well
    sha = repository.push({"dir/a.tf": None, "more.tf": "x"})
    git("pull", cwd=folder)
    assert git("rev-parse", "HEAD", cwd=folder).stdout.strip() == sha
    assert not (folder / "dir").exists()
    assert {"local.tf", "dir.tf", "dir-x", "more.tf"} <= {one.name for one in folder.iterdir()}


@pytest.mark.parametrize("seed", range(5))
def test_differences_of_random_histories_equal_those_of_git(
    world: World, tmp_path: Path, seed: int
) -> None:
    chance, repository = random.Random(seed), world.repository  # noqa: S311
    names = [f"d{number % 3}/{number}.tf" for number in range(12)]
    texts = {name: "".join(f"{name} {line}\n" for line in range(20)) for name in names}
    repository.push(dict(texts))
    for branch in ("main", "topic"):
        files: dict[str, str | None] = {}
        for name in chance.sample(names, 6):
            moved = chance.random()
            files[name] = None if moved < 0.7 else "changed\n"
            if moved < 0.5:
                files[f"{branch}/{name}"] = texts[name] + "tail\n" * chance.randrange(2)
        repository.push(files, branch)
    folder = clone(world, repository, tmp_path / "clone")
    path = f"_apis/git/repositories/{repository.id}/diffs/commits"
    for common, dots in (("true", "..."), ("false", "..")):
        versions = {"baseVersion": "main", "targetVersion": "topic", "diffCommonCommit": common}
        answer = world.get(path, params=versions | {"$top": "1000"}).json()
        assert answer["allChangesIncluded"] is True
        refs = f"origin/main{dots}origin/topic"
        lines = git("diff", "--name-status", "-M", refs, cwd=folder).stdout
        expected = re.sub(r"^R\d+", "R", lines, flags=re.MULTILINE).splitlines()
        assert sorted(names_and_statuses(answer["changes"])) == sorted(expected)


def test_a_merge_is_listed_with_its_changes(world: World) -> None:
    repository = world.repository
    repository.push({"x": "1"}, "topic")
    repository.push({"y": "1"})
    sha = repository.open_pull_request("topic").complete()
    path = f"_apis/git/repositories/{repository.id}/commits"
    changes = world.get(f"{path}/{sha}/changes").json()["changes"]
    assert [one["item"]["path"] for one in changes] == ["/x"]
    assert len(world.get(path).json()["value"]) == 4
    assert world.get(f"{path}?searchCriteria.$top=1").json()["value"][0]["commitId"] == sha


@pytest.mark.parametrize("path", ["a//b", "../x", ".git/config", "a/./b"])
def test_a_path_that_git_refuses_is_refused(world: World, path: str) -> None:
    with pytest.raises(GitError, match="is not a path"):
        world.repository.push({path: "x"})
    with pytest.raises(GitError):
        world.repository.push({"x": "1"}, "a..b")
    with pytest.raises(GitError, match="no branch, tag or commit 'nope'"):
        world.repository.push({"x": "1"}, start="nope")
    assert len(world.repository.pushes) == 1
