"""Requests and answers of the REST API: routes, credentials, versions and errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from werkzeug import Request, Response
from werkzeug.datastructures import MultiDict

from .model import Identity, Organization, Project, Repository, Token
from .rights import GIT, RIGHTS

JSON_TYPE = "application/json; charset=utf-8; api-version=7.1"
_WEB_API = "Microsoft.VisualStudio.Services.WebApi"
NOT_FOUND = "The resource cannot be found."
_VERSION = re.compile(r"api-version=([0-9]+)\.([0-9]+)(-preview(?:\.[0-9]+)?)?", re.IGNORECASE)


class ApiError(Exception):
    """An answer that is not success, in Azure DevOps' error shape."""

    def __init__(self, status: int, type_key: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.type_key = type_key
        self.message = message

    def response(self) -> Response:
        """Return the JSON error body with its status."""
        namespace = "Microsoft.TeamFoundation.Git.Server" if "Git" in self.type_key else "System"
        namespace = _WEB_API if self.type_key.startswith("Vss") else namespace
        return json_response(
            {
                "$id": "1",
                "innerException": None,
                "message": self.message,
                "typeName": f"{namespace}.{self.type_key}, {namespace}",
                "typeKey": self.type_key,
                "errorCode": 0,
                "eventId": 3000,
            },
            self.status,
        )


def json_response(
    data: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON answer."""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Response(body, status, headers, content_type=JSON_TYPE)


def collection(items: Iterable[object], headers: Mapping[str, str] | None = None) -> Response:
    """Return a list in the shape that all lists have."""
    values = list(items)
    return json_response({"count": len(values), "value": values}, headers=headers)


def done() -> Response:
    """Return the answer of what has nothing to say; without its type the SDK leaves it unread."""
    return Response(status=200, content_type=JSON_TYPE)


def not_found() -> Response:
    """Return the answer to an unknown route or organization: 29 bytes of plain text."""
    return Response(NOT_FOUND, 404, content_type="text/plain; charset=utf-8")


class Query:
    """The query string; names in any letter case, with or without `searchCriteria.`."""

    def __init__(self, arguments: MultiDict[str, str]) -> None:
        self._values = {
            name.lower().removeprefix("searchcriteria."): value for name, value in arguments.items()
        }

    def text(self, *names: str) -> str | None:
        """Return the first of the named values that is given and not empty."""
        return next((self._values[n.lower()] for n in names if self._values.get(n.lower())), None)

    def number(self, name: str, default: int) -> int:
        """Return a whole number that is not negative; 400 for anything else."""
        text = self.text(name, name.removeprefix("$")) or str(default)
        if not text.isascii() or not text.isdigit():
            raise ApiError(
                400, "InvalidArgumentValueException", f"The value '{text}' is not valid for {name}."
            )
        return int(text)

    def flag(self, name: str) -> bool:
        """Return whether a switch is on."""
        return (self.text(name) or "").lower() == "true"

    def moment(self, name: str) -> datetime | None:
        """Return a date; 400 for anything unreadable."""
        text = self.text(name)
        try:
            return datetime.fromisoformat(text).astimezone() if text else None
        except ValueError:
            message = f"The value '{text}' is not valid for {name}."
            raise ApiError(400, "InvalidArgumentValueException", message) from None


@dataclass
class Call:
    """One authenticated request to an organization."""

    request: Request
    organization: Organization
    token: Token
    values: dict[str, str]
    query: Query = field(init=False)

    def __post_init__(self) -> None:
        self.query = Query(self.request.args)

    @property
    def base(self) -> str:
        """The organization's URL in the form in which the caller addressed it."""
        return self.request.host_url + quote(self.organization.name, safe="")

    @property
    def user(self) -> Identity:
        """The owner of the token."""
        return self.organization.identity(self.token.user)

    def project(self) -> Project | None:
        """Return the project in the path, None if the path has none, 404 if it is unknown."""
        key = self.values.get("project")
        if key is None:
            return None
        project = self.organization.project(key)
        if project is None:
            raise project_missing(key)
        return project

    def may(self, right: str, project: Project, repository: Repository | None = None) -> bool:
        """Return whether the caller has a right in a project or in a repository."""
        return self.organization.may(self.token.user, right, project, repository)

    def require(self, right: str, project: Project, repository: Repository | None = None) -> None:
        """Raise 403 unless the caller has a right."""
        if not self.may(right, project, repository):
            raise permission_missing(self.user, right, project)

    def shows(self, where: Repository) -> bool:
        """Return whether a repository is in use and the caller may read it."""
        return not where.is_disabled and self.may("read", where.project, where)

    def repository(self, right: str = "read") -> Repository:
        """Return the repository in the path; a name needs a project, an id does not.

        404 for one that the caller may not read, 403 without the right.
        """
        key = self.values["repository"]
        project = self.project()
        if project:
            found = project.repository(key)
        else:
            everything = self.organization.repositories
            found = next((one for one in everything if one.id == key.lower()), None)
        if found is None or not self.shows(found):
            raise repository_missing(key)
        self.require(right, found.project, found)
        return found

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body; 400 for anything else."""
        data = self.request.get_json(force=True, silent=True)
        if not isinstance(data, dict):
            raise ApiError(400, "VssPropertyValidationException", "The body must be a JSON object.")
        return data


def blocked() -> ApiError:
    """Return the answer to who has asked too much."""
    message = (
        "TF400733: The request has been canceled: Request was blocked due to exceeding usage of "
        "resource 'Concurrency' in namespace 'User'."
    )
    return ApiError(429, "RequestBlockedException", message)


def project_missing(key: str) -> ApiError:
    """Return the answer for a project that does not exist."""
    return ApiError(
        404,
        "ProjectDoesNotExistWithNameException",
        f"TF200016: The following project does not exist: {key}. Verify that the name of the "
        "project is correct and that the project exists on the specified Azure DevOps Server.",
    )


def repository_missing(key: str) -> ApiError:
    """Return the answer for a repository that is missing, disabled or not visible."""
    return ApiError(
        404,
        "GitRepositoryNotFoundException",
        f"TF401019: The Git repository with name or identifier {key} does not exist or you do "
        "not have permissions for the operation you are attempting.",
    )


def permission_missing(person: Identity, right: str, project: Project) -> ApiError:
    """Return the answer to who may not do this; it names the permission."""
    found = RIGHTS[right]
    if found.namespace == GIT:
        return ApiError(
            403,
            "GitNeedsPermissionException",
            f"TF401027: You need the Git '{found.title}' permission to perform this action. "
            f"Details: identity '{person.name}', scope 'repository'.",
        )
    return ApiError(
        403,
        "AccessCheckException",
        f"Access Denied: {person.name} needs the following permission(s) on the resource "
        f"PublisherSecurity/{project.id} to perform this action: {found.title}",
    )


@dataclass(frozen=True)
class Route:
    """A REST route: `{x}` is a segment, `{*x}` the rest, `[…]` may be left out."""

    method: str
    template: str
    handler: Callable[[Call], Response]
    scopes: frozenset[str] = frozenset()

    def match(self, path: str) -> dict[str, str] | None:
        """Return the values in a path (fixed parts in any letter case), or None."""
        found = _pattern(self.template).fullmatch(path)
        if found is None:
            return None
        return {name: value for name, value in found.groupdict().items() if value is not None}

    @property
    def name(self) -> str:
        """What it is counted under, e.g. `GET git/repositories/{repository}/pushes`."""
        path = self.template.replace("[{project}/]", "").replace("{project}/_apis", "_apis")
        return f"{self.method} {path.removeprefix('_apis/')}"


@cache
def _pattern(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\[", "(?:").replace(r"\]", ")?")
    pattern = re.sub(r"\\{\\\*(\w+)\\}", r"(?P<\1>.+)", pattern)
    pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", pattern)
    return re.compile(pattern, re.IGNORECASE)


@dataclass(frozen=True)
class Versions:
    """The API versions that a server speaks: up to the latest, of which some are previews still.

    `hides_newer`: whether it knows no route of newer ones, as Azure DevOps Server 2019 was seen to.
    """

    latest: str = "7.2"
    released: str = "7.1"
    hides_newer: bool = False


def check_version(request: Request, is_preview_only: bool, spoken: Versions) -> Response | None:
    """Raise 400 for a version missing on a write, out of range, or in need of `-preview`.

    Returns the answer of a server that says no more than "not found" to what is out of range.

    The version is in the query or in Accept (Azure DevOps documentation, "REST API
    versioning").
    """
    given = f"api-version={request.args['api-version']}" if "api-version" in request.args else ""
    found = _VERSION.search(given or request.headers.get("Accept", ""))
    if found is None:
        if request.method in ("POST", "PUT", "PATCH", "DELETE"):
            raise ApiError(
                400,
                "VssVersionNotSpecifiedException",
                f'No api-version was supplied for the "{request.method}" request. The version '
                "must be supplied either as part of the Accept header or as a query parameter.",
            )
        return None
    version = (int(found[1]), int(found[2]))
    if version > _version(spoken.latest):
        if spoken.hides_newer:
            return not_found()
        raise ApiError(
            400,
            "VssVersionOutOfRangeException",
            f"The requested REST API version of {found[1]}.{found[2]} is out of range for this "
            f"server. The latest REST API version this server supports is {spoken.latest}.",
        )
    if not found[3] and (is_preview_only or version > _version(spoken.released)):
        raise ApiError(
            400,
            "VssInvalidPreviewVersionException",
            f'The requested version "{found[1]}.{found[2]}" of the resource is under preview. '
            "The -preview flag must be supplied in the api-version for such requests.",
        )
    return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def unauthorized(request: Request, error: str = "") -> Response:
    """Return 401 with a Basic challenge; the error goes into X-TFS-ServiceError."""
    headers = {"WWW-Authenticate": f'Basic realm="{request.host_url}"'}
    if error:
        headers["X-TFS-ServiceError"] = quote(error)
    body = "<!DOCTYPE html><html><head><title>Access Denied</title></head><body></body></html>"
    return Response(body, 401, headers, content_type="text/html; charset=utf-8")


EXPIRED = "Access Denied: The Personal Access Token used has expired."


def token_of(request: Request, organization: Organization) -> Token | None:
    """Return the token of the request; None for one that is missing or unknown."""
    credentials = request.authorization
    secret = credentials.password if credentials and credentials.type == "basic" else None
    return organization.token(secret) if secret else None


def authenticate(
    request: Request, organization: Organization, scopes: frozenset[str]
) -> Token | Response:
    """Return the token of the request, or the refusal: unknown, expired or too narrow."""
    token = token_of(request, organization)
    if token is None:
        return unauthorized(request)
    if token.is_expired(organization.now()):
        return unauthorized(request, EXPIRED)
    if not token.allows(scopes):
        return unauthorized(request)
    return token
