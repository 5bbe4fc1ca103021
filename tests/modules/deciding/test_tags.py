"""Tags become versions, each once, whether a webhook told of them or a reconciliation."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from modules.models import Check, CheckState, Module, ModuleDecision, Tag, VersionState
from stacks.models import Run
from tests.builders import make_module, make_stack, make_version
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
from vcs_integrations.models import Notice
from vcs_integrations.models import Repository as OurRepository
from vcs_integrations.webhooks.processing import replay


@pytest.mark.on_postgresql
def test_a_tag_becomes_a_version_that_is_checked(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push(
        {"a.tf": "1"}, message="Add a subnet\n\nAt last", author="Bo <b@x.example>"
    )
    repository.tag("v1.2.0", message="Faster\n\n- and smaller")
    *_, tagged = hearing.deliver()
    assert versions(module) == {"1.2.0": ("v1.2.0", sha, "waiting")}
    found = version(module, "1.2.0")
    assert (found.title, found.author) == ("Add a subnet", "Bo")
    assert found.changelog == "Faster\n\n- and smaller"
    assert found.committed_at
    assert checked(module) == [sha]
    assert (tagged.outcome, tagged.reason) == ("version", f"Version 1.2.0 of {module.address}")
    decision = module.decisions.get(version=found)
    assert (decision.rule, decision.subject) == (
        "version",
        f"Push {repository.pushes[-1].id} to tag v1.2.0",
    )
    assert not Run.objects.exists()


@pytest.mark.on_postgresql
def test_of_what_no_webhook_told_the_same_comes_once(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({"a.tf": "1"})
    repository.tag("v1.0.0-rc.1")
    hearing.lose()
    for _ in range(2):
        read_again(module)
    assert versions(module) == {"1.0.0-rc.1": ("v1.0.0-rc.1", sha, "waiting")}
    assert rules(module) == ["version"]
    repository.tag("v1.0.0")
    hearing.deliver()
    read_again(module)
    assert rules(module) == ["version", "version"]
    assert checked(module) == [sha]


@pytest.mark.on_postgresql
def test_every_tag_has_a_decision_with_a_reason(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({"a.tf": "1"})
    for name in ("v1.0.0", "1.0.0", "1.1.0", "nightly", "vpc/v1.0.0", "v1.0", "v1.0.0+build.7"):
        repository.tag(name)
    hearing.deliver()
    found = {one.subject.split(" to ")[1]: one for one in module.decisions.all()}
    assert {name: one.rule for name, one in found.items()} == {
        "main": "from_tags",
        "tag v1.0.0": "version",
        "tag 1.0.0": "same_version",
        "tag 1.1.0": "version",
        "tag nightly": "no_version",
        "tag vpc/v1.0.0": "other_prefix",
        "tag v1.0": "no_version",
        "tag v1.0.0+build.7": "same_version",
    }
    assert found["tag 1.0.0"].sentence == f"Version 1.0.0 is there by the tag v1.0.0, at {sha[:8]}."
    assert versions(module).keys() == {"1.0.0", "1.1.0"}
    assert all(one.delivery for one in found.values())


def test_modules_of_one_repository_have_prefixes(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    vpc = make_module(ours, "vpc", folder="vpc", tag_prefix="vpc")
    db = make_module(ours, "db", folder="db", tag_prefix="a/db")
    sha = repository.push({"vpc/a.tf": "1"})
    repository.tag("vpc/v1.0.0")
    repository.tag("a/db/2.0.0")
    hearing.deliver()
    assert versions(vpc) == {"1.0.0": ("vpc/v1.0.0", sha, "waiting")}
    assert versions(db) == {"2.0.0": ("a/db/2.0.0", sha, "waiting")}
    assert rules(vpc) == ["from_tags", "version", "other_prefix"]
    assert rules(db) == ["from_tags", "other_prefix", "version"]


@pytest.mark.on_postgresql
def test_a_tag_that_moves_before_its_version_is_published_takes_it_along(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    first = repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    hearing.deliver()
    module.versions.update(state=VersionState.REFUSED)
    module.checks.update(state=CheckState.FAILED, due_at=None)
    second = repository.push({"a.tf": "2"})
    repository.tag("v1.0.0")
    hearing.deliver()
    assert versions(module) == {"1.0.0": ("v1.0.0", second, "waiting")}
    assert checked(module) == [second]
    # Back where it was, which is checked again.
    repository.tag("v1.0.0", first)
    hearing.deliver()
    assert versions(module) == {"1.0.0": ("v1.0.0", first, "waiting")}
    assert set(checked(module)) == {first, second}
    assert Check.objects.get(sha=first).state == CheckState.QUEUED


@pytest.mark.on_postgresql
def test_a_published_version_never_changes(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    first = repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    hearing.deliver()
    assert publish(module) == ["1.0.0"]
    served = version(module, "1.0.0").archive
    second = repository.push({"a.tf": "2"})
    repository.tag("v1.0.0", message="Moved")
    hearing.deliver()
    found = version(module, "1.0.0")
    assert (found.sha, found.archive, found.state) == (first, served, "published")
    assert (found.moved_to, found.tag_gone_at) == (second, None)
    assert checked(module) == []
    [notice] = Notice.objects.unfixed()
    assert notice.kind == "tag_moved"
    assert module.address in notice.subject
    assert second[:8] in notice.text
    assert rules(module)[-1] == "moved"
    repository.tag("v1.0.0", first)
    hearing.deliver()
    assert version(module, "1.0.0").moved_to == ""
    assert not Notice.objects.unfixed().exists()
    assert rules(module)[-1] == "same_version"


def test_a_published_version_stays_when_its_tag_is_deleted(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    hearing.deliver()
    publish(module)
    repository.push_refs({"refs/tags/v1.0.0": None})
    hearing.deliver()
    found = version(module, "1.0.0")
    assert (found.sha, found.state) == (sha, "published")
    assert found.tag_gone_at
    assert rules(module)[-1] == "deleted"
    repository.tag("v1.0.0", sha)
    hearing.deliver()
    assert version(module, "1.0.0").tag_gone_at is None


@pytest.mark.on_postgresql
def test_a_version_that_is_not_published_goes_with_its_tag(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    repository.tag("1.0.0")
    hearing.deliver()
    repository.push_refs({"refs/tags/v1.0.0": None})
    hearing.deliver()
    assert versions(module) == {"1.0.0": ("1.0.0", sha, "waiting")}
    repository.push_refs({"refs/tags/1.0.0": None})
    hearing.deliver()
    assert versions(module) == {}
    assert rules(module)[-2:] == ["same_version", "deleted"]


def test_a_commit_that_was_checked_for_a_pull_request_is_checked_again(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({"a.tf": "1"})
    check = Check.objects.create(module=module, sha=sha, state=CheckState.PASSED)
    repository.tag("v1.0.0")
    hearing.deliver()
    check.refresh_from_db()
    assert check.state == CheckState.QUEUED
    assert check.due_at


@pytest.mark.on_postgresql
def test_a_check_under_way_is_repeated_and_not_torn_from_its_worker(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    sha = repository.push({"a.tf": "1"})
    check = Check.objects.create(module=module, sha=sha, state=CheckState.RUNNING)
    repository.tag("v1.0.0")
    hearing.deliver()
    check.refresh_from_db()
    assert check.state == CheckState.RUNNING
    assert check.due_at


@pytest.mark.on_postgresql
@pytest.mark.django_db(transaction=True)  # PostgreSQL ends one in which a row is refused
def test_pushes_that_come_shuffled_and_doubled_are_decided_in_their_order(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    repository.push({"a.tf": "2"})
    repository.tag("v1.0.0")
    repository.push_refs({"refs/tags/v1.0.0": None})
    last = repository.push({"a.tf": "3"})
    repository.tag("v1.0.0")
    requests = hearing.emulator.deliveries.take()
    for request in [*reversed(requests), *requests]:
        hearing.receive(request.body)
        hearing.process()
    read_again(module)
    assert versions(module) == {"1.0.0": ("v1.0.0", last, "waiting")}
    assert Tag.objects.get().position == repository.pushes[-1].id


@pytest.mark.on_postgresql
def test_a_delivery_that_is_replayed_keeps_what_was_decided(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    hearing.deliver()
    decided = [*module.decisions.values_list("pk", "rule")]
    assert replay(hearing.integration.deliveries.all()) == 2
    hearing.process()
    assert [*module.decisions.values_list("pk", "rule")] == decided
    assert hearing.integration.deliveries.filter(outcome="version").count() == 1


@pytest.mark.on_postgresql
def test_a_tag_of_something_else_than_a_commit_has_no_version(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({"a.tf": "1"})
    tree = repository.git.commit(repository.sha("main")).tree
    repository.git.update_refs({"refs/tags/v1.0.0": tree})
    hearing.lose()
    list_tags(module)
    assert versions(module) == {}
    assert rules(module) == ["no_commit"]


@pytest.mark.on_postgresql
def test_a_delivery_shows_what_was_decided_for_stacks_and_modules(
    module: Module, repository: Repository, hearing: Hearing, admin: Any
) -> None:
    stack = make_stack(module.repository, "Network")
    repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    pushed, tagged = hearing.deliver()
    page = admin.get(tagged.get_absolute_url()).content.decode()
    assert module.address in page
    assert "is published once it has passed its check" in page
    assert stack.name in page
    assert tagged.outcome == "version"
    assert pushed.outcome == "run"
    unlinking = admin.get(reverse("integrations:unlink", args=[hearing.integration.pk]))
    assert module.address in unlinking.content.decode()


def test_only_a_delivery_has_a_decision_about_what_is_nothing_to_a_module(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({"a.tf": "1"}, branch="topic")
    hearing.deliver()
    assert rules(module) == ["other_branch"]
    repository.push({"a.tf": "2"}, branch="topic")
    hearing.lose()
    read_again(module)
    assert rules(module) == ["other_branch"]


@pytest.mark.on_postgresql
def test_a_repository_without_a_module_costs_one_query_more(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    make_stack(ours)
    repository.push({"a.tf": "1"})
    with CaptureQueriesContext(connection) as queries:
        hearing.deliver()
    asked = [one["sql"] for one in queries if '"modules_' in one["sql"]]
    assert len(asked) == 1
    assert not ModuleDecision.objects.exists()


@pytest.mark.parametrize("number", ["1.0.0", "1.0.0+other"])
def test_a_version_that_is_there_by_another_tag_is_left_alone(
    module: Module, repository: Repository, hearing: Hearing, number: str
) -> None:
    make_version(module, number, tag="old/v1.0.0")
    repository.push({"a.tf": "1"})
    repository.tag("v1.0.0")
    hearing.deliver()
    assert versions(module) == {number: ("old/v1.0.0", f"{1:040x}", "published")}
    assert rules(module)[-1] == "same_version"
