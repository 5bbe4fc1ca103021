"""HTTP to Azure DevOps, one method for each REST call."""

import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from urllib3.util.retry import Retry

from core import bounded_json
from vcs_integrations.providers.azure_devops import (
    checkup,
    deadlines,
    diagnosis,
    service_hooks,
    shapes,
    versions,
)
from vcs_integrations.providers.azure_devops.dates import read_date
from vcs_integrations.providers.azure_devops.organization_url import leads_elsewhere, own_server
from vcs_integrations.providers.azure_devops.shapes import Json, child, line, text
from vcs_integrations.providers.base import (
    CallLimits,
    ChangeSet,
    Connection,
    Finding,
    Hook,
    Problem,
    ProjectInUse,
    ProviderError,
    RemoteBranch,
    RemoteChange,
    RemoteComment,
    RemoteNotification,
    RemoteRepository,
    RemoteStatus,
    RemoteSubscription,
    RemoteTag,
    Status,
    StatusReport,
)
from vcs_integrations.providers.events import (
    TAGS,
    PullRequestFacts,
    Push,
    RefChanged,
    RemoteCommit,
    Revision,
)

# A list of 10,000 repositories has about 6 MB.
ANSWER_LIMIT = 64 * 2**20
# A file of a list has seven values in 400 bytes.
MOST_PARTS = 1_500_000
# Of all pages of a list together; a pull request or diff of this size is none that people read.
MOST_LISTED = 300_000
# The resource area that every organization has.
CORE_AREA = "79134c72-4a58-4b42-976c-04e7115f32bf"
REFS_PER_PAGE = 1000
CHANGES_PER_PAGE = 2000
LONGEST_REST = 60  # seconds; what has to wait longer is better done later
PER_PAGE = 100
STATUSES_READ = 1000
MAY_BE_ABOUT_THE_COMMENT = {
    Problem.REFUSED,
    Problem.PERMISSION_DENIED,
    Problem.NOT_THE_AUTHOR,
}
STATUS_WORDS = {
    Status.PENDING: "pending",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.ERROR: "error",
    Status.NOT_APPLICABLE: "notApplicable",
}


# When an organization may be called again, by time.monotonic(): a pause holds for all clients of
# this process.
resume_times: dict[str, float] = {}
# The version of the REST API that an organization was found to speak, for the whole process.
spoken_versions: dict[str, str] = {}


class _Session(requests.Session):
    """A session that treats no answer as a redirect.

    Even with `allow_redirects=False` requests reads a redirect's whole body and its target.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class AzureDevOpsClient:
    """Calls to one organization with one token.

    Redirects are never followed and the token goes to the organization's host only.
    Every method raises ProviderError and nothing else.
    """

    def __init__(self, organization_url: str, token: str, limits: CallLimits) -> None:
        self._base = organization_url
        self._token = token
        self._host = urlsplit(organization_url).netloc
        self._limits = limits
        self._ends_at = time.monotonic() + limits.seconds_in_all
        self._session = _Session()
        # `auth` and not a header of our own: a .netrc entry would replace the header.
        self._session.auth = ("", token)
        self._session.headers["Accept"] = "application/json"
        self._session.headers["X-TFS-FedAuthRedirect"] = "Suppress"
        repeats = Retry(
            total=limits.retries,
            redirect=0,
            allowed_methods=["GET"],
            status_forcelist=[408, 500, 502, 503, 504],
            backoff_factor=0.5,
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        self._session.mount("https://", deadlines.DeadlineAdapter(max_retries=repeats))
        self._session.mount("http://", deadlines.DeadlineAdapter(max_retries=repeats))

    def connect(self) -> Connection:
        """Prove address and token with the one call that needs nothing but Code: Read."""
        try:
            repositories = self._first_look()
        except ProviderError as error:
            if error.problem not in {Problem.TOKEN_REFUSED, Problem.PERMISSION_DENIED}:
                raise
            if self._knows_the_token():
                raise diagnosis.lacks_code_access(error) from error
            raise
        about = self._connection_data()
        return Connection(
            organization_id=text(about, "instanceId").lower()[:100],
            repositories=repositories,
            owner=line(child(about, "authenticatedUser"), "providerDisplayName", 255),
        )

    def present_url(self, organization_id: str) -> str:
        """Return the present address of an organization, "" if it is unknown.

        Azure DevOps documentation, "Work with URLs in extensions and integrations": an
        organization's address is found by its id.
        """
        server = own_server(self._base) or "https://dev.azure.com"
        host = AzureDevOpsClient(server, self._token, self._limits)
        params = {"hostId": organization_id, "api-version": "5.0-preview.1"}
        try:
            answer, _ = host._get(f"_apis/resourceAreas/{CORE_AREA}", params)
        except ProviderError:
            return ""
        return text(answer, "locationUrl")

    def repositories(self) -> list[RemoteRepository]:
        """Return all repositories of all projects ("Repositories - List")."""
        answer = self._get("_apis/git/repositories", {})
        found = [_repository(item) for item in self._values(answer)]
        return [one for one in found if _has_plain_names(one)]

    def repository(self, repository_id: str) -> RemoteRepository:
        """Return one repository ("Repositories - Get"); a disabled one is not found."""
        answer, _ = self._get(f"_apis/git/repositories/{quote(repository_id, safe='')}", {})
        found = _repository(answer)
        is_named = found.name and found.project_name and _has_plain_names(found)
        if found.external_id != repository_id or not is_named:
            raise diagnosis.not_azure_devops(self._host, "the repository is missing")
        return found

    def branches(self, repository_id: str) -> list[RemoteBranch]:
        """Return all branches, page by page ("Refs - List")."""
        return list(self._branches(repository_id, ""))

    def branch(self, repository_id: str, name: str) -> RemoteBranch | None:
        """Return one branch; the filter of "Refs - List" also finds those it is a prefix of."""
        found = self._branches(repository_id, name)
        return next((branch for branch in found if branch.name == name), None)

    def tags(self, repository_id: str) -> list[RemoteTag]:
        """Return all tags, page by page ("Refs - List")."""
        return list(self._tags(repository_id, ""))

    def tag(self, repository_id: str, name: str) -> RemoteTag | None:
        """Return one tag; the filter of "Refs - List" also finds those it is a prefix of."""
        found = self._tags(repository_id, name)
        return next((tag for tag in found if tag.name == name), None)

    def tag_text(self, repository_id: str, sha: str) -> str:
        """Return the text of an annotated tag ("Annotated Tags - Get").

        Unlike the other calls it is a preview, and names the project, too.
        """
        project = quote(self.repository(repository_id).project_id, safe="")
        path = _git(repository_id, f"annotatedtags/{quote(sha, safe='')}")
        answer, _ = self._get(f"{project}/{path}", {}, is_preview=True)
        return text(answer, "message")

    def commit(self, repository_id: str, sha: str) -> RemoteCommit:
        """Return one commit ("Commits - Get")."""
        commit, _ = self._get(_git(repository_id, f"commits/{quote(sha, safe='')}"), {})
        if not text(commit, "commitId"):
            raise diagnosis.not_azure_devops(self._host, "the commit that was asked for is missing")
        return shapes.commit(commit)

    def commits(self, repository_id: str, shas: Sequence[str]) -> list[RemoteCommit]:
        """Return several commits ("Commits - Get Commits Batch")."""
        answer = self._send("POST", _git(repository_id, "commitsbatch"), {"ids": [*shas]})
        return [shapes.commit(item) for item in self._list(answer, "value")]

    def files(self, repository_id: str, sha: str) -> list[str]:
        """Return the paths of all files of a commit, in one answer ("Items - List")."""
        params = {
            "scopePath": "/",
            "recursionLevel": "Full",
            "versionDescriptor.version": sha,
            "versionDescriptor.versionType": "commit",
        }
        return shapes.file_paths(self._values(self._get(_git(repository_id, "items"), params)))

    def file_text(self, repository_id: str, sha: str, path: str) -> str | None:
        """Return the text of a file ("Items - Get"), None where there is none."""
        params = {
            "path": f"/{path}",
            "includeContent": "true",
            "$format": "json",
            "versionDescriptor.version": sha,
            "versionDescriptor.versionType": "commit",
        }
        try:
            answer, _ = self._get(_git(repository_id, "items"), params)
        except ProviderError as error:
            if error.problem != Problem.NOT_FOUND:
                raise
            return None
        return text(answer, "content") if isinstance(answer.get("content"), str) else None

    def changes(
        self, repository_id: str, base: str, head: str, *, from_merge_base: bool
    ) -> ChangeSet:
        """Return all files that differ between two commits ("Diffs - Get")."""
        params = {
            "baseVersion": base,
            "baseVersionType": "commit",
            "targetVersion": head,
            "targetVersionType": "commit",
            "diffCommonCommit": str(from_merge_base).lower(),
            "$top": str(CHANGES_PER_PAGE),
        }
        found: list[Json] = []
        while True:
            answer, _ = self._get(_git(repository_id, "diffs/commits"), _skip(params, len(found)))
            page = self._list(answer, "changes")
            found += page
            self._refuse_endless(len(found))
            # Not every server cuts at the size that was asked for: an empty page is the end.
            if not page or answer.get("allChangesIncluded") is True:
                return ChangeSet(shapes.sha(answer, "commonCommit"), shapes.changes(found))

    def commits_behind(self, repository_id: str, base: str, head: str) -> int:
        """Return how many commits of `base` are not in `head` ("Diffs - Get")."""
        params = {
            "baseVersion": base,
            "baseVersionType": "commit",
            "targetVersion": head,
            "targetVersionType": "commit",
            "$top": "1",
        }
        answer, _ = self._get(_git(repository_id, "diffs/commits"), params)
        ahead, behind = answer.get("aheadCount"), answer.get("behindCount")
        if not isinstance(ahead, int) or not isinstance(behind, int) or min(ahead, behind) < 0:
            raise diagnosis.not_azure_devops(self._host, "the counts of commits are missing")
        return behind

    def push(self, repository_id: str, position: int) -> list[RefChanged]:
        """Return what one push changed ("Pushes - Get")."""
        params = {"includeRefUpdates": "true", "includeCommits": "10"}
        push, _ = self._get(_git(repository_id, f"pushes/{position}"), params)
        if shapes.positive_integer(push, "pushId") != position:
            raise diagnosis.not_azure_devops(self._host, "the push that was asked for is missing")
        return shapes.ref_changes(repository_id, push)

    def pushes_since(self, repository_id: str, position: int, *, ref: str = "") -> Iterator[Push]:
        """Yield pushes, the newest first ("Pushes - List")."""
        for item in self._numbered_pages(_git(repository_id, "pushes"), _of_ref(ref), PER_PAGE):
            push = shapes.push(repository_id, item)
            if push and push.position <= position:
                return
            if push:
                yield push

    def newest_push(self, repository_id: str, *, ref: str = "") -> Push | None:
        """Return the newest push ("Pushes - List")."""
        params = _of_ref(ref) | {"$top": "1"}
        found = self._values(self._get(_git(repository_id, "pushes"), params))
        return next((push for item in found if (push := shapes.push(repository_id, item))), None)

    def pull_request(self, repository_id: str, number: int) -> PullRequestFacts:
        """Return one pull request ("Pull Requests - Get Pull Request")."""
        answer, _ = self._get(_git(repository_id, f"pullrequests/{number}"), {})
        facts = shapes.pull_request(answer)
        if facts is None:
            raise diagnosis.not_azure_devops(self._host, "the pull request is missing")
        return facts

    def revisions(self, repository_id: str, number: int) -> list[Revision]:
        """Return a pull request's iterations ("Pull Request Iterations - List")."""
        answer = self._get(_git(repository_id, f"pullRequests/{number}/iterations"), {})
        found = [revision for item in self._values(answer) if (revision := _revision(item))]
        return sorted(found, key=lambda revision: revision.number)

    def revision_changes(
        self, repository_id: str, number: int, revision: int
    ) -> list[RemoteChange]:
        """Return what a pull request changes ("Pull Request Iteration Changes - Get")."""
        path = _git(repository_id, f"pullRequests/{number}/iterations/{revision}/changes")
        params = {"$top": str(CHANGES_PER_PAGE), "$compareTo": "0"}
        found: list[Json] = []
        skip: int | None = 0
        while skip is not None:
            answer, _ = self._get(path, _skip(params, skip))
            found += self._list(answer, "changeEntries")
            self._refuse_endless(len(found))
            skip = self._following(answer, skip)
        return shapes.changes(found)

    def pull_requests(self, repository_id: str, *, open_only: bool) -> Iterator[PullRequestFacts]:
        """Yield pull requests, the newest first ("Pull Requests - Get Pull Requests")."""
        status = "active" if open_only else "all"
        path, params = _git(repository_id, "pullrequests"), {"searchCriteria.status": status}
        for item in self._numbered_pages(path, params, PER_PAGE):
            if facts := shapes.pull_request(item):
                yield facts

    def create_commit_status(self, repository_id: str, sha: str, report: StatusReport) -> None:
        """Add a status to a commit ("Statuses - Create")."""
        self._send("POST", _statuses_of_commit(repository_id, sha), _status_body(report))

    def commit_statuses(self, repository_id: str, sha: str) -> list[StatusReport]:
        """Return the last status of each context ("Statuses - List")."""
        params = {"latestOnly": "true", "top": str(STATUSES_READ)}
        answer = self._get(_statuses_of_commit(repository_id, sha), params)
        return [_status_report(item) for item in self._values(answer)]

    def create_pull_request_status(
        self, repository_id: str, number: int, revision: int, report: StatusReport
    ) -> None:
        """Add a status to a revision ("Pull Request Statuses - Create").

        A policy that is reset by new changes refuses a status that names no revision.
        """
        path = _git(repository_id, f"pullRequests/{number}/statuses")
        self._send("POST", path, _status_body(report) | {"iterationId": revision})

    def pull_request_statuses(self, repository_id: str, number: int) -> list[RemoteStatus]:
        """Return all statuses of a pull request ("Pull Request Statuses - List")."""
        answer = self._get(_git(repository_id, f"pullRequests/{number}/statuses"), {})
        found = [
            RemoteStatus(
                external_id=shapes.positive_integer(item, "id") or 0,
                revision=shapes.positive_integer(item, "iterationId"),
                report=_status_report(item),
            )
            for item in self._values(answer)
        ]
        return sorted(found, key=lambda one: one.external_id)

    def create_thread(self, repository_id: str, number: int, content: str) -> RemoteComment:
        """Open a thread with a comment ("Pull Request Threads - Create").

        It is closed from the start: a policy may want each active thread to be resolved.
        """
        comment = {"parentCommentId": 0, "content": content, "commentType": "text"}
        made = self._send(
            "POST",
            _git(repository_id, f"pullRequests/{number}/threads"),
            {"comments": [comment], "status": "closed"},
        )
        found = _first_comment(made)
        if found is None:
            raise diagnosis.not_azure_devops(self._host, "the comment that was posted is missing")
        return found

    def edit_comment(
        self, repository_id: str, number: int, thread_id: int, comment_id: int, content: str
    ) -> None:
        """Change what a comment says ("Pull Request Thread Comments - Update").

        A deleted one is not found, whatever Azure DevOps answers.
        """
        path = f"pullRequests/{number}/threads/{thread_id}/comments/{comment_id}"
        path = _git(repository_id, path)
        try:
            self._send("PATCH", path, {"content": content})
        except ProviderError as error:
            if error.problem in MAY_BE_ABOUT_THE_COMMENT:
                raise self._refused_edit(path, error) from error
            raise

    def first_comments(self, repository_id: str, number: int) -> list[RemoteComment]:
        """Return the first comment of every thread ("Pull Request Threads - List")."""
        answer = self._get(_git(repository_id, f"pullRequests/{number}/threads"), {})
        return [found for item in self._values(answer) if (found := _first_comment(item))]

    def subscriptions(self) -> list[RemoteSubscription]:
        """Return the organization's web-hook subscriptions ("Subscriptions - List")."""
        answer = self._get(
            "_apis/hooks/subscriptions", {"publisherId": "tfs", "consumerId": "webHooks"}
        )
        return [service_hooks.subscription(item) for item in self._values(answer)]

    def subscription(self, external_id: str) -> RemoteSubscription | None:
        """Return one subscription ("Subscriptions - Get")."""
        try:
            answer, _ = self._get(_hook(external_id), {})
        except ProviderError as error:
            if error.problem != Problem.NOT_FOUND:
                raise
            return None
        return service_hooks.subscription(answer)

    def create_subscription(self, hook: Hook) -> str:
        """Make a subscription ("Subscriptions - Create")."""
        made = self._send(
            "POST", "_apis/hooks/subscriptions", service_hooks.subscription_body(hook)
        )
        if not text(made, "id"):
            raise diagnosis.not_azure_devops(
                self._host, "the service hook that was made is missing"
            )
        return text(made, "id")[:100]

    def replace_subscription(self, external_id: str, hook: Hook) -> None:
        """Replace all of a subscription ("Subscriptions - Replace Subscription").

        The password is sent again: whether a masked one would be kept is not documented.
        """
        self._send("PUT", _hook(external_id), service_hooks.subscription_body(hook))

    def remove_subscription(self, external_id: str) -> None:
        """Remove a subscription ("Subscriptions - Delete")."""
        try:
            self._call("DELETE", _hook(external_id), {}, wants_json=False)
        except ProviderError as error:
            if error.problem != Problem.NOT_FOUND:
                raise

    def send_test(self, external_id: str) -> str:
        """Have sample data sent ("Test Notifications - Create"), from a saved subscription."""
        asked = self._send("POST", "_apis/hooks/testnotifications", {"subscriptionId": external_id})
        number = shapes.positive_integer(asked, "id")
        if number is None:
            raise diagnosis.not_azure_devops(self._host, "the notification's number is missing")
        return str(number)

    def notification(self, external_id: str, notification_id: str) -> RemoteNotification | None:
        """Return an entry of the delivery history ("Notifications - Get")."""
        try:
            answer, _ = self._get(f"{_hook(external_id)}/notifications/{notification_id}", {})
        except ProviderError as error:
            if error.problem != Problem.NOT_FOUND:
                raise
            return None
        return service_hooks.notification(answer)

    def check_rights(self, projects: Sequence[ProjectInUse]) -> list[Finding]:
        """Say what the token may do, without leaving traces."""
        return checkup.findings(self, projects)

    def has_permissions(self, namespace: str, bits: int, tokens: Sequence[str]) -> list[bool]:
        """Say for each security token whether the token's owner has all permissions of a bit mask.

        "Permissions - Has Permissions"; which scope that takes is not documented.
        """
        params = {
            "tokens": ",".join(tokens),
            "delimiter": ",",
            "alwaysAllowAdministrators": "false",
        }
        answer, _ = self._get(f"_apis/permissions/{namespace}/{bits}", params, is_preview=True)
        held = answer.get("value")
        is_list = isinstance(held, list) and all(isinstance(one, bool) for one in held)
        if not is_list or len(held or []) != len(tokens):
            raise diagnosis.not_azure_devops(self._host, "the list that was asked for is missing")
        return [one is True for one in held or []]

    def _first_look(self) -> list[RemoteRepository]:
        """Return all repositories, also where versions newer than the server are answered with 404.

        That was seen of Azure DevOps Server 2019; other reports of it have the usual refusal.
        """
        try:
            return self.repositories()
        except ProviderError as error:
            is_unknown = error.problem == Problem.ORGANIZATION_UNKNOWN
            if not is_unknown or self._base in spoken_versions or not own_server(self._base):
                raise
            spoken_versions[self._base] = versions.OLDEST
            try:
                return self.repositories()
            except ProviderError:
                spoken_versions.pop(self._base, None)
                raise error from None

    def _branches(self, repository_id: str, prefix: str) -> Iterator[RemoteBranch]:
        pages = self._pages(
            _git(repository_id, "refs"),
            {"filter": f"heads/{prefix}", "$top": str(REFS_PER_PAGE)},
        )
        for ref in pages:
            name = text(ref, "name").removeprefix("refs/heads/")
            yield RemoteBranch(name, text(ref, "objectId"))

    def _tags(self, repository_id: str, prefix: str) -> Iterator[RemoteTag]:
        """Yield tags; `peelTags` has an annotated one say which commit it leads to."""
        pages = self._pages(
            _git(repository_id, "refs"),
            {"filter": f"tags/{prefix}", "$top": str(REFS_PER_PAGE), "peelTags": "true"},
        )
        for ref in pages:
            sha = shapes.sha(ref, "objectId")
            peeled = shapes.sha(ref, "peeledObjectId")
            yield RemoteTag(text(ref, "name").removeprefix(TAGS), sha, peeled or sha)

    def _connection_data(self) -> Json:
        """Return the token's owner and the organization; empty if unknown ("Connection Data").

        It is not documented which scope that takes.
        """
        try:
            answer, _ = self._get("_apis/connectionData", {}, is_preview=True)
        except ProviderError:
            return {}
        return answer

    def _knows_the_token(self) -> bool:
        """Say whether the organization recognizes the token."""
        user = child(self._connection_data(), "authenticatedUser")
        return text(user, "id") not in {"", diagnosis.ANONYMOUS_USER}

    def _refused_edit(self, comment: str, refusal: ProviderError) -> ProviderError:
        """Return why a comment could not be edited: by what it is now, else the refusal itself."""
        try:
            answer, _ = self._get(comment, {})
        except ProviderError as error:
            return error if error.problem == Problem.NOT_FOUND else refusal
        if answer.get("isDeleted") is True:
            return diagnosis.comment_deleted(refusal.evidence)
        author = text(child(answer, "author"), "id").lower()
        owner = text(child(self._connection_data(), "authenticatedUser"), "id").lower()
        if author and owner and author != owner:
            return diagnosis.not_the_author(refusal.evidence)
        return refusal

    def _pages(self, path: str, params: dict[str, str]) -> Iterator[Json]:
        """Yield the items of all pages; the header names the next one until it is absent."""
        token: str | None = ""
        listed = 0
        while token is not None:
            more = {"continuationToken": token} if token else {}
            answer = self._get(path, params | more)
            page = self._values(answer)
            listed += len(page)
            self._refuse_endless(listed)
            yield from page
            following = answer[1].get("x-ms-continuationtoken")
            token = following if following != token else None

    def _numbered_pages(self, path: str, params: dict[str, str], size: int) -> Iterator[Json]:
        """Yield the items of all pages of a list that is paged by numbers, until a short one."""
        skip = 0
        while True:
            page = self._values(self._get(path, _skip(params | {"$top": str(size)}, skip)))
            yield from page
            skip += len(page)
            if len(page) < size:
                return
            self._refuse_endless(skip)

    def _following(self, answer: Json, skip: int) -> int | None:
        """Return where a list of changes continues; None at its end."""
        following = answer.get("nextSkip") or None
        if following is not None and (shapes.positive_integer(answer, "nextSkip") or 0) <= skip:
            raise diagnosis.not_azure_devops(self._host, "the list of changes does not end")
        return following

    def _refuse_endless(self, listed: int) -> None:
        if listed > MOST_LISTED:
            raise diagnosis.too_many_parts(self._host)

    def _get(
        self, path: str, params: dict[str, str], *, is_preview: bool = False
    ) -> tuple[Json, Any]:
        """Return the JSON object of an answer and its headers."""
        response, body = self._call("GET", path, params, is_preview=is_preview)
        return self._object(body), response.headers

    def _send(self, method: str, path: str, sent: Json) -> Json:
        """Send a JSON object, without retries; return the one that comes back."""
        _, body = self._call(method, path, {}, sent=sent)
        return self._object(body)

    def _object(self, body: bytes) -> Json:
        """Read the JSON object of an answer."""
        try:
            answer = bounded_json.loads(body, MOST_PARTS)
        except bounded_json.TooMuch:
            raise diagnosis.too_many_parts(self._host) from None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise diagnosis.not_azure_devops(self._host, "it is not the JSON that was asked for")
        return answer

    def _values(self, answer: tuple[Json, Any]) -> list[Json]:
        return self._list(answer[0], "value")

    def _list(self, answer: Json, key: str) -> list[Json]:
        values = answer.get(key)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise diagnosis.not_azure_devops(self._host, "the list that was asked for is missing")
        return values

    def _call(
        self,
        method: str,
        path: str,
        params: dict[str, str],
        *,
        sent: Json | None = None,
        wants_json: bool = True,
        is_preview: bool = False,
    ) -> tuple[requests.Response, bytes]:
        """Send a request in the newest version that both speak; return a good answer and its body.

        Where the version is refused nothing was done, so any request is sent again in an older one.
        """
        version = spoken_versions.get(self._base, versions.NEWEST)
        while True:
            suffix = "-preview" if is_preview else ""
            asked = {"api-version": f"{version}{suffix}"} | params
            response, body = self._answer(method, path, asked, sent)
            text = body[:10_000].decode("utf-8", "replace")
            problem = diagnosis.of_response(response, text)
            is_refused = problem is not None and problem.problem == Problem.VERSION_REFUSED
            older = versions.older(version, text) if is_refused else ""
            if not older or "api-version" in params:
                break
            version = older
        gone_without_text = not wants_json and response.status_code in {200, 204}
        if problem and not gone_without_text:
            raise problem
        if "api-version" not in params:
            spoken_versions[self._base] = version
        return response, body

    def _answer(
        self, method: str, path: str, params: dict[str, str], sent: Json | None
    ) -> tuple[requests.Response, bytes]:
        """Send a request within the time there is; return the answer, good or not, and its body."""
        if leads_elsewhere(path):
            raise diagnosis.not_azure_devops(self._host, "a name in it stands for another address")
        self._rest()
        seconds = min(self._limits.seconds_per_call, self._ends_at - time.monotonic())
        if seconds <= 0:
            raise diagnosis.timed_out(self._host, self._limits.seconds_in_all)

        def send() -> tuple[requests.Response, bytes]:
            with self._session.request(
                method,
                f"{self._base}/{path}",
                params=params,
                json=sent,
                timeout=seconds,
                allow_redirects=False,
                stream=True,
            ) as response:
                return response, self._read(response)

        try:
            response, body = deadlines.within(seconds * (1 + self._limits.retries), send)
        except ProviderError:
            raise
        except Exception as error:  # every error of the library has a cause to name
            raise diagnosis.of_exception(error, self._host, seconds) from None
        if pause := diagnosis.pause_asked(response):
            resumes_at = time.monotonic() + pause
            # Answers may come in another order than they were sent: the longest pause counts.
            resume_times[self._base] = max(resumes_at, resume_times.get(self._base, 0))
        return response, body

    def _rest(self) -> None:
        """Wait as long as answers asked for, good ones or not ("Rate and usage limits").

        Where somebody is waiting for the page there is no time for that.
        """
        if not self._limits.obeys_pauses:
            return
        # Another thread may be asked for a longer pause while this one waits.
        while (seconds := resume_times.get(self._base, 0) - time.monotonic()) > 0:
            if seconds > LONGEST_REST:
                raise diagnosis.throttled(int(seconds) + 1)
            time.sleep(seconds)

    def _read(self, response: requests.Response) -> bytes:
        """Read an answer's body, decompressed, up to the limit."""
        body = bytearray()
        for chunk in response.iter_content(2**16):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise diagnosis.too_large(self._host, ANSWER_LIMIT)
        return bytes(body)


def _git(repository_id: str, rest: str) -> str:
    return f"_apis/git/repositories/{quote(repository_id, safe='')}/{rest}"


def _hook(external_id: str) -> str:
    return f"_apis/hooks/subscriptions/{quote(external_id, safe='')}"


def _statuses_of_commit(repository_id: str, sha: str) -> str:
    return _git(repository_id, f"commits/{quote(sha, safe='')}/statuses")


def _of_ref(ref: str) -> dict[str, str]:
    """Return how to ask for pushes with all that they changed, of one ref if it is named."""
    params = {"searchCriteria.includeRefUpdates": "true"}
    return params | {"searchCriteria.refName": ref} if ref else params


def _skip(params: dict[str, str], count: int) -> dict[str, str]:
    return params | {"$skip": str(count)} if count else params


def _revision(item: Json) -> Revision | None:
    number = shapes.positive_integer(item, "id")
    sha = shapes.sha(child(item, "sourceRefCommit"), "commitId")
    if number is None or not sha:
        return None
    return Revision(
        number=number,
        source_sha=sha,
        position=shapes.positive_integer(child(item, "push"), "pushId"),
        created_at=read_date(text(item, "createdDate")),
        old_target=shapes.branch(text(item, "oldTargetRefName"))[:500],
    )


def _status_body(report: StatusReport) -> Json:
    return {
        "state": STATUS_WORDS[report.status] if report.status else "notSet",
        "description": report.description,
        "targetUrl": report.url,
        "context": {"genre": report.genre, "name": report.name},
    }


def _status_report(item: Json) -> StatusReport:
    context = child(item, "context")
    words = {word: status for status, word in STATUS_WORDS.items()}
    return StatusReport(
        genre=text(context, "genre"),
        name=text(context, "name"),
        status=words.get(text(item, "state")),
        description=text(item, "description"),
        url=text(item, "targetUrl"),
    )


def _first_comment(thread: Json) -> RemoteComment | None:
    """Return a thread's first comment; None if it is deleted or can't be read."""
    number = shapes.positive_integer(thread, "id")
    comment = next(iter(shapes.children(thread, "comments")), {})
    comment_number = shapes.positive_integer(comment, "id")
    if number is None or comment_number is None or comment.get("isDeleted") is True:
        return None
    return RemoteComment(number, comment_number, text(comment, "content"))


def _has_plain_names(repository: RemoteRepository) -> bool:
    """Say whether names can stand in a URL's path without leading out of the organization."""
    names = (repository.external_id, repository.project_name, repository.name)
    return not any(leads_elsewhere(name) for name in names)


def _repository(item: Json) -> RemoteRepository:
    project = child(item, "project")
    return RemoteRepository(
        external_id=text(item, "id").lower(),
        name=text(item, "name"),
        project_id=text(project, "id").lower(),
        project_name=text(project, "name"),
        default_branch=text(item, "defaultBranch").removeprefix("refs/heads/"),
        is_disabled=item.get("isDisabled") is True,
    )
