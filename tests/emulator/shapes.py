"""JSON shapes that REST answers and webhook payloads share."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from .git import Commit, Signature
from .model import Identity, Project, Repository
from .pull_requests import PullRequest, Reviewer
from .statuses import Status
from .threads import Comment, Thread

Json = dict[str, Any]
_TYPES = {int: "Int32", float: "Double", bool: "Boolean"}


def timestamp(moment: datetime) -> str:
    """Return a date as Azure DevOps writes it: UTC, seven fractional digits."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}0Z"


def seconds(moment: datetime) -> str:
    """Return a date as git knows it: UTC, no fraction."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def identity(base: str, person: Identity) -> Json:
    """Return a person as IdentityRef."""
    avatar = f"{base}/_apis/GraphProfile/MemberAvatars/aad.{person.id}"
    return {
        "displayName": person.name,
        "url": f"{base}/_apis/Identities/{person.id}",
        "_links": {"avatar": {"href": avatar}},
        "id": person.id,
        "uniqueName": person.email,
        "imageUrl": f"{base}/_api/_common/identityImage?id={person.id}",
        "descriptor": f"aad.{person.id}",
    }


def project(base: str, one: Project) -> Json:
    """Return a project as it is in lists and within repositories."""
    return {
        "id": one.id,
        "name": one.name,
        "url": f"{base}/_apis/projects/{one.id}",
        "state": "wellFormed",
        "revision": 11,
        "visibility": "private",
        "lastUpdateTime": timestamp(one.changed_date),
    }


def repository_url(base: str, one: Repository) -> str:
    """Return the REST address of a repository."""
    return f"{base}/{one.project.id}/_apis/git/repositories/{one.id}"


def web_url(base: str, one: Repository) -> str:
    """Return the browser address of a repository, which is its clone URL too."""
    return f"{base}/{quote(one.project.name, safe='')}/_git/{quote(one.name, safe='')}"


def repository(base: str, one: Repository) -> Json:
    """Return a repository; an empty one has no `defaultBranch`."""
    web = web_url(base, one)
    organization = quote(one.organization.name, safe="")
    path = f"{quote(one.project.name, safe='')}/{quote(one.name, safe='')}"
    shape: Json = {
        "id": one.id,
        "name": one.name,
        "url": repository_url(base, one),
        "project": project(base, one.project),
        "size": 1232 if one.default_branch else 0,
        "remoteUrl": web.replace("://", f"://{organization}@", 1),
        "sshUrl": f"git@ssh.dev.azure.com:v3/{organization}/{path}",
        "webUrl": web,
        "isDisabled": one.is_disabled,
        "isInMaintenance": False,
    }
    if one.default_branch:
        shape["defaultBranch"] = one.default_branch
    if one.parent:
        shape["isFork"] = True
        shape["parentRepository"] = {
            "id": one.parent.id,
            "name": one.parent.name,
            "url": repository_url(base, one.parent),
            "project": project(base, one.parent.project),
        }
    return shape


def signature(one: Signature) -> Json:
    """Return the author or committer of a commit."""
    return {"name": one.name, "email": one.email, "date": seconds(one.date)}


def commit(base: str, where: Repository, one: Commit) -> Json:
    """Return a commit as it is in lists, with its whole comment."""
    return {
        "commitId": one.sha,
        "author": signature(one.author),
        "committer": signature(one.committer),
        "comment": one.message,
        "url": f"{repository_url(base, where)}/commits/{one.sha}",
    }


def commit_reference(base: str, where: Repository, sha: str) -> Json:
    """Return a commit by its sha and address alone."""
    return {"commitId": sha, "url": f"{repository_url(base, where)}/commits/{sha}"}


def pull_request(base: str, one: PullRequest) -> Json:
    """Return a pull request; what is not known yet or does not apply is left out."""
    where = one.repository
    url = f"{repository_url(base, where)}/pullRequests/{one.id}"
    shape: Json = {
        "repository": repository(base, where),
        "pullRequestId": one.id,
        "codeReviewId": one.id,
        "status": one.status,
        "createdBy": identity(base, one.created_by),
        "creationDate": timestamp(one.creation_date),
        "title": one.title,
        "description": one.description,
        "sourceRefName": one.source_ref,
        "targetRefName": one.target_ref,
        "mergeStatus": one.merge_status,
        "isDraft": one.is_draft,
        "mergeId": one.merge_id,
        "lastMergeSourceCommit": commit_reference(base, one.source, one.source_commit),
        "lastMergeTargetCommit": commit_reference(base, where, one.target_commit),
        "reviewers": [reviewer(base, each) for each in one.reviewers],
        "url": url,
        "_links": {
            "web": {"href": f"{web_url(base, where)}/pullrequest/{one.id}"},
            "statuses": {"href": f"{url}/statuses"},
        },
        "supportsIterations": True,
    }
    if not one.description:
        del shape["description"]
    if one.merge_commit:
        shape["lastMergeCommit"] = commit_reference(base, where, one.merge_commit)
    if one.closed_date and one.closed_by:
        shape["closedDate"] = timestamp(one.closed_date)
        shape["closedBy"] = identity(base, one.closed_by)
    if one.is_from_fork:
        shape["forkSource"] = {"name": one.source_ref, "repository": repository(base, one.source)}
    return shape


def reviewer(base: str, one: Reviewer) -> Json:
    """Return a reviewer with the vote."""
    return identity(base, one.person) | {
        "reviewerUrl": None,
        "vote": one.vote,
        "isRequired": one.is_required,
        "hasDeclined": False,
    }


def status(base: str, where: Repository, owner: str, one: Status) -> Json:
    """Return a status of an owner, e.g. `commits/{sha}`; what it does not have is left out."""
    home = repository_url(base, where)
    context = {"name": one.context.name, "genre": one.context.genre}
    shape: Json = {
        "id": one.id,
        "iterationId": one.iteration_id,
        "state": one.state,
        "description": one.description,
        "context": {name: value for name, value in context.items() if value},
        "creationDate": timestamp(one.date),
        "updatedDate": timestamp(one.date),
        "createdBy": identity(base, one.created_by),
        "targetUrl": one.target_url,
        "properties": properties(one.properties),
        "_links": {
            "self": {"href": f"{home}/{owner}/statuses/{one.id}"},
            "repository": {"href": home},
        },
    }
    return {name: value for name, value in shape.items() if value not in (None, "", {})}


def thread(base: str, one: Thread) -> Json:
    """Return a thread with all its comments."""
    shape: Json = {
        "id": one.id,
        "publishedDate": timestamp(one.published),
        "lastUpdatedDate": timestamp(one.updated),
        "comments": [comment(base, one, each) for each in one.comments],
        "status": one.status,
        "threadContext": one.context,
        "pullRequestThreadContext": one.pull_request_context,
        "properties": properties(one.properties),
        "identities": None,
        "isDeleted": one.is_deleted,
        "_links": {"self": {"href": _thread_url(base, one)}},
    }
    if one.status == "unknown":
        del shape["status"]
    return shape


def comment(base: str, where: Thread, one: Comment) -> Json:
    """Return a comment; a deleted one has no content."""
    shape: Json = {
        "id": one.id,
        "parentCommentId": one.parent_id,
        "author": identity(base, one.author),
        "content": one.content,
        "publishedDate": timestamp(one.published),
        "lastUpdatedDate": timestamp(one.updated),
        "lastContentUpdatedDate": timestamp(one.updated),
        "commentType": one.comment_type,
        "usersLiked": [],
        "_links": {"self": {"href": f"{_thread_url(base, where)}/comments/{one.id}"}},
    }
    if one.is_deleted:
        del shape["content"]
        shape["isDeleted"] = True
    return shape


def _thread_url(base: str, one: Thread) -> str:
    where = one.pull_request
    url = repository_url(base, where.repository)
    return f"{url}/pullRequests/{where.id}/threads/{one.id}"


def properties(values: dict[str, Any]) -> Json:
    """Return properties with their .NET types, however they were given."""
    return {name: _typed(value) for name, value in values.items()}


def _typed(value: Any) -> Json:
    if isinstance(value, dict) and "$value" in value:
        return value
    kind = _TYPES.get(type(value), "String")
    return {"$type": f"System.{kind}", "$value": value if type(value) in _TYPES else str(value)}
