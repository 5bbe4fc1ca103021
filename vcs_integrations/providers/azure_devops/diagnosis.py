"""From what went wrong to what to do: every failure of Azure DevOps by its cause.

Which answers exist is taken from the Azure DevOps documentation ("Use personal access
tokens", "Rate and usage limits", "Troubleshoot service hooks") and from public reports
of clients; a refused token, for one, is seen as 401, as 203 with a sign-in page and as a
redirect. Nothing of an answer's text is passed on except Microsoft's own error codes, the names
of its exceptions, and the API version that it supports.
"""

import http.client
import json
import re
import ssl
import time
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import requests
import urllib3.exceptions

from vcs_integrations.providers.azure_devops import versions
from vcs_integrations.providers.azure_devops.organization_url import own_server
from vcs_integrations.providers.azure_devops.shapes import Json, child
from vcs_integrations.providers.base import Problem, ProviderError

ANONYMOUS_USER = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
TIMEOUTS = (TimeoutError, requests.exceptions.Timeout, urllib3.exceptions.TimeoutError)
# RemoteDisconnected, a BadStatusLine too, is a ConnectionError: nothing came at all.
NOT_HTTP = (http.client.BadStatusLine, http.client.LineTooLong)
NEW_TOKEN = (
    "Create a new token in Azure DevOps (User settings → Personal access tokens) with the "
    "scope Code: Read & write for this organization, and enter it."
)
# "TF24668: The following team project collection is stopped: …", also where the code is missing.
STOPPED = re.compile(
    "TF24668|project collection is stopped|deactivated due to inactivity", re.IGNORECASE
)
# A server may be stopping for a moment. If a person stopped it, the code above is there.
STOPPING = "HostShutdownException"
BLOCKED = {"TF400733", "RequestBlockedException"}
# A stopped organization is asked again after this many seconds: it takes a person to start it.
STOPPED_FOR = 600
# What is not there, by Microsoft's codes and the names of its exceptions: cause and fix. With
# VS800075 and TF401175, 400 has been seen as well as 404.
NO_REPOSITORY = (
    "The repository does not exist, is disabled, or the token may not see it.",
    "Check in Azure DevOps that it is there, enabled, and readable by the token's owner.",
)
NO_PROJECT = (
    "The project does not exist, or the token may not see it.",
    "Check in Azure DevOps that it is there and readable by the token's owner.",
)
NO_COMMIT = (
    "The branch, tag or commit does not exist in the repository.",
    "Check in Azure DevOps whether it was deleted or replaced by a force push.",
)
MISSING = {
    "TF401019": NO_REPOSITORY,
    "GitRepositoryNotFoundException": NO_REPOSITORY,
    "TF200016": NO_PROJECT,
    "VS800075": NO_PROJECT,
    "ProjectDoesNotExistException": NO_PROJECT,
    "ProjectDoesNotExistWithNameException": NO_PROJECT,
    "TF401175": NO_COMMIT,
    "GitUnresolvableToCommitException": NO_COMMIT,
}
NO_ORGANIZATION = {
    "VS850015",
    "HostDoesNotExistException",
    "CollectionDoesNotExistException",
    "CollectionNotFoundException",
}
# An error of its own: as most have it, and as .NET writes those that it raised itself.
ITS_OWN = re.compile(r'"(?:typeKey|typeName|ClassName)"\s*:|"value"\s*:\s*\{\s*"Message"\s*:')
# Names that an error may have. No token is one.
TYPE_KEY = re.compile(r"[A-Za-z]{0,60}Exception|(?:[A-Z][a-z]+){2,8}")
# What each request is for, by its method and the end of its path; the first that fits.
PURPOSES = (
    ("GET git/repositories", "list the repositories"),
    ("GET .*/refs", "list the branches"),
    ("GET .*/diffs/commits", "compare two commits"),
    ("GET .*/commits/[^/]+", "read the commit"),
    ("POST .*/commitsbatch", "read several commits"),
    ("GET .*/commits/[^/]+/statuses", "read the commit's statuses"),
    ("POST .*/commits/[^/]+/statuses", "post the commit's status"),
    ("GET .*/pushes", "list the pushes"),
    ("GET .*/pushes/[^/]+", "read the push"),
    ("GET .*/pullrequests", "list the pull requests"),
    ("GET .*/pullrequests/[^/]+", "read the pull request"),
    ("GET .*/iterations", "list the pull request's iterations"),
    ("GET .*/iterations/[^/]+/changes", "list the pull request's changes"),
    ("GET .*/pullrequests/[^/]+/statuses", "read the pull request's statuses"),
    ("POST .*/pullrequests/[^/]+/statuses", "post the pull request's status"),
    ("GET .*/threads(/.*)?", "read the pull request's comments"),
    ("POST .*/threads", "post the comment"),
    ("PATCH .*/threads/.*", "edit the comment"),
    ("GET hooks/subscriptions", "list the service hooks"),
    ("GET hooks/subscriptions/[^/]+", "read the service hook"),
    ("GET hooks/subscriptions/[^/]+/notifications/.*", "read the service hook's history"),
    ("POST hooks/subscriptions", "create the service hook"),
    ("PUT hooks/subscriptions/.*", "change the service hook"),
    ("DELETE hooks/subscriptions/.*", "remove the service hook"),
    ("POST hooks/testnotifications", "test the service hook"),
    ("GET permissions/.*", "read what the token's owner may do"),
    ("GET connectiondata", "read whose token it is"),
    ("GET resourceareas/.*", "find the organization"),
)
HOOK_ADMINS = (
    "In Azure DevOps, add the token's owner to the group Project Administrators of the project "
    "(Project settings → Permissions → Project Administrators → Members)."
)


def timed_out(host: str, seconds: float) -> ProviderError:
    """Return the diagnosis of a call that took longer than it may."""
    return ProviderError(
        Problem.TIMEOUT,
        f"{host} did not answer within {seconds:.0f} seconds.",
        "Try again. If the problem persists, check the network between this server and "
        "Azure DevOps.",
        evidence="timeout",
    )


def of_exception(error: Exception, host: str, seconds: float) -> ProviderError:
    """Return the diagnosis of a call that got no answer."""
    chain = list(_causes(error))
    if any(isinstance(e, urllib3.exceptions.NameResolutionError) for e in chain):
        return ProviderError(
            Problem.NAME_NOT_RESOLVED,
            f"The name {host} could not be resolved.",
            "Check the address and this server's DNS.",
            evidence="DNS",
        )
    if any(isinstance(e, requests.exceptions.SSLError | ssl.SSLError) for e in chain):
        return ProviderError(
            Problem.TLS_FAILURE,
            f"No secure connection to {host}: its certificate or the TLS handshake failed.",
            "Check this server's clock and whether a proxy replaces certificates; a private "
            "certificate authority is named in REQUESTS_CA_BUNDLE.",
            evidence="TLS",
        )
    if any(isinstance(e, requests.exceptions.ProxyError) for e in chain):
        return ProviderError(
            Problem.CONNECTION_REFUSED,
            f"The proxy on the way to {host} refused the connection.",
            "Check HTTPS_PROXY and NO_PROXY of this server, and that the proxy lets it through.",
            evidence="proxy",
        )
    if any(isinstance(e, ConnectionRefusedError) for e in chain):
        return ProviderError(
            Problem.CONNECTION_REFUSED,
            f"{host} refused the connection.",
            "Check the address and port, and whether a firewall lets this server out.",
            evidence="connection refused",
        )
    if any(isinstance(e, TIMEOUTS) for e in chain):
        return timed_out(host, seconds)
    if any(isinstance(e, requests.exceptions.ContentDecodingError) for e in chain):
        return not_azure_devops(host, "its compressed answer is broken")
    if any(isinstance(e, NOT_HTTP) and not isinstance(e, ConnectionError) for e in chain):
        return not_azure_devops(host, "it is not HTTP")
    return ProviderError(
        Problem.CONNECTION_CUT,
        f"The connection to {host} was cut before the answer was complete.",
        "Try again. If the problem persists, check for a firewall or proxy that ends connections.",
        evidence="connection cut",
    )


def of_response(response: requests.Response, text: str) -> ProviderError | None:
    """Return the diagnosis of an answer, or None when it is a good one.

    `text` is the answer's body, or its beginning.
    """
    host = urlsplit(response.url).netloc.rpartition("@")[2]
    status = response.status_code
    is_good = 200 <= status < 300 and status != 203
    if is_good and _is_json(response):
        return None
    header, error = unquote(response.headers.get("X-TFS-ServiceError", "")), _error(text)
    said = f"{header} {_message(error) or text}"
    code, kind = _error_code(said), _type_key(error, text)
    names = ", ".join(filter(None, [code, kind]))
    evidence = ", ".join(filter(None, [f"HTTP {status}", names]))
    is_its_own = bool(header) or (_is_json(response) and bool(code or ITS_OWN.search(text)))

    if is_good:
        return not_azure_devops(host, "it is not JSON", evidence)
    if code == "VS403463":
        return ProviderError(
            Problem.SIGN_IN_POLICY,
            "A conditional access policy of the organization forbids sign-in from here.",
            "Ask its administrators to allow this server's address or the token's owner.",
            evidence=evidence,
        )
    if STOPPED.search(said):
        return _stopped(response, said, evidence)
    if status == 429 or (status < 500 and BLOCKED & {code, kind}):
        return throttled(_retry_after(response), evidence)
    if status == 408 or status >= 500 or kind == STOPPING:
        return _unavailable(response, names if is_its_own else "", evidence)
    if status in {203, 401}:
        return _refused(response, said, evidence)
    if status in {301, 302, 303, 307, 308}:
        if "_signin" in response.headers.get("Location", "").lower():
            return _refused(response, said, evidence)
        return not_azure_devops(host, "it redirects elsewhere, which is not followed", evidence)
    if versions.is_refusal(kind, said):
        return version_refused(host, versions.latest_of(said), evidence)
    if NO_ORGANIZATION & {code, kind}:
        return _organization_unknown(host, evidence)
    if kind == "GitPullRequestCommentCannotBeUpdatedException":
        return not_the_author(evidence)
    if status in {400, 403, 409} and kind.startswith("GitPullRequest"):
        return refused(response, names, evidence)
    if status == 403 and _is_about_hooks(response):
        return ProviderError(
            Problem.PERMISSION_DENIED,
            f"The token's owner may not {_hook_deeds(response)} service hooks of this project.",
            HOOK_ADMINS,
            evidence=evidence,
        )
    if status == 403:
        return ProviderError(
            Problem.PERMISSION_DENIED,
            f"The token's owner lacks a permission to {_purpose(response)}.",
            f"Grant the owner {_permission(response)} on the repositories (Project settings → "
            "Repositories → Security), or use the token of somebody who has it.",
            evidence=evidence,
        )
    if status in {400, 404} and (missing := MISSING.get(code) or MISSING.get(kind)):
        return ProviderError(Problem.NOT_FOUND, *missing, evidence=evidence)
    if status == 404:
        return _not_found(response, names, evidence, host)
    is_write = response.request.method != "GET"
    if is_its_own or (is_write and status in {400, 409} and _is_json(response)):
        return refused(response, names, evidence)
    return not_azure_devops(host, f"HTTP {status} is unexpected", evidence)


def not_azure_devops(host: str, because: str, evidence: str = "") -> ProviderError:
    """Return the diagnosis of an answer that Azure DevOps would not give."""
    return ProviderError(
        Problem.NOT_THE_PROVIDER,
        f"{host} did not return an Azure DevOps response: {because}.",
        "Check the organization URL, and whether a proxy or sign-in portal answers in its place.",
        evidence=evidence,
    )


def refused(response: requests.Response, names: str, evidence: str) -> ProviderError:
    """Return the diagnosis of a request that Azure DevOps understood and won't carry out.

    `names` are its own for that. Its reason is a text that may repeat what was sent, so it is
    not passed on.
    """
    said = f"Azure DevOps refused to {_purpose(response)}"
    return ProviderError(
        Problem.REFUSED,
        f"{said}: {names}." if names else f"{said}.",
        _fix_of_refusal(response),
        evidence=evidence,
    )


def version_refused(host: str, latest: str, evidence: str) -> ProviderError:
    """Return the diagnosis of a server that doesn't speak any version that Stackhook does."""
    spoken = f"{versions.OLDEST} to {versions.NEWEST}"
    cause = f"{host} accepts none of the REST API versions that Stackhook speaks, {spoken}."
    if versions.is_too_old(latest):
        cause = f"{host} speaks REST API {latest}; Stackhook needs {versions.OLDEST} or newer."
    return ProviderError(
        Problem.VERSION_REFUSED,
        cause,
        "Upgrade the server to Azure DevOps Server 2019 or newer.",
        evidence=evidence,
    )


def not_the_author(evidence: str) -> ProviderError:
    """Return the diagnosis of a comment that the token's owner may not edit: another wrote it."""
    return ProviderError(
        Problem.NOT_THE_AUTHOR,
        "Azure DevOps lets only its author edit a comment, and that is not the token's owner.",
        "Use a token of the account that wrote it, or have a new comment posted.",
        evidence=evidence,
    )


def comment_deleted(evidence: str) -> ProviderError:
    """Return the diagnosis of a comment that somebody deleted."""
    return ProviderError(
        Problem.NOT_FOUND,
        "The comment was deleted in Azure DevOps.",
        "Nothing to do: a new comment is posted.",
        evidence=evidence,
    )


def too_large(host: str, limit: int) -> ProviderError:
    """Return the diagnosis of an answer with more bytes than are read."""
    return ProviderError(
        Problem.ANSWER_TOO_LARGE,
        f"The answer of {host} is larger than {limit // 2**20} MB and was not read to its end.",
        "Check the organization URL; no known organization has an answer of this size.",
    )


def too_many_parts(host: str) -> ProviderError:
    """Return the diagnosis of an answer with more values than are kept in memory."""
    return ProviderError(
        Problem.ANSWER_TOO_LARGE,
        f"The answer of {host} has more values, or nests them more deeply, than Stackhook reads.",
        "Check the organization URL; no known organization has an answer of this size.",
    )


def lacks_code_access(refusal: ProviderError) -> ProviderError:
    """Return the diagnosis for a token that the organization knows but its code refuses."""
    return ProviderError(
        Problem.LACKS_CODE_ACCESS,
        "The token works, but it may not read code.",
        "Edit the token in Azure DevOps (User settings → Personal access tokens) and give it "
        "the scope Code: Read & write.",
        evidence=refusal.evidence,
    )


def throttled(seconds: int | None, evidence: str = "") -> ProviderError:
    """Return the diagnosis of a token's owner who has used up the limit."""
    wait = f"for {seconds} seconds" if seconds else "for some minutes"
    return ProviderError(
        Problem.THROTTLED,
        f"Azure DevOps throttles the token's owner, {wait}.",
        f"Wait {wait}; with a separate service account, other tools don't use up the limit.",
        evidence=evidence,
        retry_after=seconds,
    )


def pause_asked(response: requests.Response) -> int:
    """Return the seconds that an answer, also a good one, asks to wait; 0 where it does not.

    "Rate and usage limits": Retry-After says it; else, when nothing of the limit remains,
    X-RateLimit-Reset says until when, in seconds since 1970.
    """
    seconds = _retry_after(response)
    if seconds is None and _number(response, "X-RateLimit-Remaining") == 0:
        seconds = min((_number(response, "X-RateLimit-Reset") or 0) - int(time.time()), 3600)
    return max(seconds or 0, 0)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and everything that led to it, also what urllib3 wraps."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]


def _error_code(text: str) -> str:
    """Return Microsoft's code at the front of a message, like TF400813 or VS403463."""
    match = re.search(r"\b(?:TF|VS)\d{5,7}\b", text)
    return match[0] if match else ""


def _error(text: str) -> Json:
    """Return the JSON object of an answer; {} where it is none, or only begins here."""
    try:
        error = json.loads(text)
    except (ValueError, RecursionError):
        error = None
    return error if isinstance(error, dict) else {}


def _message(error: Json) -> str:
    """Return what an error says itself, without what led to it; "" where it says nothing."""
    places = (error.get("message"), error.get("Message"), child(error, "value").get("Message"))
    return next((one for one in places if one and isinstance(one, str)), "")


def _type_key(error: Json, text: str) -> str:
    """Return the name of Microsoft's exception that an error has; "" where there is none.

    What led to it has names, too. They count only in a text that is cut before its own.
    """
    match = re.search(r'"typeKey"\s*:\s*"(\w+)"', text)
    name = error.get("typeKey") if error else match and match[1]
    return name if isinstance(name, str) and TYPE_KEY.fullmatch(name) else ""


def _purpose(response: requests.Response) -> str:
    """Return what a request is for, in words that follow "to"."""
    path = urlsplit(response.url).path.lower().partition("/_apis/")[2]
    asked = f"{response.request.method} {path}"
    fitting = (words for pattern, words in PURPOSES if re.fullmatch(pattern, asked))
    return next(fitting, "carry out the request")


def _is_json(response: requests.Response) -> bool:
    return response.headers.get("Content-Type", "").lower().startswith("application/json")


def _retry_after(response: requests.Response) -> int | None:
    seconds = _number(response, "Retry-After")
    return None if seconds is None else min(seconds, 3600)


def _number(response: requests.Response, header: str) -> int | None:
    value = response.headers.get(header, "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) < 12 else None


def _refused(response: requests.Response, said: str, evidence: str) -> ProviderError:
    if "token used has expired" in said.lower():
        return ProviderError(
            Problem.TOKEN_EXPIRED, "The token has expired.", NEW_TOKEN, evidence=evidence
        )
    if _is_a_report(response):
        return ProviderError(
            Problem.TOKEN_REFUSED,
            "Azure DevOps refused the token for this: it may not write statuses or comments, or "
            "it is no longer valid.",
            "Test says which. The token needs the scope Code: Read & write.",
            evidence=evidence,
        )
    return ProviderError(
        Problem.TOKEN_REFUSED,
        "Azure DevOps refused the token: it is wrong, revoked, or made for another organization.",
        NEW_TOKEN,
        evidence=evidence,
        brief="Azure DevOps refused the token.",
    )


def _is_a_report(response: requests.Response) -> bool:
    """Say whether a status or a comment was to be written."""
    path = urlsplit(response.url).path.lower()
    return response.request.method != "GET" and ("/statuses" in path or "/threads" in path)


def _is_about_hooks(response: requests.Response) -> bool:
    return "/_apis/hooks/" in urlsplit(response.url).path.lower()


def _is_test(response: requests.Response) -> bool:
    return urlsplit(response.url).path.lower().endswith("/testnotifications")


def _fix_of_refusal(response: requests.Response) -> str:
    if _is_test(response):
        return (
            "Check in Azure DevOps whether it still exists and is enabled (Project settings → "
            "Service hooks), and test it there."
        )
    if response.request.method == "GET":
        return (
            "Try again. If the problem persists, look up the code in the documentation of Azure "
            "DevOps, or report it to the developers of Stackhook."
        )
    if _is_about_hooks(response):
        return (
            "It accepts only https addresses, and no private or loopback ones: "
            f"check PUBLIC_URL. It may also be a missing right. {HOOK_ADMINS}"
        )
    return "A closed pull request accepts nothing. If it is open, check its branch policies."


def _stopped(response: requests.Response, said: str, evidence: str) -> ProviderError:
    """Return the diagnosis of an organization, or a collection, that is there but stopped."""
    cause = "The organization is stopped, so Azure DevOps answers nothing for it."
    fix = "An administrator of the organization has to reactivate it: sign in to it in a browser."
    if own_server(response.url):
        cause = "The collection is stopped, so Azure DevOps Server answers nothing for it."
        fix = (
            "An administrator of the server has to start it: Azure DevOps Server Administration "
            "Console → Team Project Collections → Start Collection."
        )
    elif "inactiv" in said.lower():
        cause = "The organization is stopped: it was deactivated because nobody used it."
    else:
        fix += " If that does not help, Azure DevOps support says why it was stopped."
    return ProviderError(
        Problem.ORGANIZATION_STOPPED, cause, fix, evidence=evidence, retry_after=STOPPED_FOR
    )


def _unavailable(response: requests.Response, names: str, evidence: str) -> ProviderError:
    """Return the diagnosis of an outage; `names` are Azure DevOps' own for what went wrong."""
    fix = "Try again later; https://status.dev.azure.com shows outages."
    if own_server(response.url):
        fix = "Try again later. If the problem persists, ask the administrators of the server."
    if names:
        fix = f"It could not {_purpose(response)}: {names}. {fix}"
    return ProviderError(
        Problem.UNAVAILABLE,
        f"Azure DevOps is down or in trouble (HTTP {response.status_code}).",
        fix,
        evidence=evidence,
        retry_after=_retry_after(response),
    )


def _hook_deeds(response: requests.Response) -> str:
    """Return what a request about service hooks is for, in words."""
    if _is_test(response):
        return "test"
    return {"GET": "see", "DELETE": "remove"}.get(response.request.method or "", "create or change")


def _permission(response: requests.Response) -> str:
    """Return what a request needs, in the words of the pages that grant it."""
    if response.request.method == "GET":
        return "Read"
    return "Read, Contribute and Contribute to pull requests"


def _not_found(response: requests.Response, names: str, evidence: str, host: str) -> ProviderError:
    if names or "json" in response.headers.get("Content-Type", ""):
        said = f"It could not {_purpose(response)}: {names}. " if names else ""
        return ProviderError(
            Problem.NOT_FOUND,
            "Azure DevOps does not find what was asked for.",
            f"{said}Check in Azure DevOps that it is still there.",
            evidence=evidence,
        )
    return _organization_unknown(host, evidence)


def _organization_unknown(host: str, evidence: str) -> ProviderError:
    return ProviderError(
        Problem.ORGANIZATION_UNKNOWN,
        f"{host} knows no such organization, or the token is not for it.",
        "Check the spelling against the address in your browser, and that the token was "
        "created in this organization.",
        evidence=evidence,
    )
