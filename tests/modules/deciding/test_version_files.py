"""Versions that a file of the tracked branch says."""

import pytest

from modules.models import CheckState, Module, VersionsFrom, VersionState
from tests.builders import make_module
from tests.emulator.model import Repository
from tests.modules.deciding.hearing import (
    Hearing,
    checked,
    list_tags,
    publish,
    read_again,
    rules,
    version,
    versions,
)
from vcs_integrations.models import Repository as OurRepository

FILE = "vpc/.stackhook/module.yml"


@pytest.fixture
def module(ours: OurRepository) -> Module:
    return make_module(ours, "vpc", folder="vpc", versions_from=VersionsFrom.FILE)


def test_a_new_number_in_the_file_becomes_a_version(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({FILE: "version: 1.0.0 # first\n"}, message="Begin")
    [delivery] = hearing.deliver()
    assert versions(module) == {"1.0.0": ("", sha, "waiting")}
    assert version(module, "1.0.0").title == "Begin"
    assert checked(module) == [sha]
    assert (delivery.outcome, delivery.reason) == ("version", f"Version 1.0.0 of {module}")
    read_again(module)
    list_tags(module)
    assert rules(module) == ["version"] or rules(module) == ["version", "passed_by"]


def test_a_published_number_stays_at_its_commit(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    first = repository.push({FILE: "version: v1.0.0\n"})
    hearing.deliver()
    publish(module)
    repository.push({"vpc/main.tf": "# changed"})
    second = repository.push({FILE: "version: '2.0.0-beta.1'\n"})
    hearing.deliver()
    assert versions(module) == {
        "2.0.0-beta.1": ("", second, "waiting"),
        "1.0.0": ("", first, "published"),
    }
    assert rules(module) == ["version", "same_version", "version"]


def test_a_refused_version_is_repaired_without_counting_up(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({FILE: "version: 1.0.0\n"})
    hearing.deliver()
    module.versions.update(state=VersionState.REFUSED)
    module.checks.update(state=CheckState.FAILED, due_at=None)
    repository.push({"elsewhere/main.tf": "# nothing to the module"})
    repaired = repository.push({"vpc/main.tf": "# repaired"})
    hearing.deliver()
    assert versions(module) == {"1.0.0": ("", repaired, "waiting")}
    assert checked(module) == [repaired]
    assert rules(module) == ["version", "untouched", "version"]


def test_pushes_in_any_order_come_to_the_same(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({FILE: "version: 1.0.0\n"})
    newest = repository.push({"vpc/main.tf": "# changed"})
    for request in reversed(hearing.emulator.deliveries.take()):
        hearing.receive(request.body)
        hearing.process()
    assert versions(module) == {"1.0.0": ("", newest, "waiting")}
    assert rules(module) == ["version", "passed_by"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There is no version in vpc/.stackhook/module.yml."),
        ("", "There is no version in vpc/.stackhook/module.yml."),
        ("version: 1.0\n", "has the version “1.0”, which is none by Semantic Versioning"),
        ("name: vpc\n", "has no version"),
        ("version: [1, 2]\n", "has no version"),
        ("a: &a 1\nversion: *a\n", "has an alias"),
        ("version: {{{{\n", "is no YAML in line"),
        ("[" * 200, "is not understood"),
        ("# " + "x" * 70_000, "is larger than 64 KB"),
    ],
)
def test_a_file_without_a_version_is_explained(
    module: Module, repository: Repository, hearing: Hearing, content: str | None, sentence: str
) -> None:
    repository.push({"vpc/main.tf": "", FILE: content})
    hearing.deliver()
    assert rules(module) == ["invalid_file"]
    assert sentence in module.decisions.get().sentence
    assert versions(module) == {}


def test_tags_other_branches_and_the_end_of_the_branch_are_no_versions(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({FILE: "version: 1.0.0\n"}, branch="topic")
    repository.tag("v2.0.0", "topic")
    Module.objects.update(branch="release")
    repository.push({"a.tf": ""}, branch="release")
    repository.delete_branch("release")
    hearing.deliver()
    assert rules(module) == ["other_branch", "from_file", "invalid_file", "branch_deleted"]
    assert versions(module) == {}


def test_what_the_branch_says_at_creation_is_imported(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({".stackhook/module.yml": "version: 3.1.4\n"})
    hearing.lose()
    module = make_module(ours, versions_from=VersionsFrom.FILE)
    for _ in range(2):
        list_tags(module)
    assert versions(module) == {"3.1.4": ("", sha, "waiting")}
    assert rules(module) == ["version"]
    assert module.imported_at
    assert module.due_at is None
