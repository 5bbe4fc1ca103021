"""REST routes about pull requests (Azure DevOps documentation, "Git" in the REST API reference)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from werkzeug import Response

from . import shapes
from .git import EMPTY_TREE, NO_OBJECT, Change
from .model import Identity, Repository
from .pull_requests import COMMIT_LIMIT, Iteration, PullRequest, PullRequestError
from .rest_git import CHANGE_NAMES, listed_commit
from .shapes import Json, timestamp
from .web import ApiError, Call, Route, collection, json_response

PAGE_SIZE = 100
CHANGES_LIMIT = 2000
DESCRIPTION_SHOWN = 400
WRITE = "contribute_to_pull_requests"
_BRANCH = "refs/heads/"
_STRATEGIES = {"noFastForward": False, "squash": True}


# Pull requests


def list_pull_requests(call: Call) -> Response:
    """List the pull requests of a repository or a project, newest first; active ones by default."""
    if "repository" in call.values:
        repositories = [call.repository()]
    else:
        project = call.project()
        repositories = [one for one in project.repositories if call.shows(one)] if project else []
    found = [one for where in repositories for one in where.pull_requests if _fits(call, one)]
    found.sort(key=lambda one: one.id, reverse=True)
    skip = call.query.number("$skip", 0)
    shown = found[skip : skip + call.query.number("$top", PAGE_SIZE)]
    limit = call.query.number("maxCommentLength", DESCRIPTION_SHOWN)
    return collection(_listed(call, one, limit) for one in shown)


def _fits(call: Call, one: PullRequest) -> bool:
    query = call.query
    wanted_and_actual = (
        (query.text("sourceRefName"), one.source_ref),
        (query.text("targetRefName"), one.target_ref),
        (query.text("creatorId"), one.created_by.id),
        (query.text("repositoryId"), one.repository.id),
        (query.text("sourceRepositoryId"), one.source.id),
    )
    status = (query.text("status") or "active").lower()
    reviewer = query.text("reviewerId")
    return (
        status in ("all", one.status)
        and all(wanted in (None, actual) for wanted, actual in wanted_and_actual)
        and (reviewer is None or any(each.person.id == reviewer for each in one.reviewers))
    )


def _listed(call: Call, one: PullRequest, limit: int) -> Json:
    shape = shapes.pull_request(call.base, one)
    shape.pop("lastMergeCommit", None)
    if one.description:
        shape["description"] = one.description[:limit]
    return shape


def show_pull_request(call: Call) -> Response:
    """Show one pull request, found in a repository or by its number alone."""
    one = pull_request_of(call)
    shape = shapes.pull_request(call.base, one)
    one.looked_at()
    if call.query.flag("includeCommits"):
        shape["commits"] = _commits(call, one.repository, one.iterations[-1])
    return json_response(shape)


def create_pull_request(call: Call) -> Response:
    """Open a pull request; `forkSource` says that the source branch is in a fork."""
    where, body = call.repository(WRITE), call.json()
    fork = None
    if body.get("forkSource"):
        key = str(body["forkSource"].get("repository", {}).get("id", "")).lower()
        fork = next((one for one in call.organization.repositories if one.id == key), None)
        if fork is None or fork.parent is not where:
            raise PullRequestError(f"The repository '{key}' is not a fork of {where.name}.")
    title = str(body.get("title") or "")
    if not title:
        raise PullRequestError("A pull request needs a title.")
    made = where.open_pull_request(
        _branch(body, "sourceRefName"),
        _branch(body, "targetRefName"),
        title,
        str(body.get("description") or ""),
        is_draft=body.get("isDraft") is True,
        fork=fork,
        reviewers=[_person(call, str(one.get("id"))).name for one in body.get("reviewers") or []],
        user=call.user.name,
    )
    return json_response(shapes.pull_request(call.base, made), 201)


def update_pull_request(call: Call) -> Response:
    """Change title, description, target, draft state or status, whatever the body names."""
    one, body, user = pull_request_of(call, WRITE), call.json(), call.user.name
    if "title" in body or "description" in body:
        one.edit(body.get("title"), body.get("description"), user)
    if "targetRefName" in body:
        one.retarget(_branch(body, "targetRefName"), user)
    if "isDraft" in body:
        one.set_draft(body["isDraft"] is True, user)
    if "status" in body:
        _change_status(one, body, user)
    return json_response(shapes.pull_request(call.base, one))


def _change_status(one: PullRequest, body: dict[str, Any], user: str) -> None:
    status = body["status"]
    if status == "abandoned":
        one.abandon(user)
    elif status == "active":
        one.reactivate(user)
    elif status == "completed":
        _complete(one, body, user)
    else:
        raise PullRequestError(f"The status '{status}' cannot be set.")


def _complete(one: PullRequest, body: dict[str, Any], user: str) -> None:
    """Complete it, unless the source branch moved since the caller read it."""
    if (body.get("lastMergeSourceCommit") or {}).get("commitId") != one.source_commit:
        raise PullRequestError(
            "TF401192: The source branch has been modified since the last merge attempt; "
            "lastMergeSourceCommit must name its present commit.",
            "GitPullRequestStaleException",
            409,
        )
    options = body.get("completionOptions") or {}
    strategy = str(options.get("mergeStrategy") or "noFastForward")
    if strategy not in _STRATEGIES:
        raise PullRequestError(f"The merge strategy '{strategy}' is not known here.")
    one.complete(
        user,
        squash=_STRATEGIES[strategy],
        delete_source=options.get("deleteSourceBranch") is True,
        message=str(options.get("mergeCommitMessage") or ""),
    )


def put_reviewer(call: Call) -> Response:
    """Add a reviewer or cast a vote."""
    one, body = pull_request_of(call), call.json()
    person = _person(call, call.values["reviewer"], str(body.get("displayName") or ""))
    vote = body.get("vote") or 0
    known = {each.person.id: each for each in one.reviewers}
    if vote or (person.id in known and known[person.id].vote):
        one.vote(person.name, vote)
    else:
        one.add_reviewer(
            person.name, is_required=body.get("isRequired") is True, user=call.user.name
        )
    found = next(each for each in one.reviewers if each.person.id == person.id)
    return json_response(shapes.reviewer(call.base, found))


# Iterations


def list_iterations(call: Call) -> Response:
    """List the iterations, oldest first."""
    one = pull_request_of(call)
    return collection(_iteration_json(call, one, each) for each in one.iterations)


def show_iteration(call: Call) -> Response:
    """Show one iteration."""
    one = pull_request_of(call)
    return json_response(_iteration_json(call, one, iteration_of(call, one)))


def list_changes(call: Call) -> Response:
    """List what an iteration changed since the merge base or, with `$compareTo`, since another."""
    one = pull_request_of(call)
    iteration, query = iteration_of(call, one), call.query
    number = query.number("$compareTo", 0)
    if number > len(one.iterations):
        raise one.iteration_missing(str(number))
    base = one.iterations[number - 1].source if number else iteration.common or EMPTY_TREE
    changes = [
        change
        for change in one.repository.git.changes(base, iteration.source)
        if not change.is_folder
    ]
    skip = query.number("$skip", 0)
    top = min(query.number("$top", PAGE_SIZE), CHANGES_LIMIT)
    rest = len(changes) - skip - top
    return json_response(
        {
            "changeEntries": [
                _entry(number, change)
                for number, change in enumerate(changes[skip : skip + top], skip + 1)
            ],
            "nextSkip": skip + top if rest > 0 else 0,
            "nextTop": min(rest, CHANGES_LIMIT) if rest > 0 else 0,
        }
    )


def _entry(number: int, change: Change) -> Json:
    """Return one change; a deletion names its path in `originalPath` alone (specs#409)."""
    item: Json = {"objectId": change.new_object, "originalObjectId": change.old_object}
    item = {name: value for name, value in item.items() if value != NO_OBJECT}
    is_deletion = change.letter == "D"
    entry: Json = {
        "changeTrackingId": number,
        "changeId": number,
        "item": item | {"path": None if is_deletion else f"/{change.path}"},
    }
    if is_deletion:
        return entry | {"changeType": "delete", "originalPath": f"/{change.path}"}
    if change.old_path is None:
        return entry | {"changeType": CHANGE_NAMES[change.letter]}
    is_same = change.old_object == change.new_object
    kind = "rename" if is_same else "edit, rename"
    return entry | {"changeType": kind, "originalPath": f"/{change.old_path}"}


def _iteration_json(call: Call, one: PullRequest, iteration: Iteration) -> Json:
    commits = {
        "sourceRefCommit": iteration.source,
        "targetRefCommit": iteration.target,
        "commonRefCommit": iteration.common,
    }
    shape: Json = {
        "id": iteration.id,
        "description": "",
        "author": shapes.identity(call.base, iteration.author),
        "createdDate": timestamp(iteration.date),
        "updatedDate": timestamp(iteration.date),
        **{name: {"commitId": sha} for name, sha in commits.items() if sha},
        "hasMoreCommits": len(iteration.commits) > COMMIT_LIMIT,
        "reason": iteration.reason,
    }
    if iteration.push_id:
        shape["push"] = {"pushId": iteration.push_id}
    if iteration.old_target_ref:
        shape["oldTargetRefName"] = iteration.old_target_ref
        shape["newTargetRefName"] = iteration.new_target_ref
    if call.query.flag("includeCommits"):
        shape["commits"] = _commits(call, one.repository, iteration)
    return shape


def _commits(call: Call, where: Repository, iteration: Iteration) -> list[Json]:
    shas = iteration.commits[:COMMIT_LIMIT]
    return [listed_commit(call, where, where.git.commit(sha)) for sha in shas]


# Shared


def pull_request_of(call: Call, right: str = "read") -> PullRequest:
    """Return the pull request in the path; its number alone is enough.

    Who lacks the right in the repository gets 403, whatever the number.
    """
    key = call.values["pull_request"]
    repositories: Iterable[Repository] = call.organization.repositories
    if "repository" in call.values:
        repositories = [call.repository(right)]
    elif project := call.project():
        repositories = project.repositories
    found = (
        one
        for where in repositories
        for one in where.pull_requests
        if str(one.id) == key and call.shows(where)
    )
    one = next(found, None)
    if one is None:
        message = f"TF401180: The requested pull request was not found: {key}."
        raise ApiError(404, "GitPullRequestNotFoundException", message)
    return one


def iteration_of(call: Call, one: PullRequest) -> Iteration:
    """Return the iteration in the path."""
    key = call.values["iteration"]
    found = next((each for each in one.iterations if str(each.id) == key), None)
    if found is None:
        raise one.iteration_missing(key)
    return found


def _branch(body: dict[str, Any], name: str) -> str:
    ref = str(body.get(name) or "")
    if not ref.startswith(_BRANCH):
        raise PullRequestError(f"The value '{ref}' is not valid for {name}: it must be a branch.")
    return ref.removeprefix(_BRANCH)


def _person(call: Call, key: str, name: str = "") -> Identity:
    """Return a person by id: whoever has a token or took part in a pull request."""
    organization = call.organization
    requests = [one for where in organization.repositories for one in where.pull_requests]
    people = [organization.identity(token.user) for token in organization.tokens]
    people += [one.created_by for one in requests]
    people += [each.person for one in requests for each in one.reviewers]
    people += [organization.identity(name)] if name else []
    found = next((one for one in people if one.id == key.lower()), None)
    if found is None:
        raise PullRequestError(f"The identity '{key}' is not known.")
    return found


_READ, _WRITE = frozenset({"vso.code"}), frozenset({"vso.code_write"})
_ALL = "[{project}/]_apis/git/repositories/{repository}/pullrequests"
PULL_REQUEST = f"{_ALL}/{{pull_request}}"
_ITERATIONS = f"{PULL_REQUEST}/iterations"
ROUTES = [
    Route("GET", _ALL, list_pull_requests, _READ),
    Route("POST", _ALL, create_pull_request, _WRITE),
    Route("GET", PULL_REQUEST, show_pull_request, _READ),
    Route("PATCH", PULL_REQUEST, update_pull_request, _WRITE),
    Route("PUT", f"{PULL_REQUEST}/reviewers/{{reviewer}}", put_reviewer, _WRITE),
    Route("GET", _ITERATIONS, list_iterations, _READ),
    Route("GET", f"{_ITERATIONS}/{{iteration}}", show_iteration, _READ),
    Route("GET", f"{_ITERATIONS}/{{iteration}}/changes", list_changes, _READ),
    Route("GET", "{project}/_apis/git/pullrequests", list_pull_requests, _READ),
    Route("GET", "[{project}/]_apis/git/pullrequests/{pull_request}", show_pull_request, _READ),
]
