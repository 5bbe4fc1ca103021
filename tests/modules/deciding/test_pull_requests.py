"""Pull requests to a module's branch are read and their commits checked, without a stack, too."""

from typing import Any

from django.utils import timezone

from modules.deciding import importing
from modules.models import Check, Impact, Module
from stacks.models import PullRequest
from tests.builders import make_module, make_stack
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest as EmulatedPullRequest
from tests.modules.deciding.hearing import Hearing, checked, list_tags, read_again, rules
from tests.stacks.reports.sender import send_all
from vcs_integrations.models import Repository as OurRepository


def test_each_revision_is_checked_once(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    first = repository.push({"a.tf": "1"}, branch="topic")
    one = repository.open_pull_request("topic")
    hearing.deliver()
    row = PullRequest.objects.get()
    assert (row.number, row.status, row.source_sha, row.revision) == (one.id, "open", first, 1)
    assert checked(module) == [first]
    second = one.push({"a.tf": "2"})
    one.vote("Bo Builder", 10)
    hearing.lose()
    for _ in range(2):
        read_again(module)
    assert checked(module) == [first, second]
    assert rules(module).count("proposed") == 2
    one.complete()
    hearing.deliver()
    assert PullRequest.objects.get().status == "merged"
    assert Check.objects.count() == 2


def test_code_of_a_fork_is_not_executed(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    fork = repository.fork("infrastructure.eve")
    fork.push({"main.tf": "# evil"}, branch="topic")
    repository.open_pull_request("topic", fork=fork)
    hearing.deliver()
    assert rules(module)[-1] == "fork"
    assert "fork" in module.decisions.last().sentence  # type: ignore[union-attr]
    assert not Check.objects.exists()


def shown(one: EmulatedPullRequest, module: Module) -> dict[str, str]:
    """Return the last status of each name that a pull request shows of a module."""
    send_all()
    ours = module.address.replace("/", ".")
    posted = {str(each.context): each.state for each in one.statuses}
    return {
        name.removeprefix("stackhook/").removesuffix(ours): state
        for name, state in posted.items()
        if name.endswith(ours)
    }


def test_a_policy_that_asks_for_its_status_waits_for_no_module_that_stays_as_it_is(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    vpc = make_module(ours, "vpc", folder="vpc")
    db = make_module(ours, "db", folder="db")
    repository.push({"vpc/a.tf": "1"}, branch="topic")
    one = repository.open_pull_request("topic")
    hearing.deliver()
    assert shown(one, vpc) == {"module-": "pending", "impact.": "notApplicable"}
    assert shown(one, db) == {"module-": "notApplicable", "impact.": "notApplicable"}
    texts = {each.description for each in one.statuses if each.state == "notApplicable"}
    assert "It changes nothing in db: there is nothing to check" in texts
    one.push({"db/a.tf": "1"})
    hearing.deliver()
    assert shown(one, db) == {"module-": "pending", "impact.": "notApplicable"}
    assert "No stack is known to use the module" in {each.description for each in one.statuses}


def test_a_fork_is_told_that_its_code_is_not_checked(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    vpc = make_module(ours, "vpc", folder="vpc")
    db = make_module(ours, "db", folder="db")
    fork = repository.fork("infrastructure.eve")
    fork.push({"vpc/main.tf": "# evil"}, branch="topic")
    one = repository.open_pull_request("topic", fork=fork)
    hearing.deliver()
    assert shown(one, vpc) == {"module-": "error", "impact.": "error"}
    assert "Push it to a branch of the repository itself" in one.statuses[0].description
    assert shown(one, db) == {"module-": "notApplicable", "impact.": "notApplicable"}
    assert not Check.objects.exists()


def test_only_modules_are_checked_whose_folder_it_changes(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    vpc = make_module(ours, "vpc", folder="vpc")
    db = make_module(ours, "db", folder="db")
    elsewhere = make_module(ours, "old", branch="release")
    sha = repository.push({"vpc/a.tf": "1"}, branch="topic")
    repository.open_pull_request("topic")
    hearing.deliver()
    assert (checked(vpc), checked(db), checked(elsewhere)) == ([sha], [], [])
    assert rules(db)[-1] == "untouched"
    assert rules(elsewhere)[-1] == "other_target"


def test_stacks_of_the_repository_are_decided_as_ever(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    stack = make_stack(module.repository)
    sha = repository.push({"a.tf": "1"}, branch="topic")
    repository.open_pull_request("topic")
    hearing.deliver()
    assert [run.sha for run in stack.runs.all()] == [sha]
    assert checked(module) == [sha]


def test_the_impact_on_stacks_is_planned_until_the_pull_request_ends(
    module: Module, repository: Repository, hearing: Hearing
) -> None:
    repository.push({"a.tf": "1"}, branch="topic")
    one = repository.open_pull_request("topic")
    hearing.deliver()
    sha = one.push({"a.tf": "2"})
    hearing.deliver()
    found = Impact.objects.order_by("revision")
    assert [(each.revision, each.is_superseded) for each in found] == [(1, True), (2, False)]
    assert found.last().sha == sha  # type: ignore[union-attr]
    one.abandon()
    hearing.deliver()
    assert all(each.is_superseded or each.due_at is None for each in found.all())


def test_a_pull_request_that_is_older_than_the_module_is_checked_too(
    ours: OurRepository, repository: Repository, hearing: Hearing
) -> None:
    make_stack(ours)
    sha = repository.push({"vpc/a.tf": "1"}, branch="topic")
    one = repository.open_pull_request("topic")
    repository.push({"vpc/a.tf": "2"}, branch="old")
    repository.open_pull_request("old").abandon()
    hearing.deliver()
    module = make_module(ours, "vpc", folder="vpc")
    list_tags(module)
    assert checked(module) == [sha]
    assert shown(one, module) == {"module-": "pending", "impact.": "notApplicable"}
    assert Impact.objects.count() == 1
    # That is done once, and again when it is about another folder.
    module.decisions.all().delete()
    list_tags(module)
    assert rules(module) == []
    Module.objects.update(folder="db", pull_requests_read_at=None)
    list_tags(module)
    assert rules(module) == ["untouched"]
    assert shown(one, module) == {"module-": "notApplicable", "impact.": "notApplicable"}


def test_a_change_of_the_module_while_it_is_read_has_it_read_again(
    ours: OurRepository, repository: Repository, hearing: Hearing, monkeypatch: Any
) -> None:
    module = make_module(ours, "vpc", folder="vpc")
    really_list = importing.list_refs

    def then_changed(*arguments: Any) -> Any:
        later = timezone.now()
        Module.objects.update(
            tag_prefix="net", imported_at=None, pull_requests_read_at=None, due_at=later
        )
        return really_list(*arguments)

    monkeypatch.setattr(importing, "list_refs", then_changed)
    list_tags(module)
    assert (module.imported_at, module.pull_requests_read_at) == (None, None)
    assert module.due_at
    assert module.due_at <= timezone.now()
    monkeypatch.undo()
    list_tags(module)
    assert module.imported_at
    assert module.pull_requests_read_at
