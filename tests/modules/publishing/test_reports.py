"""Statuses of modules: on the commits of versions and on pull requests, each sent once."""

import pytest

from modules.models import Check, CheckState, Module, Outcome, Result, VersionState
from modules.publishing import queue
from modules.publishing.ending import Publication, end
from modules.publishing.reporting import report_revision
from stacks.models import PullRequest, Report
from stacks.models.report import What
from stacks.module_registry import module_registry
from tests.emulator.model import Repository
from tests.modules.publishing.conftest import ask, state, waiting
from tests.stacks.reports.sender import send_all, summaries
from vcs_integrations.models import Integration

PUBLICATION = Publication(b"archive", "", {})
NAME = "module-fabrikam.network.azurerm"
BROKEN = [
    Result("Archive", Outcome.PASSED, "2 files."),
    Result("Validation", Outcome.FAILED, "Unsupported argument."),
]


def claimed() -> Check:
    found = queue.claim_next()
    assert found
    return found


def proposed(module: Module, repository: Repository) -> PullRequest:
    repository.push({"a.tf": "# A\n"}, "feature")
    one = repository.open_pull_request("feature", "main", "Add a")
    return PullRequest.objects.create(
        repository=module.repository,
        number=one.id,
        title="Add a",
        author="Ann Admin",
        status="open",
        source_branch="feature",
        target_branch="main",
        source_sha=repository.sha("feature"),
        revision=1,
    )


def test_the_commit_of_a_version_shows_its_check(module: Module, repository: Repository) -> None:
    sha = repository.sha("main")
    waiting(module, sha)
    check = claimed()
    send_all()
    end(check, [], PUBLICATION, "")
    send_all()
    Report.objects.renew()
    send_all()  # nothing new
    statuses = repository.statuses[sha]
    assert summaries(statuses) == [
        ("pending", "fabrikam/network/azurerm 1.0.0 is being checked"),
        ("succeeded", "fabrikam/network/azurerm 1.0.0 is published"),
    ]
    assert {str(one.context) for one in statuses} == {f"stackhook/{NAME}"}
    assert statuses[0].target_url.endswith(check.get_absolute_url())


def test_a_status_says_what_failed(module: Module, repository: Repository) -> None:
    sha = repository.sha("main")
    version = waiting(module, sha)
    end(claimed(), BROKEN, PUBLICATION, "")
    send_all()
    assert summaries(repository.statuses[sha]) == [
        (
            "failed",
            "fabrikam/network/azurerm 1.0.0 failed its check. Validation: Unsupported argument",
        )
    ]
    assert state(version) == VersionState.REFUSED


def test_a_status_says_what_was_left_out(module: Module, repository: Repository) -> None:
    sha = repository.sha("main")
    waiting(module, sha)
    end(claimed(), [Result("Tests", Outcome.SKIPPED, "They apply.")], PUBLICATION, "")
    send_all()
    assert summaries(repository.statuses[sha]) == [
        ("succeeded", "fabrikam/network/azurerm 1.0.0 is published, without Tests")
    ]


@pytest.mark.parametrize("reports_all_at_once", [False, True])
def test_a_pull_request_shows_the_check_of_what_it_proposes(
    module: Module, repository: Repository, reports_all_at_once: bool
) -> None:
    Integration.objects.update(reports_all_stacks_at_once=reports_all_at_once)
    one = proposed(module, repository)
    ask(module, one.source_sha)
    report_revision(module, one, 1, one.source_sha)
    send_all()
    end(claimed(), [], None, "")
    send_all()
    statuses = repository.pull_request(one.number).statuses
    assert summaries(statuses) == [
        ("pending", "fabrikam/network/azurerm waits to be checked"),
        ("succeeded", "fabrikam/network/azurerm passed its check"),
    ]
    assert {(str(each.context), each.iteration_id) for each in statuses} == {
        (f"stackhook/{NAME}", 1)
    }
    assert not Report.objects.filter(what=What.COMMIT_STATUS).exists()


def test_a_revision_that_is_decided_is_checked_and_shown(
    module: Module, repository: Repository
) -> None:
    one = proposed(module, repository)
    followed = module_registry().follow(module.integration, module.repository.external_id)
    assert followed
    followed.decide_pull_request(one, 1, one.source_sha, None, None)
    end(claimed(), [], None, "")
    send_all()
    posted = {str(each.context) for each in repository.pull_request(one.number).statuses}
    assert posted == {f"stackhook/{NAME}", "stackhook/impact.fabrikam.network.azurerm"}


def test_a_module_that_is_deleted_leaves_no_pending_status(
    module: Module, repository: Repository
) -> None:
    sha = repository.sha("main")
    waiting(module, sha)
    claimed()
    send_all()
    module.delete()
    send_all()
    assert summaries(repository.statuses[sha])[-1] == ("notApplicable", "The module was deleted")


def test_modules_of_one_repository_have_statuses_of_their_own(
    module: Module, repository: Repository
) -> None:
    sha = repository.sha("main")
    other = Module.objects.create(
        repository=module.repository, namespace="fabrikam", name="dns", system="aws", branch="main"
    )
    waiting(module, sha)
    waiting(other, sha)
    end(claimed(), BROKEN, PUBLICATION, "")
    end(claimed(), [], PUBLICATION, "")
    send_all()
    assert {str(one.context): one.state for one in repository.statuses[sha]} == {
        f"stackhook/{NAME}": "failed",
        "stackhook/module-fabrikam.dns.aws": "succeeded",
    }
    assert {one.state for one in Check.objects.all()} == {CheckState.PASSED, CheckState.FAILED}
