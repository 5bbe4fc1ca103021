"""Git over HTTP: clone, fetch and push through `git http-backend`."""

import re
import subprocess
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import quote

from werkzeug import Request, Response

from . import lfs
from .git import environment
from .model import Organization, Repository, Token
from .web import authenticate, not_found, permission_missing, repository_missing

_PATH = re.compile(
    r"(?:(?P<project>[^/]+)/)?_git/(?P<repository>[^/]+)/"
    r"(?P<rest>info/refs|git-upload-pack|git-receive-pack"
    r"|info/lfs/objects/(?:batch|[0-9a-f]{64}))"
)


def is_git_path(path: str) -> bool:
    """Return whether a path within an organization belongs to git's own protocol."""
    return _PATH.fullmatch(path) is not None


def name_of(request: Request) -> str:
    """Return what a request of git's protocol is counted under."""
    if "/info/lfs/" in request.path:
        return "git lfs"
    service = request.args.get("service", request.path.rpartition("/")[2])
    return "git push" if service == "git-receive-pack" else "git fetch"


def answer(request: Request, organization: Organization, path: str) -> Response:
    """Let git answer; a push is recorded with all its refs as one."""
    match = _PATH.fullmatch(path)
    if match is None:
        return not_found()
    is_push = "git-receive-pack" in (match["rest"], request.args.get("service"))
    token = authenticate(request, organization, frozenset({"vso.code"}))
    if isinstance(token, Response):
        return token
    repository = _repository(organization, match["project"], match["repository"])
    if repository is None or not _may(token, organization, "read", repository):
        # As text, which git shows to people.
        message = repository_missing(match["repository"]).message
        return Response(message, 404, content_type="text/plain; charset=utf-8")
    if is_push and not (
        token.allows(frozenset({"vso.code_write"}))
        and _may(token, organization, "contribute", repository)
    ):
        person = organization.identity(token.user)
        message = permission_missing(person, "contribute", repository.project).message
        return Response(message, 403, content_type="text/plain; charset=utf-8")
    if match["rest"].startswith("info/lfs/"):
        return lfs.answer(request, repository, match["rest"])
    if match["rest"] != "git-receive-pack":
        return _backend(request, repository, match["rest"], token.user)
    with repository.lock:
        before = repository.ref_values()
        response = _backend(request, repository, match["rest"], token.user)
        repository.record_push(before, organization.identity(token.user))
    return response


def _may(token: Token, organization: Organization, right: str, repository: Repository) -> bool:
    return organization.may(token.user, right, repository.project, repository)


def _repository(
    organization: Organization, project_name: str | None, name: str
) -> Repository | None:
    project = organization.project(project_name or name)
    if project is None:
        return None
    # git-lfs appends `.git` to an address.
    found = project.repository(name) or project.repository(name.removesuffix(".git"))
    return None if found is None or found.is_disabled else found


def _backend(request: Request, repository: Repository, rest: str, user: str) -> Response:
    path = repository.git.path
    variables = {
        "GIT_PROJECT_ROOT": str(path.parent),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{path.name}/{rest}",
        "QUERY_STRING": request.query_string.decode("ascii", "replace"),
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.content_type or "",
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REMOTE_USER": quote(user),
        "REMOTE_ADDR": "127.0.0.1",
    }
    body = request.get_data(cache=False)
    done = subprocess.run(
        ["git", "http-backend"],
        input=body,
        capture_output=True,
        env=environment(**variables, CONTENT_LENGTH=str(len(body))),
        check=False,
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    headers = BytesParser(policy=HTTP).parsebytes(head + b"\r\n\r\n")
    status = int(str(headers.get("Status", "200")).split()[0])
    kept = {name: str(value) for name, value in headers.items() if name.lower() != "status"}
    return Response(content, status, kept)
