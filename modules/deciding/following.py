"""The modules of a repository: what its pushes and pull requests mean for each of them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import BigIntegerField, CharField

from core.prepared import Given, Prepared
from modules.deciding import pull_requests, tag_decisions, tags, version_files
from modules.deciding.checking import check_once
from modules.deciding.recording import Ledger
from modules.deciding.tags import Seen, tag_name
from modules.models import Module, ModuleVersion, VersionsFrom
from modules.rules.decisions import LEFT_OUT, Decided, Rule
from stacks.models import PullRequest
from stacks.module_registry import Facts, PushedRef, Verdict
from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.providers.events import RefChanged


@dataclass(frozen=True)
class Listeners:
    """What is told of pull requests; a revision comes with its commit.

    `proposed` of one whose code may be executed, `left_out` of one that is not checked, by which
    rule, and `ended` of a pull request that proposes nothing to any module, perhaps not any more.
    """

    proposed: Callable[[Module, PullRequest, int, str], object]
    left_out: Callable[[Module, PullRequest, int, str, Rule], object]
    ended: Callable[[PullRequest], object]


_any_module = Prepared(
    lambda: (
        Module.objects.filter(
            repository__integration_id=Given("integration", BigIntegerField()),
            repository__external_id=Given("repository", CharField()),
        )
        .order_by()
        .values_list("pk")[:1]
    )
)


def follow(integration: Integration, repository_id: str, listeners: Listeners) -> "Followed | None":
    """Return the modules of a repository; None, by one query, where there is none."""
    if not _any_module.rows(integration=integration.pk, repository=repository_id):
        return None  # mostly, and building the query below takes a while
    found = Module.objects.with_repository().filter(
        repository__integration=integration, repository__external_id=repository_id
    )
    modules = list(found.order_by("pk"))
    for one in modules:  # one instance, and so one client
        one.repository = modules[0].repository
        one.repository.integration = integration
    return Followed(modules, listeners) if modules else None


@dataclass(frozen=True)
class Followed:
    """The modules of one repository: a `stacks.module_registry.Following`."""

    modules: Sequence[Module]
    listeners: Listeners

    @property
    def repository(self) -> Repository:
        return self.modules[0].repository

    @property
    def since(self) -> datetime:
        return min(one.followed_at for one in self.modules)

    @property
    def branches(self) -> set[str]:
        return {one.branch for one in self.modules}

    def read_pushes(self, changes: Sequence[RefChanged], facts: Facts) -> None:
        tags.read(self.repository, tags.prefixes(self.modules), changes, facts)
        for change in changes:
            if with_file := self._with_file(change):
                version_files.read(with_file, change, facts)

    def decide_pushes(self, pushed: Sequence[PushedRef]) -> list[list[Verdict]]:
        ledger = Ledger(self.modules, {subject_of(one.change) for one in pushed})
        verdicts: list[list[Verdict]] = [[] for _ in pushed]
        in_order = sorted(enumerate(pushed), key=lambda one: one[1].change.position)
        for number, one in in_order:
            verdicts[number] += self._decide(one, ledger)
        ledger.save()
        return verdicts

    def decide_pull_request(
        self,
        pull_request: PullRequest,
        revision: int,
        sha: str,
        paths: Collection[str] | None,
        delivery: Delivery | None,
    ) -> list[Verdict]:
        subject = pull_requests.subject_of(pull_request, revision)
        ledger = Ledger(self.modules, [subject])
        found: list[Verdict | None] = []
        is_proposed = False
        for module in self.modules:
            decided = pull_requests.decide(module, pull_request, sha, paths)
            if decided.rule == Rule.PROPOSED:
                is_proposed = True
                check_once(module, sha)
                # Also where it was proposed before: it may be open again.
                self.listeners.proposed(module, pull_request, revision, sha)
            elif decided.rule in LEFT_OUT:
                self.listeners.left_out(module, pull_request, revision, sha, decided.rule)
            if ledger.has_decided(module, subject):
                found.append(ledger.repeat(module, subject, delivery))
            else:
                found.append(ledger.add(module, subject, decided, delivery))
        if not is_proposed:
            self.listeners.ended(pull_request)
        ledger.save()
        return [one for one in found if one]

    def _decide(self, pushed: PushedRef, ledger: Ledger) -> list[Verdict]:
        """Decide what a push means for each module; for those that it is decided for, repeat it."""
        change, subject = pushed.change, subject_of(pushed.change)
        decided_for = [one for one in self.modules if ledger.has_decided(one, subject)]
        found = [ledger.repeat(one, subject, pushed.delivery) for one in decided_for]
        undecided = [one for one in self.modules if one not in decided_for]
        name = tag_name(change)
        seen = Seen.KNOWN
        if undecided and tags.is_version_of(tags.prefixes(self.modules), name):
            seen = tags.note(self.repository, change, pushed.facts)
        for module in undecided:
            if name:
                decided, version = tag_decisions.decide(module, name, seen)
            else:
                decided, version = self._decide_branch(module, change, pushed.facts)
            position = change.position
            found.append(ledger.add(module, subject, decided, pushed.delivery, version, position))
            if decided.rule == Rule.UNREADABLE:
                Module.objects.filter(pk=module.pk).read_soon()
        return [one for one in found if one]

    def _decide_branch(
        self, module: Module, change: RefChanged, facts: Facts
    ) -> tuple[Decided, ModuleVersion | None]:
        if change.branch != module.branch:
            return Decided(Rule.OTHER_BRANCH, f"The module tracks {module.branch}."), None
        if module.versions_from == VersionsFrom.TAGS:
            sentence = "Its versions come from tags: push one like v1.2.3 to publish a version."
            return Decided(Rule.FROM_TAGS, sentence), None
        if change.pushed_at and change.pushed_at < module.followed_at:
            return Decided(Rule.BEFORE_MODULE, "It was pushed before there was the module."), None
        return version_files.decide(self._with_file(change), module, change, facts)

    def _with_file(self, change: RefChanged) -> list[Module]:
        """Return the modules whose version is in a file of the branch that a push changed."""
        return [
            one
            for one in self.modules
            if one.versions_from == VersionsFrom.FILE and one.branch == change.branch
        ]


def subject_of(change: RefChanged) -> str:
    """Return how decisions name a push."""
    name = tag_name(change)
    what = f"tag {name}" if name else change.branch or change.ref
    return f"Push {change.position} to {what}"[:700]
