"""Find out what a token may do, without leaving traces.

Two things decide about a call: the scopes of the token and the permissions of its owner. A
scope shows in calls that can change nothing, since what they are about does not exist: 401
without it. Permissions are asked for by their bits ("Security namespace and permission
reference"), which not every token may. If that is refused, the same calls show it: 403 without the
permission, 404 with it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from vcs_integrations.providers.azure_devops import diagnosis
from vcs_integrations.providers.base import (
    Finding,
    Hook,
    Judgment,
    Problem,
    ProjectInUse,
    ProviderError,
    RemoteComment,
    RemoteSubscription,
    Right,
    Status,
    StatusReport,
)

GIT = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"
SERVICE_HOOKS = "cb594ebe-87dd-4fc9-ac2c-6a10a4c92046"
# About 90 characters each; an address of 2,000 goes through every proxy.
TOKENS_PER_CALL = 20
NAMES_SHOWN = 3

BY_PERMISSIONS = "permissions API"
NOT_READABLE = "TF401019"  # the code of a repository that is missing or may not be read
# What is answered only to a token that has the scope.
PAST_THE_SCOPES = {Problem.NOT_FOUND, Problem.PERMISSION_DENIED, Problem.REFUSED}
NO_COMMIT = "0" * 40
NO_PULL_REQUEST = 2**31 - 1
NO_REPORT = StatusReport("stackhook", "checkup", Status.SUCCEEDED, "", "")
T = TypeVar("T")


class Calls(Protocol):
    """The calls of the client that a checkup makes; each raises ProviderError."""

    def has_permissions(self, namespace: str, bits: int, tokens: Sequence[str]) -> list[bool]: ...

    def create_commit_status(self, repository_id: str, sha: str, report: StatusReport) -> None: ...

    def create_pull_request_status(
        self, repository_id: str, number: int, revision: int, report: StatusReport
    ) -> None: ...

    def create_thread(self, repository_id: str, number: int, content: str) -> RemoteComment: ...

    def subscriptions(self) -> list[RemoteSubscription]: ...

    def create_subscription(self, hook: Hook) -> str: ...


@dataclass(frozen=True)
class Permission:
    """A permission: its bit in its namespace, and what Azure DevOps' pages call it."""

    bit: int
    name: str


READ = Permission(2, "Read")
CONTRIBUTE = Permission(4, "Contribute")
CONTRIBUTE_TO_PULL_REQUESTS = Permission(16384, "Contribute to pull requests")
OF_CODE = (READ, CONTRIBUTE, CONTRIBUTE_TO_PULL_REQUESTS)


@dataclass(frozen=True)
class Write:
    """What writing needs: one of some scopes, a permission, and a call that changes nothing."""

    scopes: str
    permission: Permission
    attempt: Callable[[Calls, str], object]


WRITES = {
    Right.WRITE_COMMIT_STATUSES: Write(
        "Code: Status or Code: Read & write",
        CONTRIBUTE,
        lambda calls, repository: calls.create_commit_status(repository, NO_COMMIT, NO_REPORT),
    ),
    Right.WRITE_PULL_REQUEST_STATUSES: Write(
        "Code: Status or Code: Read & write",
        CONTRIBUTE_TO_PULL_REQUESTS,
        lambda calls, repository: calls.create_pull_request_status(
            repository, NO_PULL_REQUEST, 1, NO_REPORT
        ),
    ),
    Right.COMMENT: Write(
        "PR threads or Code: Read & write",
        CONTRIBUTE_TO_PULL_REQUESTS,
        lambda calls, repository: calls.create_thread(repository, NO_PULL_REQUEST, "-"),
    ),
}
HOOK_PERMISSIONS = {
    Right.SEE_HOOKS: Permission(1, "View subscriptions"),
    Right.CREATE_HOOKS: Permission(2, "Edit subscriptions"),
    Right.REMOVE_HOOKS: Permission(4, "Delete subscriptions"),
}


def findings(calls: Calls, projects: Sequence[ProjectInUse]) -> list[Finding]:
    """Return what the token may do in projects, right by right. Raises nothing."""
    asking = _Asking(calls)
    return [*_of_code(asking, projects), *_of_hooks(asking, projects)]


class _Asking:
    """Makes calls until one fails for a passing reason: the others would only wait as long."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._failure: ProviderError | None = None

    def ask(self, call: Callable[[Calls], T]) -> T:
        """Return what a call returns. Raises ProviderError."""
        if self._failure:
            raise self._failure
        try:
            return call(self._calls)
        except ProviderError as error:
            if error.is_transient:
                self._failure = error
            raise

    def refusal(self, call: Callable[[Calls], object]) -> ProviderError | None:
        """Return how a call is refused, None if it is not."""
        try:
            self.ask(call)
        except ProviderError as error:
            return error
        return None


@dataclass(frozen=True)
class _Held:
    """The bits that are held, by security token, and why those of other tokens are not known."""

    bits: Mapping[str, frozenset[int]]
    failure: ProviderError | None = None


def _held(
    asking: _Asking, namespace: str, permissions: Iterable[Permission], tokens: Sequence[str]
) -> _Held:
    bits = [permission.bit for permission in permissions]
    known: dict[str, frozenset[int]] = {}
    try:
        for start in range(0, len(tokens), TOKENS_PER_CALL):
            some = tokens[start : start + TOKENS_PER_CALL]
            known |= _bits_of(asking, namespace, bits, some)
    except ProviderError as error:
        return _Held(known, error)
    return _Held(known)


def _bits_of(
    asking: _Asking, namespace: str, bits: Sequence[int], tokens: Sequence[str]
) -> dict[str, frozenset[int]]:
    """Ask for all bits in one call, and bit by bit about the tokens that lack one."""

    def having(mask: int, some: Sequence[str]) -> set[str]:
        answers = asking.ask(lambda calls: calls.has_permissions(namespace, mask, some))
        return {token for token, has in zip(some, answers, strict=True) if has}

    with_all = having(sum(bits), tokens)
    others = [token for token in tokens if token not in with_all]
    by_bit = {bit: having(bit, others) for bit in bits} if others else {}
    lacking = {
        token: frozenset(bit for bit, some in by_bit.items() if token in some) for token in others
    }
    return lacking | dict.fromkeys(with_all, frozenset(bits))


# Code


def _of_code(asking: _Asking, projects: Sequence[ProjectInUse]) -> list[Finding]:
    tokens = [
        _repository_token(project, repository)
        for project in projects
        for repository in (*project.repositories, *project.unlisted)
    ]
    held = _held(asking, GIT, OF_CODE, tokens)
    found = [one for project in projects if (one := _reading(project, held))]
    for right in WRITES:
        found += _Writing(asking, held, right).findings(projects)
    return found


def _repository_token(project: ProjectInUse, repository: str) -> str:
    return f"repoV2/{project.external_id}/{repository}"


def _reading(project: ProjectInUse, held: _Held) -> Finding | None:
    """Judge by the list: what the owner may read and is missing from it no longer exists."""
    everything = {**project.repositories, **project.unlisted}
    bits = {one: held.bits.get(_repository_token(project, one)) for one in everything}
    lacking = [one for one, some in bits.items() if some is not None and READ.bit not in some]
    if lacking:
        names = [everything[one] for one in lacking]
        return _lacks_on_repositories(Right.READ_CODE, project, READ, names, BY_PERMISSIONS)
    unknown = [name for one, name in project.unlisted.items() if bits[one] is None]
    if unknown:
        return Finding(
            Right.READ_CODE,
            Judgment.UNKNOWN,
            project.name,
            f"The token does not see {_names(unknown)}: deleted, or its owner lacks Read.",
            "If it is still there, allow them Read: Project settings → Repositories → Security.",
            "not in the list of repositories",
        )
    if not project.repositories:
        return None
    return Finding(Right.READ_CODE, Judgment.OK, project.name)


class _Writing:
    """One right to write, and how calls that change nothing are refused, by repository."""

    def __init__(self, asking: _Asking, held: _Held, right: Right) -> None:
        self._asking = asking
        self._held = held
        self._right = right
        self._write = WRITES[right]
        self._refusals: dict[str, ProviderError | None] = {}

    def findings(self, projects: Sequence[ProjectInUse]) -> list[Finding]:
        """Try in one repository, which shows the scope; then judge project by project."""
        written = [project for project in projects if project.repositories]
        if not written:
            return []
        first = self._refusal(next(iter(written[0].repositories)))
        if first and first.problem == Problem.TOKEN_REFUSED:
            return [_lacks_scope(self._right, self._write.scopes, first)]
        is_shown = first is None or first.problem in PAST_THE_SCOPES
        return [self._finding(project, None if is_shown else first) for project in written]

    def _finding(self, project: ProjectInUse, obstacle: ProviderError | None) -> Finding:
        """Judge a project; `obstacle` is why it is not known whether the token has the scope."""
        lacking: dict[str, str] = {}
        for repository, name in project.repositories.items():
            verdict, refusal = self._judge(project, repository)
            if verdict == Judgment.MISSING:
                lacking[name] = refusal.evidence if refusal else BY_PERMISSIONS
            elif verdict == Judgment.UNKNOWN:
                obstacle = obstacle or refusal
        if lacking:
            permission, evidence = self._write.permission, next(iter(lacking.values()))
            return _lacks_on_repositories(self._right, project, permission, [*lacking], evidence)
        if obstacle:
            return _unknown(self._right, project, obstacle)
        return Finding(self._right, Judgment.OK, project.name)

    def _judge(
        self, project: ProjectInUse, repository: str
    ) -> tuple[Judgment, ProviderError | None]:
        """Judge a repository, by what the permissions say or else by a refusal, which is returned.

        A call refused for lack of a permission decides, whatever the permissions say.
        """
        bits = self._held.bits.get(_repository_token(project, repository))
        if bits is None or repository in self._refusals:
            refusal = self._refusal(repository)
            if refusal and refusal.problem == Problem.PERMISSION_DENIED:
                return Judgment.MISSING, refusal
            if bits is None:
                return (Judgment.OK if _is_for_writers(refusal) else Judgment.UNKNOWN), refusal
        return (Judgment.OK if self._write.permission.bit in bits else Judgment.MISSING), None

    def _refusal(self, repository: str) -> ProviderError | None:
        if repository not in self._refusals:
            self._refusals[repository] = self._asking.refusal(
                lambda calls: self._write.attempt(calls, repository)
            )
        return self._refusals[repository]


def _is_for_writers(refusal: ProviderError | None) -> bool:
    """Say whether this answer allows writing: what is written about does not exist."""
    return refusal is None or (
        refusal.problem == Problem.NOT_FOUND and NOT_READABLE not in refusal.evidence
    )


def _lacks_on_repositories(
    right: Right,
    project: ProjectInUse,
    permission: Permission,
    repositories: Sequence[str],
    evidence: str,
) -> Finding:
    return Finding(
        right,
        Judgment.MISSING,
        project.name,
        f"The token's owner lacks {permission.name} on {_names(repositories)}.",
        f"Allow them {permission.name}: Project settings → Repositories → Security. Or use the "
        "token of somebody who has it.",
        evidence,
    )


def _names(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


# Service hooks


def _of_hooks(asking: _Asking, projects: Sequence[ProjectInUse]) -> list[Finding]:
    """Judge by the permissions, else by the listed hooks and by a call that changes nothing."""
    if not projects:
        return []
    tokens = [_hooks_token(project) for project in projects]
    held = _held(asking, SERVICE_HOOKS, HOOK_PERMISSIONS.values(), tokens)
    listed: set[str] = set()
    obstacle = None
    try:
        listed = {hook.project_id for hook in asking.ask(lambda calls: calls.subscriptions())}
    except ProviderError as error:
        if error.problem == Problem.TOKEN_REFUSED:
            return [_lacks_scope(right, "Code: Read", error) for right in HOOK_PERMISSIONS]
        obstacle = error
    found = []
    for right in HOOK_PERMISSIONS:
        for project in projects:
            bits = held.bits.get(_hooks_token(project))
            if bits is not None:
                found.append(_of_hook_permission(right, project, bits, obstacle))
            else:
                sees = project.external_id in listed
                found.append(_of_hook_attempt(asking, right, project, sees, held.failure))
    return found


def _hooks_token(project: ProjectInUse) -> str:
    return f"PublisherSecurity/{project.external_id}"


def _of_hook_permission(
    right: Right, project: ProjectInUse, bits: frozenset[int], obstacle: ProviderError | None
) -> Finding:
    if HOOK_PERMISSIONS[right].bit not in bits:
        return _lacks_on_hooks(right, project, BY_PERMISSIONS)
    if obstacle:
        return _unknown(right, project, obstacle)
    return Finding(right, Judgment.OK, project.name)


def _of_hook_attempt(
    asking: _Asking,
    right: Right,
    project: ProjectInUse,
    sees: bool,
    failure: ProviderError | None,
) -> Finding:
    if right == Right.SEE_HOOKS and sees:
        return Finding(right, Judgment.OK, project.name)
    if right == Right.CREATE_HOOKS:
        # One without an address is refused to everybody.
        hook = Hook("git.push", project.external_id, url="", username="", password="")
        refusal = asking.refusal(lambda calls: calls.create_subscription(hook))
        if refusal and refusal.problem == Problem.PERMISSION_DENIED:
            return _lacks_on_hooks(right, project, refusal.evidence)
    return _unknown(right, project, failure)


def _lacks_on_hooks(right: Right, project: ProjectInUse, evidence: str) -> Finding:
    return Finding(
        right,
        Judgment.MISSING,
        project.name,
        f"The token's owner lacks {HOOK_PERMISSIONS[right].name}.",
        diagnosis.HOOK_ADMINS,
        evidence,
    )


# Both


def _lacks_scope(right: Right, scopes: str, refusal: ProviderError) -> Finding:
    return Finding(
        right,
        Judgment.MISSING,
        "",
        f"The token lacks the scope {scopes}.",
        "Edit the token in Azure DevOps (User settings → Personal access tokens) and give it "
        "the scope Code: Read & write, which is enough for Stackhook.",
        refusal.evidence,
    )


def _unknown(right: Right, project: ProjectInUse, error: ProviderError | None) -> Finding:
    """Return that it is not known, because of an error if a call ended in one."""
    cause = "Azure DevOps doesn't show this token what its owner may do."
    fix = "If the right is missing, it shows when it is first needed."
    if error and error.problem == Problem.TIMEOUT:
        cause, fix = "There was no time left to check it.", "Test again."
    elif error and error.is_transient:
        cause, fix = error.cause, error.fix
    evidence = error.evidence if error else ""
    return Finding(right, Judgment.UNKNOWN, project.name, cause, fix, evidence)
