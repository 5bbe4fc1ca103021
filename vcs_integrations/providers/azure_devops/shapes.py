"""Reading Azure DevOps' JSON, whatever it holds: unusable values come back empty.

The same shapes are in REST answers and in webhook requests. Pure, never raises.
"""

import re
import uuid
from typing import Any

from vcs_integrations.providers.azure_devops.dates import read_date
from vcs_integrations.providers.base import RemoteChange
from vcs_integrations.providers.events import (
    BRANCHES,
    PullRequestFacts,
    PullRequestStatus,
    Push,
    RefChanged,
    RemoteCommit,
    TrialMerge,
)

Json = dict[str, Any]

LARGEST_BIGINT = 2**63 - 1
LONGEST_EMAIL = 254
RENAMES = {"rename", "targetrename"}
SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

# The words of pull requests ("Pull Requests - Get Pull Request").
STATUSES = {
    "active": PullRequestStatus.OPEN,
    "completed": PullRequestStatus.MERGED,
    "abandoned": PullRequestStatus.CLOSED,
}
TRIAL_MERGES = {
    "notSet": TrialMerge.UNKNOWN,
    "queued": TrialMerge.PENDING,
    "succeeded": TrialMerge.CLEAN,
    "conflicts": TrialMerge.CONFLICTS,
    "rejectedByPolicy": TrialMerge.FAILED,
    "failure": TrialMerge.FAILED,
}


def text(item: Json, key: str) -> str:
    """Return a text without what a database would refuse: lone surrogates and NUL."""
    value = item.get(key)
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "ignore").decode().replace("\0", "")


def line(item: Json, key: str, length: int) -> str:
    """Return a text of one line, without control characters."""
    kept = text(item, key)[: length * 2]
    return "".join(c for c in kept if c.isprintable())[:length]


def child(item: Json, key: str) -> Json:
    """Return an object inside an object."""
    value = item.get(key)
    return value if isinstance(value, dict) else {}


def children(item: Json, key: str) -> list[Json]:
    """Return the objects of a list inside an object."""
    value = item.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def guid(item: Json, key: str) -> str:
    """Return a GUID in lower case."""
    value = item.get(key)
    if not isinstance(value, str) or len(value) != 36:
        return ""
    try:
        found = str(uuid.UUID(value))
    except ValueError:
        return ""
    return found if found == value.lower() else ""


def positive_integer(item: Json, key: str) -> int | None:
    """Return a number that fits a database's column."""
    value = item.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= LARGEST_BIGINT else None


def sha(item: Json, key: str) -> str:
    """Return a commit's id; the zeros that mean "none" are empty, as is what is missing."""
    value = text(item, key).lower()
    return value if SHA.fullmatch(value) and value.strip("0") else ""


def ref_changes(repository_id: str, push: Json) -> list[RefChanged]:
    """Return the refs that a push changed; empty if it does not list all of them."""
    position = positive_integer(push, "pushId")
    updates = children(push, "refUpdates")
    is_complete = isinstance(push.get("refUpdates"), list) and len(updates) == len(
        push["refUpdates"]
    )
    if position is None or not is_complete or not all(_is_whole(update) for update in updates):
        return []
    commits = {sha(one, "commitId"): commit(one) for one in children(push, "commits")}
    return [
        RefChanged(
            repository_id=repository_id,
            position=position,
            ref=text(update, "name"),
            old_sha=sha(update, "oldObjectId"),
            new_sha=(new_sha := sha(update, "newObjectId")),
            pushed_at=read_date(text(push, "date")),
            commit=commits.get(new_sha) if new_sha else None,
            pushed_by=account(child(push, "pushedBy")),
        )
        for update in updates
    ]


def push(repository_id: str, item: Json) -> Push | None:
    """Return a push of a list, or None where its id is missing."""
    position = positive_integer(item, "pushId")
    if position is None:
        return None
    changes = tuple(ref_changes(repository_id, item))
    return Push(repository_id, position, read_date(text(item, "date")), changes)


def commit(item: Json) -> RemoteCommit:
    """Return a commit as lists and single answers hold it."""
    author = child(item, "author")
    written = line(author, "email", LONGEST_EMAIL)
    committed = line(child(item, "committer"), "email", LONGEST_EMAIL)
    return RemoteCommit(
        sha=sha(item, "commitId"),
        message=text(item, "comment"),
        author=text(author, "name"),
        authored_at=read_date(text(author, "date")),
        written_by=tuple(filter(None, dict.fromkeys([written, committed]))) if written else (),
        pushed_by=account(child(child(item, "push"), "pushedBy")),
    )


def account(identity: Json) -> str:
    """Return the name that a person signs in with, without the domain that may be before it.

    Recorded payloads have "Windows Live ID\\ann@fabrikam.example", too; servers have the domain of
    a Windows account.
    """
    return line(identity, "uniqueName", LONGEST_EMAIL).rpartition("\\")[2]


def pull_request(item: Json) -> PullRequestFacts | None:
    """Return a pull request, or None where what it is about is missing."""
    number = positive_integer(item, "pullRequestId")
    target = branch(text(item, "targetRefName"))
    source_sha = sha(child(item, "lastMergeSourceCommit"), "commitId")
    status = STATUSES.get(text(item, "status"))
    if number is None or not target or status is None:
        return None
    return PullRequestFacts(
        number=number,
        title=line(item, "title", 500),
        author=line(child(item, "createdBy"), "displayName", 255),
        status=status,
        is_draft=item.get("isDraft") is True,
        is_from_fork=bool(child(item, "forkSource")),
        source_branch=branch(text(item, "sourceRefName"))[:500],
        target_branch=target[:500],
        source_sha=source_sha,
        trial_merge=TRIAL_MERGES.get(text(item, "mergeStatus"), TrialMerge.UNKNOWN),
        created_at=read_date(text(item, "creationDate")),
    )


def changes(entries: list[Json]) -> list[RemoteChange]:
    """Return the changed files of a list of changes; a path that can't be read is empty.

    Lists of commits and comparisons also hold the folders around the files, and a renamed file a
    second time where it was. Both are left out where another entry has their path.
    """
    files = [entry for entry in entries if not _is_folder(child(entry, "item"))]
    found = [_change(entry) for entry in files]
    renamed = {change.old_path for change in found if change.kind == "renamed"}
    listed = [
        change
        for entry, change in zip(files, found, strict=True)
        if "sourcerename" not in _change_words(entry) or change.path not in renamed
    ]
    known = {path for change in listed for path in (change.path, change.old_path) if path}
    around = {path[:end] for path in known for end in _folder_ends(path)}
    folders = [entry for entry in entries if _is_folder(child(entry, "item"))]
    # Whatever changed in a folder without listed files could be anywhere below it.
    hidden = [RemoteChange("modified", "") for one in folders if _changed_path(one) not in around]
    return listed + hidden


def file_paths(items: list[Json]) -> list[str]:
    """Return the paths of the files in a list of items, which holds the folders, too."""
    return [path for item in items if not _is_folder(item) and (path := _path(item, "path"))]


def branch(ref: str) -> str:
    """Return a branch's short name."""
    return ref.removeprefix(BRANCHES)


def _is_whole(update: Json) -> bool:
    """Say whether an update names its ref and what it points to now, if only "nothing"."""
    new = text(update, "newObjectId").lower()
    return bool(text(update, "name")) and bool(SHA.fullmatch(new))


def _change(entry: Json) -> RemoteChange:
    """Return a change; its type may be several words, like "edit, rename"."""
    words = _change_words(entry)
    path = (_changed_path(entry) or "") if words else ""
    old_path = _path(entry, "sourceServerItem") or _path(entry, "originalPath") or ""
    is_submodule = child(entry, "item").get("gitObjectType") == "commit"
    if words & RENAMES:
        return RemoteChange("renamed", path, old_path, is_submodule)
    added, deleted = words & {"add", "undelete"}, "delete" in words
    kind = "added" if added else "deleted" if deleted else "modified"
    return RemoteChange(kind, path, old_path if old_path != path else "", is_submodule)


def _changed_path(entry: Json) -> str | None:
    """Return which path changed; a pull request's deletion has it in another place.

    MicrosoftDocs/vsts-rest-api-specs#409: its `item.path` is null.
    """
    words = _change_words(entry)
    is_deletion = "delete" in words and not words & RENAMES
    path = _path(child(entry, "item"), "path")
    return (is_deletion and not path and _path(entry, "originalPath")) or path


def _change_words(entry: Json) -> set[str]:
    return {word.strip().lower() for word in text(entry, "changeType").split(",")} - {""}


def _is_folder(item: Json) -> bool:
    return item.get("isFolder") is True or item.get("gitObjectType") == "tree"


def _path(item: Json, key: str) -> str | None:
    """Return a path without the slash before it; None if none can be read."""
    value = item.get(key)
    return value.lstrip("/") if value and value == text(item, key) else None


def _folder_ends(path: str) -> list[int]:
    """Return where the names of the folders around a path end; that of the top is empty."""
    return [0, *(place for place, character in enumerate(path) if character == "/")]
