"""The sample data that Azure DevOps' Test button sends: always the same made-up company.

Ids and names are those of the published samples (Azure DevOps documentation, "Service hooks
events"), by which receivers recognize a test.
"""

from __future__ import annotations

from typing import Any

from .clock import now
from .shapes import timestamp

PROJECT_ID = "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c"
_FIBER = "https://fabrikam-fiber-inc.visualstudio.com/DefaultCollection"
_FIBER_ID = "278d5cd2-584d-4b63-824a-2ba458937249"
_FIBER_COMMIT = "33b55f7cb7e7e245323987634f960cf4a6e6bc74"
_FIBER_BEFORE = "aad331d8d3b131fa9ae03cf5e53965b51942618a"
_FABRIKAM = "https://fabrikam.visualstudio.com/DefaultCollection"
_FABRIKAM_ID = "4bc14d40-c903-45e2-872e-0462c7748079"
_FABRIKAM_URL = f"{_FABRIKAM}/_apis/git/repositories/{_FABRIKAM_ID}"
_SOURCE = "53d54ac915144006c2c9e90d2c7d3880920db49c"
_TARGET = "a511f535b1ea495ee0c903badb68fbc83772c882"
_MERGE = "eef717f69257a6333f221566c1c987dc94cc0d72"
_ACTOR = "Jamal Hartnett"
_EMAIL = "fabrikamfiber4@hotmail.com"
_CONTAINERS = {
    "collection": {"id": "c12d0eb8-e382-443b-9f9c-c52cba5014c2"},
    "account": {"id": "f844ec47-a9db-4511-8281-8b63f4eaf94e"},
    "project": {"id": "be9b3917-87e6-42a4-a549-2bc06a7a878f"},
}
_PULL_REQUEST_EVENTS = {
    "git.pullrequest.created": (
        "2ab4e3d3-b7a6-425e-92b1-5a9982c1269e",
        f"{_ACTOR} created a new pull request",
        "active",
    ),
    "git.pullrequest.merged": (
        "6872ee8c-b333-4eff-bfb9-0d5274943566",
        f"{_ACTOR} has created a pull request merge commit",
        "completed",
    ),
    "git.pullrequest.updated": (
        "af07be1b-f3ad-44c8-a7f1-c4835f2df06b",
        f"{_ACTOR} marked the pull request as completed",
        "completed",
    ),
}


def sample_event(event_type: str) -> dict[str, Any]:
    """Return the sample payload of one of the four event types."""
    if event_type == "git.push":
        text = f"{_ACTOR} pushed updates to Fabrikam-Fiber-Git:master."
        return _event(
            "03c164c2-8912-4d5e-8009-3707d5f83734",
            event_type,
            text,
            f"1 commit\r\n - {text}",
            _push(),
        )
    event_id, text, status = _PULL_REQUEST_EVENTS[event_type]
    details = (
        f"{text}\r\n\r\n- Merge status: Succeeded\r\n"
        f"- Merge commit: {_MERGE[:6]}({_FABRIKAM_URL}/commits/{_MERGE})\r\n"
    )
    return _event(event_id, event_type, text, details, _pull_request(status))


def _event(
    event_id: str, event_type: str, text: str, details: str, resource: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": event_id,
        "eventType": event_type,
        "publisherId": "tfs",
        "message": dict.fromkeys(("text", "html", "markdown"), text),
        "detailedMessage": dict.fromkeys(("text", "html", "markdown"), details),
        "resource": resource,
        "resourceVersion": "1.0",
        "resourceContainers": _CONTAINERS,
        "createdDate": timestamp(now()),
    }


def _push() -> dict[str, Any]:
    person = {"name": _ACTOR, "email": _EMAIL, "date": "2015-02-25T19:01:00Z"}
    repository = f"{_FIBER}/_apis/git/repositories/{_FIBER_ID}"
    return {
        "commits": [
            {
                "commitId": _FIBER_COMMIT,
                "author": person,
                "committer": person,
                "comment": "Fixed bug in web.config file",
                "url": f"{_FIBER}/_git/Fabrikam-Fiber-Git/commit/{_FIBER_COMMIT}",
            }
        ],
        "refUpdates": [
            {
                "name": "refs/heads/master",
                "oldObjectId": _FIBER_BEFORE,
                "newObjectId": _FIBER_COMMIT,
            }
        ],
        "repository": {
            "id": _FIBER_ID,
            "name": "Fabrikam-Fiber-Git",
            "url": repository,
            "project": _project(_FIBER, "Fabrikam-Fiber-Git"),
            "defaultBranch": "refs/heads/master",
            "remoteUrl": f"{_FIBER}/_git/Fabrikam-Fiber-Git",
        },
        "pushedBy": {
            "displayName": _ACTOR,
            "id": "00067FFED5C7AF52@Live.com",
            "uniqueName": f"Windows Live ID\\{_EMAIL}",
        },
        "pushId": 14,
        "date": "2014-05-02T19:17:13.3309587Z",
        "url": f"{repository}/pushes/14",
    }


def _project(base: str, name: str) -> dict[str, Any]:
    url = f"{base}/_apis/projects/{PROJECT_ID}"
    return {"id": PROJECT_ID, "name": name, "url": url, "state": "wellFormed"}


def _commit(sha: str) -> dict[str, str]:
    return {"commitId": sha, "url": f"{_FABRIKAM_URL}/commits/{sha}"}


def _person(name: str, person_id: str, unique_name: str) -> dict[str, Any]:
    return {
        "displayName": name,
        "url": f"https://fabrikam.vssps.visualstudio.com/_apis/Identities/{person_id}",
        "id": person_id,
        "uniqueName": unique_name,
        "imageUrl": f"{_FABRIKAM}/_api/_common/identityImage?id={person_id}",
    }


def _pull_request(status: str) -> dict[str, Any]:
    team = "vstfs:///Classification/TeamProject/f0811a3b-8c8a-4e43-a3bf-9a049b4835bd\\Mobile Team"
    resource: dict[str, Any] = {
        "repository": {
            "id": _FABRIKAM_ID,
            "name": "Fabrikam",
            "url": _FABRIKAM_URL,
            "project": _project(_FABRIKAM, "Fabrikam"),
            "defaultBranch": "refs/heads/master",
            "remoteUrl": f"{_FABRIKAM}/_git/Fabrikam",
        },
        "pullRequestId": 1,
        "status": status,
        "createdBy": _person(_ACTOR, "54d125f7-69f7-4191-904f-c5b96b6261c8", _EMAIL),
        "creationDate": "2014-06-17T16:55:46.589889Z",
        "title": "my first pull request",
        "description": " - test2\r\n",
        "sourceRefName": "refs/heads/mytopic",
        "targetRefName": "refs/heads/master",
        "mergeStatus": "succeeded",
        "mergeId": "a10bb228-6ba6-4362-abd7-49ea21333dbd",
        "lastMergeSourceCommit": _commit(_SOURCE),
        "lastMergeTargetCommit": _commit(_TARGET),
        "lastMergeCommit": _commit(_MERGE),
        "reviewers": [
            _person("[Mobile]\\Mobile Team", "2ea2d095-48f9-4cd6-9966-62f6f574096c", team)
            | {"reviewerUrl": None, "vote": 0, "isContainer": True}
        ],
        "url": f"{_FABRIKAM_URL}/pullRequests/1",
    }
    if status == "completed":
        resource["closedDate"] = "2014-06-30T18:59:12.3660573Z"
        resource["commits"] = [_commit(_SOURCE)]
    return resource
