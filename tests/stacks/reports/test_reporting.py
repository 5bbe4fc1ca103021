"""Runs are reported to Azure DevOps: commit statuses, pull request statuses, comments."""

from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings

from stacks.models import Report, Run, RunSource, Stack
from stacks.models.report import ReportState
from stacks.reports.plan_text import lines_below
from stacks.reports.texts import comment_for, describe, plan_of
from stacks.rules.states import Kind, State
from stacks.sources.heads import follow_from_now
from tests.builders import make_plan, make_run, make_stack
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest, PullRequestError
from tests.stacks.reports.sender import (
    TO_PLAN,
    look,
    make_reports_due,
    move,
    newest,
    send_all,
    summaries,
)
from vcs_integrations.models import Integration
from vcs_integrations.providers.azure_devops.provider import AzureDevOps

NETWORK = "stackhook/network"


@pytest.fixture
def following(stack: Stack) -> Stack:
    """The stack of `main` from now on, whatever files change."""
    assert follow_from_now(stack) is None
    Stack.objects.update(path_rule=False)
    return stack


@pytest.fixture
def opened(following: Stack, repository: Repository) -> PullRequest:
    """A pull request to the stack's branch, which has a run."""
    repository.push({"topic.tf": "1"}, "topic", "A topic")
    one = repository.open_pull_request("topic")
    look(following)
    return one


def add_stack(first: Stack, name: str, **settings: Any) -> Stack:
    """Add a stack of the same branch."""
    made = make_stack(first.repository, name, path_rule=False, **settings)
    assert follow_from_now(made) is None
    return made


def planned(**fields: object) -> Run:
    """Return a proposed run that was planned, with what executing it stores."""
    return Run(**{"pk": 3, "number": 3, "kind": Kind.PROPOSED, "state": State.FINISHED} | fields)


# Commits


def test_a_run_that_moves_is_reported_on_its_commit(
    following: Stack, repository: Repository
) -> None:
    sha = repository.push({"main.tf": "2"})
    look(following)
    send_all()
    [posted] = repository.statuses[sha]
    assert str(posted.context) == NETWORK
    assert (posted.state, posted.description) == ("pending", "Run 1 waits for its turn")
    assert posted.target_url == "https://stackhook.example.com/stacks/network/runs/1/"
    run = newest(following)
    for states in (TO_PLAN, [State.UNCONFIRMED], [State.CONFIRMED], [State.APPLYING]):
        move(run, *states)
        send_all()
    move(run, State.FINISHED)
    send_all()
    assert summaries(repository.statuses[sha])[1:] == [
        ("pending", "Run 1 is planning"),
        ("pending", "Run 1 waits for confirmation"),
        ("pending", "Run 1 is confirmed and will be applied"),
        ("pending", "Run 1 is being applied"),
        ("succeeded", "Run 1 finished"),
    ]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([*TO_PLAN, State.FAILED], ("failed", "Run 1 failed")),
        (
            [*TO_PLAN, State.UNCONFIRMED, State.DISCARDED],
            ("failed", "Run 1 was discarded: its changes were not applied"),
        ),
        ([State.CANCELED], ("notApplicable", "Run 1 was canceled")),
    ],
)
def test_no_end_leaves_a_commit_pending(
    following: Stack, repository: Repository, states: list[State], expected: tuple[str, str]
) -> None:
    sha = repository.push({"main.tf": "2"})
    look(following)
    send_all()
    move(newest(following), *states)
    send_all()
    assert summaries(repository.statuses[sha])[-1] == expected


def test_older_code_of_the_tracked_branch_is_reported_as_superseded(
    following: Stack, repository: Repository
) -> None:
    first = repository.push({"main.tf": "2"})
    look(following)
    send_all()
    second = repository.push({"main.tf": "3"})
    look(following)
    send_all()
    expected = ("notApplicable", "Run 1 was superseded by newer code")
    assert summaries(repository.statuses[first])[-1] == expected
    assert summaries(repository.statuses[second]) == [("pending", "Run 2 waits for its turn")]


def test_a_result_outlasts_a_later_run_of_the_commit_that_came_to_nothing(
    following: Stack, repository: Repository
) -> None:
    sha = repository.push({"main.tf": "2"})
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    again = make_run(following, sha=sha, position=None, repeats=newest(following))
    send_all()
    assert summaries(repository.statuses[sha]) == [("pending", "Run 2 waits for its turn")]
    move(again, State.CANCELED)
    send_all()
    assert summaries(repository.statuses[sha])[-1] == ("succeeded", "Run 1 finished")


@pytest.mark.on_postgresql
@pytest.mark.parametrize("at_once", [False, True])
def test_the_commit_of_a_deleted_stack_does_not_stay_pending(
    following: Stack, repository: Repository, at_once: bool
) -> None:
    Integration.objects.update(reports_all_stacks_at_once=at_once)
    sha = repository.push({"main.tf": "2"})
    look(following)
    send_all()
    following.delete()
    send_all()
    assert summaries(repository.statuses[sha])[-1] == ("notApplicable", "The stack was deleted")
    assert not Report.objects.waiting().exists()


@pytest.mark.on_postgresql
def test_a_report_and_the_move_are_stored_together_or_not_at_all(
    following: Stack, repository: Repository
) -> None:
    repository.push({"main.tf": "2"})
    look(following)
    send_all()
    run = newest(following)
    assert not Report.objects.waiting().exists()
    with pytest.raises(RuntimeError), transaction.atomic():
        move(run, State.CANCELED)
        assert Report.objects.waiting().count() == 1
        raise RuntimeError
    assert not Report.objects.waiting().exists()
    assert Run.objects.filter(pk=run.pk).move_to(State.CANCELED)
    assert Report.objects.waiting().count() == 1


# Pull requests


def test_a_pull_request_has_the_status_on_its_revision(
    opened: PullRequest, following: Stack, repository: Repository
) -> None:
    repository.require_status(NETWORK)
    send_all()
    assert summaries(opened.latest_statuses(iteration=1)) == [
        ("pending", "Run 1 waits for its turn")
    ]
    with pytest.raises(PullRequestError, match="it is pending"):
        opened.complete()
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    assert summaries(opened.latest_statuses(iteration=1)) == [("succeeded", "Run 1 finished")]
    assert opened.complete()


def test_a_run_of_a_push_is_reported_on_the_pull_request_that_comes_later(
    following: Stack, repository: Repository
) -> None:
    repository.push({"topic.tf": "1"}, "topic")
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    repository.push({"topic.tf": "2"}, "topic")
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    one = repository.open_pull_request("topic")
    look(following)
    send_all()
    assert following.runs.count() == 2
    assert summaries(one.latest_statuses(iteration=1)) == [("succeeded", "Run 2 finished")]
    [thread] = one.threads
    assert "Run 2 finished" in thread.comments[0].content


def test_the_revision_is_the_one_of_the_run(
    opened: PullRequest, following: Stack, repository: Repository
) -> None:
    send_all()
    first = newest(following)
    move(first, *TO_PLAN, State.FINISHED)
    opened.push({"topic.tf": "2"})
    look(following)
    move(newest(following), *TO_PLAN, State.FAILED)
    send_all()
    assert summaries(opened.latest_statuses(iteration=1)) == [("succeeded", "Run 1 finished")]
    assert summaries(opened.latest_statuses(iteration=2)) == [("failed", "Run 2 failed")]


def test_a_run_that_was_given_up_satisfies_no_policy(
    opened: PullRequest, following: Stack, repository: Repository
) -> None:
    repository.require_status(NETWORK, reset_on_push=False)
    send_all()
    move(newest(following), State.CANCELED)
    send_all()
    assert summaries(opened.latest_statuses(iteration=1)) == [("error", "Run 1 was canceled")]
    with pytest.raises(PullRequestError, match="it is error"):
        opened.complete()


def test_an_revision_that_the_path_rule_ignores_does_not_block_the_pull_request(
    following: Stack, repository: Repository
) -> None:
    repository.require_status(NETWORK)
    Stack.objects.update(path_rule=True, project_root="infra")
    repository.push({"docs/read.md": "1"}, "topic")
    one = repository.open_pull_request("topic")
    look(following)
    send_all()
    expected = "No changed file is under infra: there is nothing to run"
    assert summaries(one.latest_statuses(iteration=1)) == [("notApplicable", expected)]
    [posted] = one.statuses
    assert posted.target_url.endswith("/stacks/network/activity/")
    assert one.threads == []
    one.push({"infra/main.tf": "1"})
    look(following)
    send_all()
    assert summaries(one.latest_statuses(iteration=2)) == [("pending", "Run 1 waits for its turn")]
    with pytest.raises(PullRequestError, match="it is pending"):
        one.complete()


def test_two_pull_requests_of_one_commit_have_the_status_of_its_run(
    opened: PullRequest, following: Stack, repository: Repository
) -> None:
    repository.push_refs({"refs/heads/twin": repository.sha("topic")})
    twin = repository.open_pull_request("twin")
    look(following)
    send_all()
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    for one in (opened, twin):
        assert summaries(one.latest_statuses(iteration=1)) == [("succeeded", "Run 1 finished")]


@pytest.mark.on_postgresql
@pytest.mark.parametrize("reset_on_push", [True, False])
def test_the_newest_revision_has_the_last_word(
    opened: PullRequest, following: Stack, repository: Repository, reset_on_push: bool
) -> None:
    policy = repository.require_status(NETWORK, reset_on_push=reset_on_push)
    send_all()
    first = newest(following)
    opened.push({"topic.tf": "2"})
    look(following)
    send_all()
    move(newest(following), *TO_PLAN, State.FAILED)
    send_all()
    # Somebody repeats the older one, whose status comes last then.
    again = make_run(
        following,
        kind=Kind.PROPOSED,
        sha=first.sha,
        position=None,
        repeats=first,
    )
    RunSource.objects.add(one.copied_to(again) for one in first.sources.all())
    move(again, *TO_PLAN, State.FINISHED)
    send_all()
    assert summaries(opened.latest_statuses(iteration=1)) == [("succeeded", "Run 3 finished")]
    deciding = opened.deciding_status(policy)
    assert deciding
    assert (deciding.iteration_id, deciding.state) == (2, "failed")


# Pull requests that end


def test_a_completed_pull_request_accepts_nothing(
    opened: PullRequest, following: Stack, repository: Repository
) -> None:
    send_all()
    posted = len(opened.statuses)
    opened.complete()
    move(newest(following), *TO_PLAN, State.FINISHED)  # before the completion was announced
    send_all()
    assert len(opened.statuses) == posted
    assert opened.threads == []
    refused = Report.objects.filter(pull_request__number=opened.id)
    assert [one.state for one in refused] == [ReportState.REFUSED, ReportState.REFUSED]
    assert {one.problem for one in refused} == {f"Pull request {opened.id} is merged."}
    make_reports_due()
    send_all()
    assert not Report.objects.waiting().exists()
    assert summaries(repository.statuses[opened.source_commit])[-1] == (
        "succeeded",
        "Run 1 finished",
    )


def test_a_run_of_two_pull_requests_is_reported_to_the_one_that_stays(
    opened: PullRequest, following: Stack, repository: Repository
) -> None:
    repository.push_refs({"refs/heads/two": opened.source_commit})
    other = repository.open_pull_request("two")
    look(following)
    send_all()
    opened.abandon()
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    assert summaries(opened.latest_statuses(iteration=1)) == [
        ("pending", "Run 1 waits for its turn")
    ]
    assert summaries(other.latest_statuses(iteration=1)) == [("succeeded", "Run 1 finished")]


def test_a_pull_request_that_is_active_again_is_reported_again(
    opened: PullRequest, following: Stack
) -> None:
    send_all()
    opened.abandon()
    look(following)
    send_all()
    assert newest(following).state == State.CANCELED
    opened.reactivate()
    look(following)
    send_all()
    assert summaries(opened.latest_statuses(iteration=1)) == [
        ("pending", "Run 2 waits for its turn")
    ] or (
        summaries(opened.latest_statuses(iteration=2)) == [("pending", "Run 2 waits for its turn")]
    )


# All stacks at once


@pytest.fixture
def at_once(integration: Integration) -> None:
    Integration.objects.update(reports_all_stacks_at_once=True)


@pytest.mark.on_postgresql
def test_all_stacks_can_have_one_status_together(
    following: Stack, repository: Repository, at_once: None
) -> None:
    add_stack(following, "Cluster", project_root="cluster")
    Stack.objects.filter(name="Cluster").update(path_rule=True)
    repository.push({"topic.tf": "1"}, "topic")
    one = repository.open_pull_request("topic")
    look(following)
    send_all()
    assert {str(posted.context) for posted in one.statuses} == {"stackhook/all"}
    counted = "2 stacks: 1 not done yet, 1 not concerned"
    assert summaries(one.latest_statuses(iteration=1)) == [("pending", counted)]
    run = newest(following)
    move(run, *TO_PLAN, State.FAILED)
    send_all()
    counted = "2 stacks: 1 failed, 1 not concerned"
    assert summaries(one.latest_statuses(iteration=1)) == [("failed", counted)]
    assert one.statuses[-1].target_url.endswith(run.get_absolute_url())
    posted = repository.statuses[run.sha]
    assert {str(each.context) for each in posted} == {"stackhook/all"}
    assert summaries(posted)[-1] == ("failed", "Network: Run 1 failed")
    assert len(one.threads) == 1


@pytest.mark.on_postgresql
@pytest.mark.parametrize("long", ["", " and so on" * 9])
def test_the_status_of_all_stacks_says_whose_plans_destroy_everything(
    following: Stack, repository: Repository, at_once: None, long: str
) -> None:
    for name in ("Cluster", "Database"):
        add_stack(following, f"{name}{long}")
    repository.push({"topic.tf": "1"}, "topic")
    one = repository.open_pull_request("topic")
    look(following)
    for run in Run.objects.all():
        move(run, *TO_PLAN, State.FINISHED)
    for name in ("Cluster", "Database"):
        destroying = Run.objects.filter(stack__name__startswith=name)
        destroying.update(added=0, changed=0, destroyed=2, destroys_everything=True)
    send_all()
    [(state, text)] = summaries(one.latest_statuses(iteration=1))
    begin = "3 stacks: 3 succeeded. Plans that destroy every resource in the state: "
    assert state == "succeeded"
    assert text.startswith(f"{begin}Cluster{long}, Database and so" if long else begin)
    assert text.endswith("…" if long else ": Cluster, Database")
    assert one.statuses[-1].target_url.endswith(
        "cluster" + "-and-so-on" * 9 * bool(long) + "/runs/1/"
    )


def test_what_was_begun_for_each_stack_is_ended_for_each(
    opened: PullRequest, following: Stack, repository: Repository
) -> None:
    send_all()
    Integration.objects.update(reports_all_stacks_at_once=True)
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    assert summaries(opened.latest_statuses(iteration=1)) == [("succeeded", "Run 1 finished")]


# Comments


def test_a_comment_is_begun_with_a_result_and_edited_in_place(
    opened: PullRequest, following: Stack
) -> None:
    send_all()
    assert opened.threads == []
    move(newest(following), *TO_PLAN, State.FAILED)
    send_all()
    [thread] = opened.threads
    assert thread.status == "closed"  # nobody has to resolve it
    address = "https://stackhook.example.com/stacks/network/"
    [comment] = thread.comments
    assert comment.content.startswith(f"**[Network]({address})**: Run 1 failed\n")
    assert f"[Run 1]({address}runs/1/) of commit" in comment.content
    opened.push({"topic.tf": "2"})
    look(following)
    send_all()
    assert "Run 2 waits for its turn" in comment.content
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    assert "Run 2 finished" in comment.content
    assert "revision 2" in comment.content
    assert [len(one.comments) for one in opened.threads] == [1]


def test_each_stack_has_a_comment_of_its_own(following: Stack, repository: Repository) -> None:
    add_stack(following, "Net work")
    repository.push({"topic.tf": "1"}, "topic")
    one = repository.open_pull_request("topic")
    look(following)
    for run in Run.objects.all():
        move(run, *TO_PLAN, State.FINISHED)
    send_all()
    begun = sorted(thread.comments[0].content.partition(":")[0] for thread in one.threads)
    assert begun == ["**[Net work](https", "**[Network](https"]


def test_a_comment_that_somebody_deleted_is_replaced(opened: PullRequest, following: Stack) -> None:
    move(newest(following), *TO_PLAN, State.FAILED)
    send_all()
    [thread] = opened.threads
    thread.delete(1)
    opened.push({"topic.tf": "2"})
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    make_reports_due()
    send_all()
    assert [one.is_deleted for one in opened.threads] == [True, False]
    assert "Run 2 finished" in opened.threads[1].comments[0].content


@pytest.mark.on_postgresql
def test_a_plan_is_folded_and_cut_to_what_a_comment_may_hold(
    opened: PullRequest, following: Stack
) -> None:
    run = newest(following)
    move(run, *TO_PLAN, State.FINISHED)
    [report] = Report.objects.filter(what="comment")
    name = "🏗️" * 100
    resources = [{"address": f"null_resource.{name}[{n}]", "action": "add"} for n in range(1_000)]
    plan = {"resources": [{"address": "```", "action": "destroy"}, *resources]}
    Run.objects.filter(pk=run.pk).update(plan=plan, destroyed=1)
    comment = comment_for(report)
    assert comment
    length = len(comment.text.encode("utf-16-le")) // 2
    assert AzureDevOps.longest_comment - 500 < length <= AzureDevOps.longest_comment
    assert f"\n````text\n - ```\n + null_resource.{name}[0]\n" in comment.text
    shown = comment.text.count("\n + ")
    assert 400 < shown < 1_000
    assert f"\n… [{1_000 - shown} more on the run's page](https://" in comment.text
    send_all()
    [thread] = opened.threads
    assert thread.comments[0].content == comment.text


@pytest.mark.on_postgresql
def test_a_comment_shows_which_attributes_change_and_what_forces_a_replacement(
    opened: PullRequest, following: Stack
) -> None:
    run = newest(following)
    move(run, *TO_PLAN, State.FINISHED)
    replaced = {
        "actions": ["delete", "create"],
        "before": {"id": "1", "name": "old", "script": "one\ntwo", "password": "hush-hush"},
        "after": {"name": "new", "script": "one\n2```", "password": "hush"},
        "after_unknown": {"id": True},
        "after_sensitive": {"password": True},
        "replace_paths": [["name"]],
    }
    gone = {"actions": ["delete"], "before": {"id": "of what is destroyed"}}
    added = {"actions": ["create"], "after": {f"a{n:02}": "x" * 200 for n in range(25)}}
    reason = "delete_because_no_module"
    resources = [
        {"address": "a.added", "change": added},
        {"address": "a.replaced", "change": replaced},
        {"address": "a.gone", "change": gone, "action_reason": reason},
    ]
    url = {"actions": ["create"], "after": "http://value.of.an.output"}
    make_plan(run, {"resource_changes": resources, "output_changes": {"url": url}})
    send_all()
    [thread] = opened.threads
    text = thread.comments[0].content
    block = text.partition("````text\n")[2].partition("\n````")[0]
    assert block.split("\n") == [
        " - a.gone",
        "      Destroyed because the code no longer has its module.",
        "-+ a.replaced",
        '      ~ name (forces replacement): "old" → "new"',
        '      ~ id: "1" → (known after apply)',
        "      ~ password: (sensitive) → (sensitive)",
        "      ~ script:",
        "            one",
        "          - two",
        "          + 2```",
        " + a.added",
        *(f'      + a{n:02}: "{"x" * 119}…' for n in range(20)),
        "      … 5 more attributes",
        " + output url",
    ]
    assert "hush" not in text and "value.of.an.output" not in text


def test_every_resource_has_its_line_in_a_comment_before_any_attribute_has(
    opened: PullRequest, following: Stack
) -> None:
    run = newest(following)
    move(run, *TO_PLAN, State.FINISHED)
    [report] = Report.objects.filter(what="comment")
    after = {f"a{n}": "🏗️" * 50 for n in range(10)}
    resources = [
        {"address": f"a.b[{n}]", "change": {"actions": ["create"], "after": after}}
        for n in range(900)
    ]
    make_plan(run, {"resource_changes": resources})
    comment = comment_for(report)
    assert comment
    assert len(comment.text.encode("utf-16-le")) // 2 <= AzureDevOps.longest_comment
    assert [comment.text.count(f"\n + a.b[{n}]\n") for n in (0, 899)] == [1, 1]
    assert comment.text.count("\n      + a9:") > 50
    assert "more on the run's page" not in comment.text
    # With another key, the plan is still listed.
    with override_settings(FIELD_ENCRYPTION_KEY="another key altogether"):
        [lines] = {"".join(more) for _, more in lines_below(run, 900)} or {""}
    assert lines == ""


def test_a_comment_says_how_much_of_a_long_plan_is_on_the_page_alone(
    opened: PullRequest, following: Stack
) -> None:
    run = newest(following)
    move(run, *TO_PLAN, State.FINISHED)
    [report] = Report.objects.filter(what="comment")
    resources = [{"address": f"a.b[{n}]", "action": "destroy"} for n in range(1_500)]
    Run.objects.filter(pk=run.pk).update(plan={"resources": resources}, destroyed=1_500)
    comment = comment_for(report)
    assert comment
    assert comment.text.count("\n - a.b[") == 1_000
    rest = f"https://stackhook.example.com{run.get_absolute_url()}"
    rest_of_plan = f"… [500 more on the run's page]({rest}), 500 of them to destroy or replace\n"
    assert comment.text.endswith(rest_of_plan)


def test_the_errors_of_a_failed_run_are_in_the_comment_and_its_first_in_the_status(
    opened: PullRequest, following: Stack
) -> None:
    run = newest(following)
    move(run, *TO_PLAN, State.FAILED)
    errors = "Error: No value for required variable\n\n  on main.tf line 1:\n```"
    Run.objects.filter(pk=run.pk).update(failure="The plan failed.", errors=errors)
    send_all()
    [thread] = opened.threads
    assert f"\n````text\n{errors}\n````\n" in thread.comments[0].content
    last = opened.statuses[-1]
    assert last.description == "Run 1 failed: No value for required variable"


def test_a_name_can_not_break_out_of_the_comment(opened: PullRequest, following: Stack) -> None:
    Stack.objects.update(name="a](http://evil) *b* <script> @all #12")
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    [thread] = opened.threads
    begin = r"**[a\](http://evil) \*b\* \<script\> \@all \#12](https://stackhook.example.com/"
    assert thread.comments[0].content.startswith(begin)


# Words


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "state", "counts", "expected"),
    [
        (Kind.PROPOSED, State.FINISHED, (2, 1, 0), "planned: 2 to add, 1 to change, 0 to destroy"),
        (Kind.PROPOSED, State.FINISHED, (0, 0, 0), "found no changes"),
        (Kind.TRACKED, State.FINISHED, (2, 0, 1), "applied: 2 added, 0 changed, 1 destroyed"),
        (
            Kind.TRACKED,
            State.UNCONFIRMED,
            (0, 0, 3),
            "waits for confirmation: 0 to add, 0 to change, 3 to destroy",
        ),
    ],
)
def test_a_run_is_reported_with_its_counts(
    kind: Kind, state: State, counts: tuple[int, int, int], expected: str
) -> None:
    added, changed, destroyed = counts
    run = planned(kind=kind, state=state, added=added, changed=changed, destroyed=destroyed)
    assert describe(run) == f"Run 3 {expected}"


@pytest.mark.django_db
def test_changed_outputs_are_changes_and_are_reported_without_their_values() -> None:
    outputs = [{"name": "address", "action": "change", "value": '"10.0.0.1"'}]
    run = planned(added=0, changed=0, destroyed=0, changed_outputs=1, plan={"outputs": outputs})
    assert describe(run) == "Run 3 planned: 0 to add, 0 to change, 0 to destroy, 1 output"
    assert plan_of(run) == " ~ output address"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "state", "is_said"),
    [
        (Kind.PROPOSED, State.FINISHED, True),
        (Kind.TRACKED, State.UNCONFIRMED, True),
        (Kind.TRACKED, State.CONFIRMED, False),
        (Kind.TRACKED, State.FINISHED, False),
    ],
)
def test_a_plan_that_destroys_everything_says_so_until_it_is_applied(
    kind: Kind, state: State, is_said: bool
) -> None:
    run = planned(kind=kind, state=state, added=0, changed=0, destroyed=1, destroys_everything=True)
    said = describe(run).endswith(" 1 to destroy. This plan destroys every resource in the state.")
    assert said == is_said


def test_a_failure_says_why() -> None:
    run = planned(state=State.FAILED, failure="The plan failed.")
    assert describe(run) == "Run 3 failed: The plan failed."
    assert run.changes is None


@pytest.mark.django_db
def test_no_stack_takes_the_name_of_the_status_of_all(linked: Integration) -> None:
    assert make_stack(linked, "All").slug == "all-2"
