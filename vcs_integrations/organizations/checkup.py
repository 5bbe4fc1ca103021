"""Check what a token may do in the projects where it is used."""

import time
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

from django.utils import timezone

from vcs_integrations.models import Checkup, Integration, Repository
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import (
    INTERACTIVE,
    CallLimits,
    Client,
    Finding,
    Judgment,
    ProjectInUse,
    ProviderError,
    Right,
)

PROJECTS_EXAMINED = 10
RIGHT_TEXTS = {
    Right.READ_CODE: "Read code",
    Right.WRITE_COMMIT_STATUSES: "Write commit statuses",
    Right.WRITE_PULL_REQUEST_STATUSES: "Write pull request statuses",
    Right.COMMENT: "Comment on pull requests",
    Right.SEE_HOOKS: "See service hooks",
    Right.CREATE_HOOKS: "Create service hooks",
    Right.REMOVE_HOOKS: "Remove service hooks",
}


@dataclass(frozen=True)
class FindingOfProjects:
    """One finding in several projects; without projects it holds for all of them."""

    finding: Finding
    projects: list[str]

    @property
    def right_text(self) -> str:
        return RIGHT_TEXTS[self.finding.right]


@dataclass(frozen=True)
class Cell:
    """What was found of a right in a project; no verdict where it was not checked."""

    right_text: str
    verdict: Judgment | None


@dataclass(frozen=True)
class Matrix:
    """What was found of each right in each project that is in use now.

    `problems` are the findings of what does not work, what is missing first. `left_out` is the
    number of projects that are too many to be shown.
    """

    right_texts: list[str]
    rows: list[tuple[str, list[Cell]]]
    problems: list[FindingOfProjects]
    has_unchecked: bool
    left_out: int


def test(integration: Integration) -> ProviderError | None:
    """Refresh the organization, then check what the token may do there, while somebody waits.

    Returns why the organization could not be called, if so.
    """
    started = time.monotonic()
    failure = refresh(integration, INTERACTIVE)
    if failure:
        return failure
    present = Integration.objects.get(pk=integration.pk)
    if not present.is_linked:  # it joined its predecessor just now
        return None
    try:
        client = present.client(INTERACTIVE.rest(started))
    except ProviderError as error:
        return error
    keep(present, examine(present, client))
    return None


def examine(
    integration: Integration, client: Client, listed: Container[str] | None = None
) -> list[Finding]:
    """Check what a token may do where this integration uses it.

    `listed` are the ids of the repositories that the token sees, if that is not the stored one.
    """
    return client.check_rights(_projects_in_use(integration, listed))


def keep(integration: Integration, findings: Sequence[Finding]) -> None:
    """Store what was just found about an integration's token."""
    Checkup.objects.update_or_create(
        integration=integration,
        defaults={
            "checked_at": timezone.now(),
            "stored_findings": [asdict(finding) for finding in findings],
        },
    )


def lost_rights(
    integration: Integration, findings: Sequence[Finding], limits: CallLimits
) -> list[Finding]:
    """Return what a new token can't do, of its findings, that the present token can."""
    lacking = [one for one in findings if _is_lacking(one)]
    if not lacking:
        return []
    could = [one for one in _of_present_token(integration, limits) if one.verdict == Judgment.OK]
    places = {(one.right, one.project) for one in could}
    rights = {one.right for one in could}
    return [
        one
        for one in lacking
        if (one.right, one.project) in places or (not one.project and one.right in rights)
    ]


def in_words(finding: Finding) -> str:
    """Return which right a finding is about, and where."""
    text = RIGHT_TEXTS[finding.right].lower()
    return f"{text} in {finding.project}" if finding.project else text


def matrix_of(findings: Sequence[Finding], in_use: Sequence[str]) -> Matrix:
    """Return findings by the projects that are in use, by name; if none is, by those checked."""
    verdicts = {(one.right, one.project): one.verdict for one in findings}
    checked = {one.project for one in findings if one.project}
    names = sorted(in_use or checked, key=lambda name: (name not in checked, name.casefold()))
    shown = names[:PROJECTS_EXAMINED] or ["All projects"]
    rights = [right for right in RIGHT_TEXTS if any(one.right == right for one in findings)]
    rows = [
        (
            name,
            [
                Cell(RIGHT_TEXTS[one], verdicts.get((one, name), verdicts.get((one, ""))))
                for one in rights
            ],
        )
        for name in shown
    ]
    return Matrix(
        right_texts=[RIGHT_TEXTS[right] for right in rights],
        rows=rows,
        problems=_problems([one for one in findings if one.project in {"", *shown}]),
        has_unchecked=any(cell.verdict is None for _, cells in rows for cell in cells),
        left_out=len(names) - len(names[:PROJECTS_EXAMINED]),
    )


def _problems(findings: Sequence[Finding]) -> list[FindingOfProjects]:
    """Return what does not work, alike findings of several projects as one, missing ones first."""
    projects: dict[Finding, list[str]] = defaultdict(list)
    for one in findings:
        if one.verdict != Judgment.OK:
            projects[replace(one, project="")] += [one.project] if one.project else []
    alike = [FindingOfProjects(one, names) for one, names in projects.items()]
    return sorted(alike, key=lambda one: one.finding.verdict != Judgment.MISSING)


def _is_lacking(finding: Finding) -> bool:
    """Say whether something does not work.

    A repository that is not listed was deleted or may not be read: where the present token
    reads it, it is there.
    """
    unread = finding.right == Right.READ_CODE and finding.verdict == Judgment.UNKNOWN
    return finding.verdict == Judgment.MISSING or unread


def _of_present_token(integration: Integration, limits: CallLimits) -> list[Finding]:
    """Return what the present token may do: now, or as it was known while it worked."""
    try:
        client = integration.client(limits)
        listed = {repository.external_id for repository in client.connect().repositories}
    except ProviderError:
        before = Checkup.objects.filter(integration=integration).first()
        return before.findings if before else []
    return examine(integration, client, listed)


def _projects_in_use(integration: Integration, listed: Container[str] | None) -> list[ProjectInUse]:
    """Return the projects whose repositories stacks use, then those that have hooks, by name.

    Where stacks use no repository of a project, one of it serves as an example; where they use
    none at all and there are no hooks, any one. Of too many it returns the first.
    """
    enabled = integration.repositories.filter(is_disabled=False)
    names = dict(integration.projects.values_list("external_id", "name"))

    def is_listed(repository: Repository) -> bool:
        is_there = repository.gone_at is None
        return is_there if listed is None else repository.external_id in listed

    used: dict[str, list[Repository]] = defaultdict(list)
    for repository in enabled.in_use():
        used[repository.project_id].append(repository)
    with_hooks = names.keys() & _projects_with_hooks(integration)
    in_use = sorted(
        used.keys() | with_hooks, key=lambda one: (one not in used, names.get(one, one))
    )
    chosen = {one: used.get(one, []) for one in in_use[:PROJECTS_EXAMINED]}
    for project_id in chosen.keys() - used.keys():
        of_project = filter(is_listed, enabled.filter(project_id=project_id).iterator())
        chosen[project_id] = list(islice(of_project, 1))
    if not chosen:
        example = next(filter(is_listed, enabled.iterator()), None)
        chosen = {example.project_id: [example]} if example else {}
    return [
        ProjectInUse(
            project_id,
            names.get(project_id, project_id),
            {one.external_id: one.name for one in repositories if is_listed(one)},
            {one.external_id: one.name for one in repositories if not is_listed(one)},
        )
        for project_id, repositories in chosen.items()
    ]


def _projects_with_hooks(integration: Integration) -> set[str]:
    """Return the ids of projects that have hooks, or whose hooks Stackhook makes."""
    present = integration.subscriptions.present().values_list("project_id", flat=True)
    return {*present, *integration.projects.kept().values_list("external_id", flat=True)}
