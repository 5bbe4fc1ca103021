"""What no webhook announced is read from Azure DevOps, and becomes the same runs."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from config.management.commands.background_worker import tidy
from stacks.deciding import reconciliation
from stacks.deciding.reconciliation import reconcile, reconcile_next
from stacks.models import Stack
from stacks.sources.heads import follow_from_now
from tests.builders import make_stack
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Delivery, Integration
from vcs_integrations.models import Repository as OurRepository
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.azure_devops import client as azure_devops
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import INTERACTIVE, Problem, ProviderError


@pytest.fixture
def following(stack: Stack) -> Stack:
    """The stack of `main` from now on."""
    assert follow_from_now(stack) is None
    return stack


def look(stack: Stack) -> list[str]:
    """Reconcile the stack's repository; return the rules by which something was decided."""
    found = reconcile(OurRepository.objects.select_related("integration").get(stacks=stack))
    stack.refresh_from_db()
    return [decision.rule for decision in found]


def runs(stack: Stack) -> list[tuple[str, str, str]]:
    return [(run.kind, run.message, run.state) for run in stack.runs.order_by("number")]


def test_what_was_there_before_the_stack_starts_nothing(following: Stack) -> None:
    assert look(following) == []
    assert following.head_sha


def test_a_push_that_nobody_announced_becomes_a_run_that_says_so(
    following: Stack, repository: Repository
) -> None:
    repository.push({"main.tf": "2"}, message="Second")
    assert look(following) == ["tracked"]
    [run] = following.runs.all()
    assert run.is_reconciled
    assert (run.kind, run.message, run.state) == ("tracked", "Second", "queued")
    assert following.head_sha == run.sha == repository.sha("main")
    assert following.repository.pushed_at == repository.pushes[-1].date
    assert look(following) == []


def test_of_many_pushes_all_are_recorded_and_the_last_is_run(
    following: Stack, repository: Repository
) -> None:
    for number in range(5):
        repository.push({"main.tf": str(number)}, message=f"Change {number}")
    look(following)
    assert [state for _, _, state in runs(following)] == ["superseded"] * 4 + ["queued"]


def test_more_pushes_than_a_page_holds(following: Stack, repository: Repository) -> None:
    Stack.objects.update(path_rule=False)
    for number in range(130):
        repository.push({"main.tf": str(number)}, message=f"Change {number}")
    look(following)
    assert following.runs.count() == 130


def test_branches_created_deleted_and_tags(following: Stack, repository: Repository) -> None:
    repository.push({"new.tf": "1"}, branch="topic", message="A topic")
    repository.tag("v1")
    repository.delete_branch("topic")
    assert look(following) == ["proposed", "no_branch", "branch_deleted"]
    assert runs(following) == [("proposed", "A topic", "queued")]


def test_trial_merges_are_passed_over(following: Stack, repository: Repository) -> None:
    repository.push({"a.tf": "1"}, branch="topic")
    pushed_at = repository.pushes[-1].date
    repository.open_pull_request("topic")
    assert look(following) == ["proposed"]
    row = following.repository
    assert (row.seen_position, row.pushed_at) == (repository.pushes[-1].id, pushed_at)
    repository.push_trial_merge(1, repository.sha("topic"))
    assert look(following) == []
    row.refresh_from_db()
    assert (row.seen_position, row.pushed_at) == (repository.pushes[-1].id, pushed_at)


def test_a_stack_made_after_a_trial_merge_follows_its_branch(
    stack: Stack, repository: Repository
) -> None:
    repository.open_pull_request("feature/network")
    assert follow_from_now(stack) is None
    assert (stack.head_sha, stack.head_position) == (repository.sha("main"), 1)
    assert stack.followed_position == repository.pushes[-1].id
    repository.push({"main.tf": "2"})
    assert look(stack)[0] == "tracked"


def test_the_tracked_branch_is_gone_and_back(following: Stack, repository: Repository) -> None:
    repository.push({"keep.tf": "1"}, branch="keep")
    sha = repository.sha("main")
    repository.push_refs({"refs/heads/main": None})
    look(following)
    assert following.branch_gone_at
    repository.push_refs({"refs/heads/main": sha})
    assert look(following) == ["tracked"]
    assert not following.branch_gone_at
    assert following.head_sha == sha


def test_a_pull_request_with_its_revisions(following: Stack, repository: Repository) -> None:
    Stack.objects.update(pull_requests_only=True)
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    one = repository.open_pull_request("topic", title="A topic")
    one.push({"a.tf": "2"}, "Second")
    one.push({"a.tf": "3"}, "Third")
    look(following)
    assert runs(following) == [
        ("proposed", "First", "superseded"),
        ("proposed", "Second", "superseded"),
        ("proposed", "Third", "queued"),
    ]
    newest = following.runs.order_by("-number")[0]
    assert newest.pull_request
    assert (newest.pull_request.title, newest.proposals[0].revision) == ("A topic", 3)
    assert look(following) == []


def test_a_pull_request_that_came_and_went_is_recorded_as_canceled(
    following: Stack, repository: Repository
) -> None:
    Stack.objects.update(pull_requests_only=True)
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    repository.open_pull_request("topic").complete()
    look(following)
    assert ("proposed", "First", "canceled") in runs(following)
    kinds = [kind for kind, _, _ in runs(following)]
    assert sorted(kinds) == ["proposed", "tracked"]


def test_one_that_was_open_and_ended_meanwhile(following: Stack, repository: Repository) -> None:
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    one = repository.open_pull_request("topic")
    look(following)
    one.abandon()
    assert look(following) == ["closed"]
    assert runs(following) == [("proposed", "First", "canceled")]
    one.reactivate()
    look(following)
    assert runs(following)[1:] == [("proposed", "First", "queued")]


def test_votes_are_not_worth_a_word(following: Stack, repository: Repository) -> None:
    repository.push({"a.tf": "1"}, branch="topic")
    one = repository.open_pull_request("topic")
    look(following)
    one.vote("Bo Builder", 10)
    one.edit(title="Other words")
    assert look(following) == []
    assert following.runs.count() == 1


def test_a_rename_of_repository_project_and_organization_changes_nothing(
    following: Stack, repository: Repository, organization: Organization
) -> None:
    repository.rename("größer")
    repository.project.rename("Andere Gruppe")
    organization.rename("contoso")
    assert refresh(Integration.objects.get(), INTERACTIVE) is None
    repository.push({"main.tf": "2"}, message="Second")
    following = Stack.objects.with_repository().get(pk=following.pk)
    assert look(following) == ["tracked"]
    following.repository.refresh_from_db()
    assert str(following.repository) == "Andere Gruppe/größer"
    renamed = Integration.objects.get()
    assert (renamed.organization_url, renamed.name) == (organization.url, "contoso")


def test_a_quiet_repository_costs_few_requests(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    look(following)
    emulator.reset_requests()
    look(following)
    assert sum(emulator.request_counts().values()) <= 4


def test_ten_stacks_of_one_branch_cost_no_more_than_one(
    following: Stack, emulator: Emulator
) -> None:
    look(following)
    for number in range(10):
        copy = make_stack(following.repository, f"Copy {number}")
        follow_from_now(copy)
    look(following)
    emulator.reset_requests()
    look(following)
    assert sum(emulator.request_counts().values()) <= 4


def test_a_repository_without_stacks_is_not_read(following: Stack, emulator: Emulator) -> None:
    repository = following.repository
    following.delete()
    emulator.reset_requests()
    OurRepository.objects.make_due()
    assert reconcile_next()
    assert sum(emulator.request_counts().values()) == 0
    repository.refresh_from_db()
    assert repository.due_at is None


def test_it_is_put_off_when_azure_devops_is_away_and_done_when_it_is_back(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"main.tf": "2"})
    emulator.faults.add("throttled", seconds=120)
    with pytest.raises(ProviderError) as error:
        look(following)
    assert error.value.problem == Problem.THROTTLED
    ours = OurRepository.objects.get(stacks=following)
    assert ours.failures == 1
    assert ours.due_at
    assert ours.due_at - timezone.now() > timedelta(seconds=100)
    emulator.faults.clear()
    azure_devops.resume_times.clear()  # the time is over
    assert look(following) == ["tracked"]
    ours.refresh_from_db()
    assert ours.failures == 0


def test_a_good_answer_that_asks_to_wait_is_obeyed(
    following: Stack, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        azure_devops.resume_times.clear()  # the time is over

    monkeypatch.setattr("time.sleep", sleep)
    emulator.faults.add("delayed", seconds=7, times=2)
    look(following)
    assert len(waited) == 2
    assert all(6 < seconds <= 8 for seconds in waited)


def test_after_a_failed_period_it_is_due_at_once(following: Stack, emulator: Emulator) -> None:
    integration = following.integration
    look(following)
    emulator.faults.add("unavailable")
    refresh(integration, INTERACTIVE)
    emulator.faults.clear()
    assert not OurRepository.objects.due().exists()
    refresh(integration, INTERACTIVE)
    assert OurRepository.objects.due().exists()


def test_an_unlinked_organization_is_not_read(following: Stack) -> None:
    unlink(following.integration)
    OurRepository.objects.make_due()
    assert not reconcile_next()


def test_the_command_reads_all_and_says_what_it_found(
    following: Stack, repository: Repository
) -> None:
    repository.push({"main.tf": "2"})
    out = StringIO()
    call_command("reconcile", stdout=out)
    assert out.getvalue() == "Platform Team/infrastructure: 1 new run\n"


def test_the_command_learns_what_a_repository_is_called_now(
    following: Stack, repository: Repository
) -> None:
    repository.rename("foundation")
    out = StringIO()
    call_command("reconcile", stdout=out)
    assert out.getvalue() == "Platform Team/foundation: 0 new runs\n"


def test_the_command_names_what_could_not_be_read(following: Stack, emulator: Emulator) -> None:
    emulator.faults.add("token-invalid-401")
    err = StringIO()
    with pytest.raises(CommandError, match="1 repository could not be read"):
        call_command("reconcile", stderr=err)
    assert "Platform Team/infrastructure: " in err.getvalue()


def test_a_stack_made_while_azure_devops_was_away_begins_when_it_was_made(
    stack: Stack, repository: Repository, emulator: Emulator
) -> None:
    emulator.faults.add("unavailable")
    assert follow_from_now(stack)
    emulator.faults.clear()
    repository.push({"main.tf": "2"}, message="Second")
    assert look(stack)[0] == "tracked"
    assert runs(stack) == [("tracked", "Second", "queued")]


def test_a_stack_that_follows_another_branch_starts_over(
    following: Stack, repository: Repository
) -> None:
    repository.push({"main.tf": "2"})
    look(following)
    following.follow(following.repository, "feature/network")
    follow_from_now(following)
    assert [state for _, _, state in runs(following)] == ["canceled"]
    repository.push({"main.tf": "3"}, branch="feature/network", message="There")
    assert look(following) == ["tracked"]
    assert runs(following)[-1] == ("tracked", "There", "queued")


def test_a_request_while_it_is_read_leads_to_another_reading(
    following: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = AzureDevOpsClient.branch

    def read_as_somebody_asks(*about: Any) -> Any:
        OurRepository.objects.make_due()
        return branch(*about)

    look(following)
    assert not OurRepository.objects.due().exists()
    monkeypatch.setattr(AzureDevOpsClient, "branch", read_as_somebody_asks)
    look(following)
    assert OurRepository.objects.due().exists()


def test_a_push_that_was_decided_in_part_is_decided_in_full(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(path_rule=False)
    one = repository.commit({"a.tf": "1"}, [repository.sha("main")], "One")
    two = repository.commit({"b.tf": "1"}, [repository.sha("main")], "Two")
    repository.push_refs({"refs/heads/one": one, "refs/heads/two": two})
    emulator.faults.add("unavailable", path="commits/" + two)
    with pytest.raises(ProviderError):
        look(following)
    emulator.faults.clear()
    look(following)
    assert sorted(message for _, message, _ in runs(following)) == ["One", "Two"]


def test_a_push_that_can_not_be_read_holds_up_others_for_an_hour_only(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    sha = repository.push({"main.tf": "2"}, message="Second")
    repository.push({"main.tf": "3"}, message="Third")
    emulator.faults.add("server-error", path="diffs/commits")
    for _ in range(reconciliation.WAITING_FAILURES):
        with pytest.raises(ProviderError):
            look(following)
    look(following)
    assert following.runs.get(sha=sha).note
    assert [state for _, _, state in runs(following)] == ["superseded", "queued"]


def test_of_two_workers_one_reads_a_repository(following: Stack) -> None:
    look(following)
    OurRepository.objects.make_due()
    assert OurRepository.objects.claim_one(reconciliation.LEASE)
    assert not reconcile_next()
    OurRepository.objects.update(lease_until=timezone.now())  # it was killed
    assert reconcile_next()


def test_a_repository_that_is_disabled_is_left_alone_by_the_command(
    following: Stack, repository: Repository
) -> None:
    repository.disable()
    refresh(following.integration, INTERACTIVE)
    call_command("reconcile")


def test_what_was_kept_long_enough_is_deleted(following: Stack, repository: Repository) -> None:
    repository.push({"main.tf": "2"})
    look(following)
    old = timezone.now() - timedelta(days=91)
    Delivery.objects.create(
        integration=following.integration, outcome="test", body=b"", received_at=old
    )
    Delivery.objects.create(integration=following.integration, outcome="test", body=b"")
    following.decisions.update(decided_at=old)
    tidy()
    assert Delivery.objects.count() == 1
    assert following.decisions.count() == 0
    assert following.runs.count() == 1
