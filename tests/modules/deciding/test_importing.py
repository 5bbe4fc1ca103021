"""Tags that were there before, and what no push told: listed, compared, decided once."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from modules.deciding import importing
from modules.deciding.importing import COMPARE_EVERY, import_next
from modules.models import Module, ModuleVersion
from stacks.deciding.reconciliation import reconcile_next
from tests.builders import make_module
from tests.emulator.model import Repository
from tests.killing import away, killed_at
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


def test_tags_that_were_there_before_are_imported_once(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    first = repository.push({"a.tf": "1"}, message="First", author="Bo <b@x.example>")
    repository.tag("v1.0.0", message="The first one")
    second = repository.push({"a.tf": "2"})
    repository.tag("v1.1.0")
    repository.tag("nightly")
    repository.tag("vpc/v3.0.0")
    hearing.lose()
    module = make_module(ours)
    assert import_next()
    assert not import_next()
    module.refresh_from_db()
    assert module.imported_at
    assert versions(module) == {
        "1.1.0": ("v1.1.0", second, "waiting"),
        "1.0.0": ("v1.0.0", first, "waiting"),
    }
    found = version(module, "1.0.0")
    assert (found.title, found.author, found.changelog) == ("First", "Bo", "The first one")
    # The newest version is checked first.
    assert checked(module) == [second, first]
    decided = {one.subject.split(",")[0]: one.rule for one in module.decisions.all()}
    assert decided.keys() == {
        f"Tag {name} at {repository.ref_values()[f'refs/tags/{name}'][:8]}"
        for name in ("nightly", "v1.0.0", "v1.1.0", "vpc/v3.0.0")
    }
    assert sorted(decided.values()) == ["no_version", "other_prefix", "version", "version"]
    list_tags(module)
    read_again(module)
    assert module.decisions.count() == 4
    assert module.due_at
    assert module.due_at > timezone.now() + COMPARE_EVERY / 2


def test_a_new_module_has_its_repository_read(ours: OurRepository) -> None:
    OurRepository.objects.update(due_at=None)
    module = make_module(ours)
    ours.refresh_from_db()
    assert ours.due_at
    assert module.due_at
    assert reconcile_next()
    ours.refresh_from_db()
    assert ours.due_at  # again and again


def test_a_pull_of_all_tags_finds_what_no_push_told(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    first = repository.push({"a.tf": "1"})
    for name in ("v1.0.0", "v2.0.0", "v3.0.0", "v4.0.0"):
        repository.tag(name)
    list_tags(module)
    publish(module)
    second = repository.push({"a.tf": "2"})
    # As git does it on the server: no push tells of these.
    refs: dict[str, str | None] = {"refs/tags/v2.0.0": second, "refs/tags/v3.0.0": None}
    repository.git.update_refs(refs | {"refs/tags/v5.0.0": second})
    list_tags(module)
    assert versions(module)["5.0.0"] == ("v5.0.0", second, "waiting")
    assert version(module, "2.0.0").moved_to == second
    assert version(module, "2.0.0").sha == first
    assert version(module, "3.0.0").tag_gone_at
    assert rules(module)[4:] == ["moved", "version", "deleted"]
    list_tags(module)
    assert len(rules(module)) == 7


def test_a_push_that_is_newer_than_the_list_counts(
    module: Module, repository: Repository, hearing: Hearing, monkeypatch: Any
) -> None:
    repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    hearing.deliver()
    really_list = importing.list_refs

    def then_pushed(*arguments: Any) -> Any:
        listing = really_list(*arguments)
        repository.push({"a.tf": "2"})
        repository.tag("v1.0.0")
        repository.tag("v2.0.0")
        hearing.deliver()
        return listing

    monkeypatch.setattr(importing, "list_refs", then_pushed)
    list_tags(module)
    newest = repository.sha("main")
    assert versions(module) == {
        "1.0.0": ("v1.0.0", newest, "waiting"),
        "2.0.0": ("v2.0.0", newest, "waiting"),
    }
    # What pushes were decided of is not imported again.
    assert rules(module).count("version") == 3


def test_a_push_of_before_the_list_that_comes_late_changes_nothing(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    repository.push({"a.tf": "2"})
    repository.tag("v1.0.0")
    list_tags(module)
    publish(module)
    before = versions(module)
    hearing.deliver()
    assert versions(module) == before
    assert version(module, "1.0.0").moved_to == ""


def test_another_prefix_has_all_tags_decided_again(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({"a.tf": "1"})
    repository.tag("vpc/v1.0.0")
    repository.tag("v0.9.0")
    list_tags(module)
    assert versions(module).keys() == {"0.9.0"}
    publish(module)
    Module.objects.update(tag_prefix="vpc", imported_at=None)
    list_tags(module)
    assert versions(module)["1.0.0"] == ("vpc/v1.0.0", sha, "waiting")
    # Published is published.
    assert versions(module)["0.9.0"] == ("v0.9.0", sha, "published")
    assert sorted(rules(module)) == ["other_prefix", "version"]


def test_of_very_many_tags_the_highest_versions_are_imported(
    module: Module, repository: Repository, hearing: Hearing, monkeypatch: Any
) -> None:
    monkeypatch.setattr(importing, "MOST_VERSIONS", 2)
    monkeypatch.setattr(importing, "MOST_DECIDED", 4)
    for name in ("build-1", "build-2", "v1.0.0", "v1.9.0", "v1.10.0", "v1.10.0-rc.1"):
        repository.tag(name)
    hearing.lose()
    list_tags(module)
    assert versions(module).keys() == {"1.10.0-rc.1", "1.10.0"}
    assert rules(module) == ["version", "version", "no_version", "no_version", "too_many"]
    assert module.decisions.order_by("pk").last().subject.startswith("2 more tags")  # type: ignore[union-attr]
    # A higher one that no push told is found, and a lower one that is pushed is a version, too.
    repository.git.update_refs({"refs/tags/v2.0.0": repository.sha("main")})
    list_tags(module)
    repository.push_refs({"refs/tags/v1.0.0": None})
    repository.tag("v1.0.0")
    hearing.deliver()
    list_tags(module)
    assert versions(module).keys() == {"1.0.0", "1.10.0-rc.1", "1.10.0", "2.0.0"}


def test_a_version_that_is_too_low_to_be_imported_has_a_decision_that_says_so(
    module: Module, repository: Repository, hearing: Hearing, monkeypatch: Any
) -> None:
    monkeypatch.setattr(importing, "MOST_VERSIONS", 1)
    for name in ("v1.0.0", "v1.1.0"):
        repository.tag(name)
    hearing.lose()
    list_tags(module)
    low = module.decisions.get(rule="too_many")
    assert low.subject.startswith("Tag v1.0.0 at ")
    assert "delete the tag and push it again" in low.sentence


def test_modules_of_one_repository_share_a_list(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    modules = [make_module(ours, name, tag_prefix=name) for name in ("a", "b", "c")]
    repository.push_refs({f"refs/tags/{one}/v1.0.0": "main" for one in ("a", "b", "c")})
    for one in modules:
        list_tags(one)
        assert versions(one).keys() == {"1.0.0"}
    repository.git.update_refs({"refs/tags/b/v2.0.0": repository.sha("main")})
    Module.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert import_next()
    assert not import_next()
    assert versions(modules[1]).keys() == {"1.0.0", "2.0.0"}


def test_a_provider_that_is_away_is_asked_again(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.tag("v1.0.0")
    with away():
        assert import_next()
    module.refresh_from_db()
    assert (module.failures, module.imported_at) == (1, None)
    assert module.due_at
    assert module.due_at > timezone.now()
    list_tags(module)
    assert (module.failures, set(versions(module))) == (0, {"1.0.0"})


@pytest.mark.parametrize("number", range(0, 40, 3))
def test_a_worker_that_is_killed_at_any_point_imports_once(
    module: Module, repository: Repository, hearing: Hearing, number: int
) -> None:
    sha = repository.sha("main")
    repository.tag("v1.0.0", message="First")
    repository.tag("nightly")
    with killed_at(number, also_after_calls=True):
        import_next()
    Module.objects.update(lease_until=None)
    list_tags(module)
    assert versions(module) == {"1.0.0": ("v1.0.0", sha, "waiting")}
    assert sorted(rules(module)) == ["no_version", "version"]
    assert checked(module) == [sha]


def test_a_worker_that_lost_its_module_stores_nothing(
    module: Module, repository: Repository, hearing: Hearing, monkeypatch: Any
) -> None:
    repository.tag("v1.0.0")
    really_list = importing.list_refs

    def then_lost(*arguments: Any) -> Any:
        Module.objects.update(lease_token="another", lease_until=timezone.now())
        return really_list(*arguments)

    monkeypatch.setattr(importing, "list_refs", then_lost)
    assert import_next()
    assert not ModuleVersion.objects.exists()
    assert rules(module) == []
