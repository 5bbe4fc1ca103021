"""HTTP to Azure DevOps, one method for each REST call (API version 7.1)."""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from vcs_integrations.providers.azure_devops import diagnosis
from vcs_integrations.providers.azure_devops.dates import read_date
from vcs_integrations.providers.base import (
    Connection,
    Patience,
    Problem,
    ProviderError,
    RemoteBranch,
    RemoteCommit,
    RemoteRepository,
    RemoteSubscription,
)

API_VERSION = "7.1"
PREVIEW_VERSION = "7.1-preview.1"
# A list of 10,000 repositories has about 6 MB.
ANSWER_LIMIT = 64 * 2**20
MOST_OBJECTS = 1_000_000
REFS_PER_PAGE = 1000
T = TypeVar("T")
Json = dict[str, Any]


class _Session(requests.Session):
    """A session that takes no answer for a redirect.

    Even with `allow_redirects=False` requests reads a redirect's whole body and its target.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class AzureDevOpsClient:
    """Calls to one organization with one token.

    Redirects are never followed and the token goes to the organization's host only.
    Every method raises ProviderError and nothing else.
    """

    def __init__(self, organization_url: str, token: str, patience: Patience) -> None:
        self._base = organization_url
        self._host = urlsplit(organization_url).netloc
        self._patience = patience
        self._ends_at = time.monotonic() + patience.seconds_in_all
        self._session = _Session()
        # `auth` and not a header of our own: a .netrc entry would replace the header.
        self._session.auth = ("", token)
        self._session.headers["Accept"] = "application/json"
        self._session.headers["X-TFS-FedAuthRedirect"] = "Suppress"
        repeats = Retry(
            total=patience.retries,
            redirect=0,
            allowed_methods=["GET"],
            status_forcelist=[408, 500, 502, 503, 504],
            backoff_factor=0.5,
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        self._session.mount("https://", HTTPAdapter(max_retries=repeats))
        self._session.mount("http://", HTTPAdapter(max_retries=repeats))

    def connect(self) -> Connection:
        """Prove address and token with the one call that needs nothing but Code: Read."""
        try:
            repositories = self.repositories()
        except ProviderError as error:
            if error.problem not in {Problem.TOKEN_REFUSED, Problem.PERMISSION_DENIED}:
                raise
            if self._knows_the_token():
                raise diagnosis.lacks_code_access(error) from error
            raise
        return Connection(self._organization_id(), repositories)

    def repositories(self) -> list[RemoteRepository]:
        """Return all repositories of all projects ("Repositories - List")."""
        answer = self._get("_apis/git/repositories", {})
        return [_repository(item) for item in self._values(answer)]

    def branches(self, repository_id: str) -> list[RemoteBranch]:
        """Return all branches, page by page ("Refs - List")."""
        return list(self._branches(repository_id, ""))

    def branch(self, repository_id: str, name: str) -> RemoteBranch | None:
        """Return one branch; the filter of "Refs - List" also finds those it is a prefix of."""
        found = self._branches(repository_id, name)
        return next((branch for branch in found if branch.name == name), None)

    def commit(self, repository_id: str, sha: str) -> RemoteCommit:
        """Return one commit ("Commits - Get")."""
        path = (
            f"_apis/git/repositories/{quote(repository_id, safe='')}/commits/{quote(sha, safe='')}"
        )
        commit, _ = self._get(path, {})
        if not _text(commit, "commitId"):
            raise diagnosis.not_azure_devops(self._host, "the commit that was asked for is missing")
        author = commit.get("author")
        author = author if isinstance(author, dict) else {}
        return RemoteCommit(
            sha=_text(commit, "commitId"),
            message=_text(commit, "comment"),
            author=_text(author, "name"),
            authored_at=read_date(_text(author, "date")),
        )

    def subscriptions(self) -> list[RemoteSubscription]:
        """Return the organization's web-hook subscriptions ("Subscriptions - List")."""
        answer = self._get(
            "_apis/hooks/subscriptions", {"publisherId": "tfs", "consumerId": "webHooks"}
        )
        return [_subscription(item) for item in self._values(answer)]

    def remove_subscription(self, external_id: str) -> None:
        """Remove a subscription ("Subscriptions - Delete"); one that is gone counts as removed."""
        path = f"_apis/hooks/subscriptions/{quote(external_id, safe='')}"
        try:
            self._call("DELETE", path, {"api-version": API_VERSION}, wants_json=False)
        except ProviderError as error:
            if error.problem != Problem.NOT_FOUND:
                raise

    def _branches(self, repository_id: str, prefix: str) -> Iterator[RemoteBranch]:
        pages = self._pages(
            f"_apis/git/repositories/{quote(repository_id, safe='')}/refs",
            {"filter": f"heads/{prefix}", "$top": str(REFS_PER_PAGE)},
        )
        for ref in pages:
            name = _text(ref, "name").removeprefix("refs/heads/")
            yield RemoteBranch(name, _text(ref, "objectId"))

    def _organization_id(self) -> str:
        """Return the organization's id, or "" where it is not told just now ("Connection Data")."""
        try:
            answer, _ = self._get("_apis/connectionData", {"api-version": PREVIEW_VERSION})
        except ProviderError:
            return ""
        return _text(answer, "instanceId").lower()[:100]

    def _knows_the_token(self) -> bool:
        """Say whether the organization takes the token for somebody's."""
        try:
            answer, _ = self._get("_apis/connectionData", {"api-version": PREVIEW_VERSION})
        except ProviderError:
            return False
        user = answer.get("authenticatedUser")
        return isinstance(user, dict) and _text(user, "id") not in {"", diagnosis.ANONYMOUS_USER}

    def _pages(self, path: str, params: dict[str, str]) -> Iterator[Json]:
        """Yield the items of all pages; the header names the next one until it is absent."""
        token: str | None = ""
        while token is not None:
            more = {"continuationToken": token} if token else {}
            answer = self._get(path, params | more)
            yield from self._values(answer)
            following = answer[1].get("x-ms-continuationtoken")
            token = following if following != token else None

    def _get(self, path: str, params: dict[str, str]) -> tuple[Json, Any]:
        """Return the JSON object of an answer and its headers."""
        response, body = self._call("GET", path, {"api-version": API_VERSION} | params)
        if body.count(b"{") > MOST_OBJECTS:  # parsed, it would take a hundred times its size
            raise diagnosis.too_large(self._host, ANSWER_LIMIT)
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise diagnosis.not_azure_devops(self._host, "it is not the JSON that was asked for")
        return answer, response.headers

    def _values(self, answer: tuple[Json, Any]) -> list[Json]:
        values = answer[0].get("value")
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise diagnosis.not_azure_devops(self._host, "the list that was asked for is missing")
        return values

    def _call(
        self, method: str, path: str, params: dict[str, str], *, wants_json: bool = True
    ) -> tuple[requests.Response, bytes]:
        """Send a request within the time there is; return a good answer and its body."""
        seconds = min(self._patience.seconds_per_call, self._ends_at - time.monotonic())
        if seconds <= 0:
            raise diagnosis.timed_out(self._host, self._patience.seconds_in_all)

        def send() -> tuple[requests.Response, bytes]:
            with self._session.request(
                method,
                f"{self._base}/{path}",
                params=params,
                timeout=seconds,
                allow_redirects=False,
                stream=True,
            ) as response:
                return response, self._read(response)

        try:
            response, body = _within(seconds * (1 + self._patience.retries), send)
        except ProviderError:
            raise
        except Exception as error:  # whatever the library raises has a cause to be named
            raise diagnosis.of_exception(error, self._host, seconds) from None
        gone_without_text = not wants_json and response.status_code in {200, 204}
        problem = diagnosis.of_response(response, body[:10_000].decode("utf-8", "replace"))
        if problem and not gone_without_text:
            raise problem
        return response, body

    def _read(self, response: requests.Response) -> bytes:
        """Read an answer's body, decompressed, up to the limit."""
        body = bytearray()
        for chunk in response.iter_content(2**16):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise diagnosis.too_large(self._host, ANSWER_LIMIT)
        return bytes(body)


def _within(seconds: float, function: Callable[[], T]) -> T:
    """Call a function and wait this long at most, then raise TimeoutError.

    A socket's timeout bounds neither a name's resolution nor an answer that comes byte by
    byte, so the call runs in a thread that is left behind when time is up.
    """
    results: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((function(), None))
        except Exception as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = results.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error:
        raise error
    return value  # type: ignore[return-value]


def _text(item: Json, key: str) -> str:
    """Return a text without what a database would refuse: lone surrogates and NUL."""
    value = item.get(key)
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "ignore").decode().replace("\0", "")


def _repository(item: Json) -> RemoteRepository:
    project = item.get("project")
    project = project if isinstance(project, dict) else {}
    return RemoteRepository(
        external_id=_text(item, "id").lower(),
        name=_text(item, "name"),
        project_id=_text(project, "id").lower(),
        project_name=_text(project, "name"),
        default_branch=_text(item, "defaultBranch").removeprefix("refs/heads/"),
        is_disabled=item.get("isDisabled") is True,
    )


def _project_id(publisher: object) -> str:
    return _text(publisher, "projectId").lower()[:100] if isinstance(publisher, dict) else ""


def _subscription(item: Json) -> RemoteSubscription:
    publisher, consumer = item.get("publisherInputs"), item.get("consumerInputs")
    return RemoteSubscription(
        external_id=_text(item, "id")[:100],
        event_type=_text(item, "eventType")[:100],
        project_id=_project_id(publisher),
        url=_text(consumer, "url") if isinstance(consumer, dict) else "",
    )
