"""REST routes about git (Azure DevOps documentation, "Git" in the REST API reference)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from werkzeug import Response

from . import shapes
from .git import EMPTY_TREE, NO_OBJECT, Change, Commit, Entry, GitError
from .model import Identity, Push, Repository
from .shapes import Json
from .web import ApiError, Call, Route, collection, json_response

PAGE_SIZE = 100
REFS_LIMIT = 1000
_TYPES = {"branch": "refs/heads/{}", "tag": "refs/tags/{}", "commit": "{}"}
CHANGE_NAMES = {"A": "add", "M": "edit", "D": "delete", "T": "edit"}


# Repositories


def list_repositories(call: Call) -> Response:
    """List the repositories of the organization or the project, in one answer."""
    project = call.project()
    everything = project.repositories if project else call.organization.repositories
    found = [one for one in everything if call.may("read", one.project, one)]
    return collection(shapes.repository(call.base, one) for one in found)


def show_repository(call: Call) -> Response:
    """Show one repository, found by id or within a project by name."""
    return json_response(shapes.repository(call.base, call.repository()))


# Refs


def list_refs(call: Call) -> Response:
    """List refs by prefix or part of the name; a header continues a list that was cut."""
    where = call.repository()
    prefix = "refs/" + (call.query.text("filter") or call.values.get("filter", ""))
    part = call.query.text("filterContains") or ""
    start = call.query.text("continuationToken") or ""
    refs = [
        ref
        for ref in where.git.refs()
        if ref.name.startswith(prefix) and part in ref.name and ref.name >= start
    ]
    shown = refs[: _refs_page_size(call, len(refs))]
    headers = {}
    if len(shown) < len(refs):
        headers["x-ms-continuationtoken"] = refs[len(shown)].name
    creators = _creators(where)
    items = []
    for ref in shown:
        creator = creators.get(ref.name, call.user)
        item = {
            "name": ref.name,
            "objectId": ref.sha,
            "creator": shapes.identity(call.base, creator),
            "url": f"{_url(call, where)}/refs?filter={ref.name.removeprefix('refs/')}",
        }
        if ref.peeled and call.query.flag("peelTags"):
            item["peeledObjectId"] = ref.peeled
        items.append(item)
    return collection(items, headers)


def _refs_page_size(call: Call, count: int) -> int:
    """Return how many refs to show: all, unless the caller pages."""
    is_continued = call.query.text("continuationToken") is not None
    if call.query.text("$top") is None and not is_continued:
        return count
    return min(call.query.number("$top", PAGE_SIZE), REFS_LIMIT)


def _creators(where: Repository) -> dict[str, Identity]:
    return {
        update.name: push.pushed_by
        for push in where.pushes
        for update in push.ref_updates
        if update.old == NO_OBJECT
    }


def branch_statistics(call: Call) -> Response:
    """List the branches, or the one given by `name`, compared with the default branch."""
    where = call.repository()
    wanted = call.query.text("name") or call.values.get("name")
    base = where.git.resolve(where.default_branch) if where.default_branch else None
    branches = [ref for ref in where.git.refs() if ref.name.startswith("refs/heads/")]
    if wanted:
        branches = [ref for ref in branches if ref.name == f"refs/heads/{wanted}"]
        if not branches:
            raise _unresolvable(where, "branch", wanted)
    counts = {
        ref.sha: where.git.ahead_behind(base, ref.sha) if base and base != ref.sha else (0, 0)
        for ref in branches
    }
    items = [
        {
            "commit": _commit_json(call, where, commit_of(where, ref.sha)),
            "name": ref.name.removeprefix("refs/heads/"),
            "aheadCount": counts[ref.sha][0],
            "behindCount": counts[ref.sha][1],
            "isBaseVersion": ref.name == where.default_branch,
        }
        for ref in branches
    ]
    return json_response(items[0]) if wanted else collection(items)


def show_annotated_tag(call: Call) -> Response:
    """Show the object of an annotated tag; 404 for whatever else an id names."""
    where, sha = call.repository(), call.values["tag"]
    tag = where.git.annotated_tag(sha)
    if tag is None:
        raise ApiError(
            404,
            "GitObjectDoesNotExistException",
            f"TF401035: The object '{sha}' does not exist.",
        )
    return json_response(
        {
            "taggedObject": {"objectId": tag.tagged, "objectType": "commit"},
            "taggedBy": shapes.signature(tag.tagger),
            "name": tag.name,
            "message": tag.message,
            "objectId": sha,
            "url": f"{_url(call, where)}/annotatedtags/{sha}",
        }
    )


# Commits


def list_commits(call: Call) -> Response:
    """List the history of a branch, tag or commit, newest first; comments are cut to a line."""
    where = call.repository()
    if where.default_branch is None:
        return collection([])
    query = call.query
    version = query.text("itemVersion.version") or where.default_branch.removeprefix("refs/heads/")
    tip = _version(where, query.text("itemVersion.versionType") or "branch", version)
    arguments = [
        f"--skip={query.number('$skip', 0)}",
        f"--max-count={query.number('$top', PAGE_SIZE)}",
    ]
    for name, option in (("author", "author"), ("fromDate", "since"), ("toDate", "until")):
        if value := query.text(name):
            arguments.append(f"--{option}={value}")
    path = (query.text("itemPath") or "").strip("/")
    found = where.git.log(*arguments, tip, "--", *([path] if path else []))
    return collection(listed_commit(call, where, one) for one in found)


def listed_commit(call: Call, where: Repository, one: Commit) -> Json:
    """Return a commit as it is in lists: its comment is cut to a line."""
    shape = shapes.commit(call.base, where, one)
    first_line = one.message.partition("\n")[0]
    if first_line != one.message:
        shape |= {"comment": first_line, "commentTruncated": True}
    return shape | {"remoteUrl": _commit_web_url(call, where, one.sha)}


def list_commits_by_id(call: Call) -> Response:
    """List the commits whose ids were sent, as far as they exist."""
    where = call.repository()
    known = [sha for sha in call.json().get("ids", []) if where.git.is_commit(sha)]
    return collection(listed_commit(call, where, where.git.commit(sha)) for sha in known)


def show_commit(call: Call) -> Response:
    """Show one commit with its push; `changeCount` adds that many changes."""
    where = call.repository()
    commit = commit_of(where, call.values["commit"])
    shape = _commit_json(call, where, commit)
    push = next((one for one in where.pushes if commit.sha in one.commits), None)
    if push:
        shape["push"] = {
            "pushId": push.id,
            "date": shapes.timestamp(push.date),
            "pushedBy": shapes.identity(call.base, push.pushed_by),
        }
    count = call.query.number("changeCount", 0)
    if count:
        changes = _changes(call, where, _parent(commit), commit.sha)
        shape["changes"] = changes[:count]
        shape["changeCounts"] = _counts(changes)
    return json_response(shape)


def _commit_json(call: Call, where: Repository, one: Commit) -> Json:
    shape = shapes.commit(call.base, where, one)
    web = _commit_web_url(call, where, one.sha)
    return shape | {
        "treeId": one.tree,
        "parents": list(one.parents),
        "remoteUrl": web,
        "_links": {
            "self": {"href": shape["url"]},
            "repository": {"href": _url(call, where)},
            "web": {"href": web},
            "changes": {"href": f"{shape['url']}/changes"},
        },
    }


def commit_changes(call: Call) -> Response:
    """List what a commit changed compared with its first parent."""
    where = call.repository()
    commit = commit_of(where, call.values["commit"])
    changes = _changes(call, where, _parent(commit), commit.sha)
    skip = call.query.number("skip", 0)
    shown = changes[skip : skip + call.query.number("top", len(changes))]
    return json_response({"changeCounts": _counts(changes), "changes": shown})


def compare(call: Call) -> Response:
    """Compare two versions; `diffCommonCommit` compares with their merge base instead."""
    where, query = call.repository(), call.query
    default = (where.default_branch or "").removeprefix("refs/heads/")
    versions = [
        _version(
            where,
            query.text(f"{side}VersionType", f"{side}VersionDescriptor.versionType") or "branch",
            query.text(f"{side}Version", f"{side}VersionDescriptor.version") or default,
        )
        for side in ("base", "target")
    ]
    base, target = versions
    common = where.git.merge_base(base, target)
    start = common if common and query.flag("diffCommonCommit") else base
    changes = _changes(call, where, start, target)
    skip = query.number("$skip", 0)
    shown = changes[skip : skip + query.number("$top", PAGE_SIZE)]
    ahead, behind = where.git.ahead_behind(base, target)
    return json_response(
        {
            "allChangesIncluded": skip + len(shown) >= len(changes),
            "changeCounts": _counts(changes),
            "changes": shown,
            "commonCommit": common,
            "baseCommit": base,
            "targetCommit": target,
            "aheadCount": ahead,
            "behindCount": behind,
        }
    )


def _changes(call: Call, where: Repository, base: str, target: str) -> list[Json]:
    changes = where.git.changes(base, target)
    shown = [_change(call, where, target, change) for change in changes]
    shown += [_rename_source(call, where, target, change) for change in changes if change.old_path]
    return sorted(shown, key=lambda shape: str(shape["item"]["path"]))


def _change(call: Call, where: Repository, commit: str, change: Change) -> Json:
    item = _item(call, where, commit, change.path, change.is_folder)
    if change.new_object != NO_OBJECT:
        item["objectId"] = change.new_object
    if change.old_object != NO_OBJECT:
        item["originalObjectId"] = change.old_object
    if change.old_path is None:
        return {"item": item, "changeType": CHANGE_NAMES[change.letter]}
    is_same = change.old_object == change.new_object
    return {
        "item": item,
        "changeType": "rename" if is_same else "edit, rename",
        "sourceServerItem": f"/{change.old_path}",
    }


def _rename_source(call: Call, where: Repository, commit: str, change: Change) -> Json:
    item = _item(call, where, commit, change.old_path or "", change.is_folder)
    item["originalObjectId"] = change.old_object
    return {"item": item, "changeType": "delete, sourceRename"}


def _item(call: Call, where: Repository, commit: str, path: str, is_folder: bool) -> Json:
    item: Json = {
        "gitObjectType": "tree" if is_folder else "blob",
        "commitId": commit,
        "path": f"/{path}",
        "url": f"{_url(call, where)}/items/{path}?versionType=Commit&version={commit}",
    }
    if is_folder:
        item["isFolder"] = True
    return item


def _counts(changes: Iterable[Json]) -> dict[str, int]:
    names = Counter(change["changeType"] for change in changes)
    return {", ".join(w.capitalize() for w in key.split(", ")): n for key, n in names.items()}


# Pushes


def list_pushes(call: Call) -> Response:
    """List pushes, newest first; refUpdates only when asked for."""
    where, query = call.repository(), call.query
    _ = where.git  # a repository from the template has its push once it exists on disk
    ref, pusher = query.text("refName"), query.text("pusherId")
    start, end = query.moment("fromDate"), query.moment("toDate")
    found = [
        push
        for push in reversed(where.pushes)
        if (ref is None or any(update.name == ref for update in push.ref_updates))
        and (pusher is None or push.pushed_by.id == pusher)
        and (start is None or push.date >= start)
        and (end is None or push.date <= end)
    ]
    skip = query.number("$skip", 0)
    shown = found[skip : skip + query.number("$top", PAGE_SIZE)]
    return collection(_push(call, where, one, query.flag("includeRefUpdates")) for one in shown)


def show_push(call: Call) -> Response:
    """Show one push with its commits."""
    where = call.repository()
    _ = where.git
    push = next((one for one in where.pushes if str(one.id) == call.values["push"]), None)
    if push is None:
        key = call.values["push"]
        raise ApiError(404, "GitPushNotFoundException", f"TF401028: The push {key} does not exist.")
    shape = _push(call, where, push, call.query.flag("includeRefUpdates"))
    shas = push.commits[: call.query.number("includeCommits", PAGE_SIZE)]
    shape["commits"] = [listed_commit(call, where, where.git.commit(sha)) for sha in shas]
    return json_response(shape)


def _push(call: Call, where: Repository, push: Push, with_refs: bool) -> Json:
    shape: Json = {
        "pushedBy": shapes.identity(call.base, push.pushed_by),
        "pushId": push.id,
        "date": shapes.timestamp(push.date),
        "repository": shapes.repository(call.base, where),
        "url": f"{_url(call, where)}/pushes/{push.id}",
    }
    if with_refs:
        shape["refUpdates"] = [
            {
                "repositoryId": where.id,
                "name": update.name,
                "oldObjectId": update.old,
                "newObjectId": update.new,
            }
            for update in push.ref_updates
        ]
    return shape


# Content


def show_item(call: Call) -> Response:
    """Return a file: JSON when asked for, with `includeContent` its text too, else its bytes.

    With a `recursionLevel` it is a list of the folder and of what is in it.
    """
    where, query = call.repository(), call.query
    path = (query.text("path", "scopePath") or call.values.get("path", "")).strip("/")
    default = (where.default_branch or "").removeprefix("refs/heads/")
    version = query.text("versionDescriptor.version", "version") or default
    kind = query.text("versionDescriptor.versionType", "versionType") or "branch"
    commit = _version(where, kind, version)
    entry = where.git.entry(commit, path)
    if entry is None:
        raise ApiError(
            404,
            "GitItemNotFoundException",
            f"TF401174: The item '{path}' could not be found in the repository '{where.name}' at "
            f"the version specified by '<{kind}: {version}>'.",
        )
    is_folder = entry.kind == "tree"
    level = (query.text("recursionLevel") or "none").lower()
    if level != "none":
        if not is_folder or level not in {"full", "onelevel"}:
            raise ApiError(400, "InvalidArgumentValueException", f"No {level} list of {path}.")
        below = where.git.entries(commit, path, deep=level == "full")
        listed = [(path, entry), *below]
        return collection(_listed_item(call, where, commit, *one) for one in listed)
    if not is_folder and not _wants_json(call):
        return Response(where.git.blob(entry.sha), content_type="application/octet-stream")
    item: dict[str, Any] = {"objectId": entry.sha, **_item(call, where, commit, path, is_folder)}
    if query.flag("includeContent") and not is_folder:
        item["content"] = where.git.blob(entry.sha).decode(errors="replace")
    return json_response(item)


def _listed_item(call: Call, where: Repository, commit: str, path: str, entry: Entry) -> Json:
    """Return an item of a list; a submodule is of the type "commit"."""
    item = _item(call, where, commit, path, entry.kind == "tree")
    return {"objectId": entry.sha, **item, "gitObjectType": entry.kind}


def _wants_json(call: Call) -> bool:
    wanted = call.query.text("$format") or ""
    return wanted.lower() == "json" or "application/json" in call.request.headers.get("Accept", "")


# Shared


def _url(call: Call, where: Repository) -> str:
    return shapes.repository_url(call.base, where)


def _commit_web_url(call: Call, where: Repository, sha: str) -> str:
    return f"{shapes.web_url(call.base, where)}/commit/{sha}"


def _parent(commit: Commit) -> str:
    return commit.parents[0] if commit.parents else EMPTY_TREE


def commit_of(where: Repository, sha: str) -> Commit:
    """Return a commit by its sha; 404 if there is none."""
    return where.git.commit(_version(where, "commit", sha))


def _version(where: Repository, kind: str, name: str) -> str:
    """Return the commit that a version descriptor names; 404 if there is none."""
    form = _TYPES.get(kind.lower())
    is_sha = len(name) == 40 and all(character in "0123456789abcdefABCDEF" for character in name)
    if form is None or not name or (kind.lower() == "commit" and not is_sha):
        raise _unresolvable(where, kind, name)
    try:
        found = where.git.resolve(form.format(name))
    except (GitError, ValueError):
        found = None
    if found is None:
        raise _unresolvable(where, kind, name)
    return found


def _unresolvable(where: Repository, kind: str, name: str) -> ApiError:
    return ApiError(
        404,
        "GitUnresolvableToCommitException",
        f"TF401175: The version descriptor <{kind.capitalize()}: {name}> could not be resolved to "
        f"a version in the repository {where.name}",
    )


_READ = frozenset({"vso.code"})
PREVIEW_ONLY = frozenset({show_annotated_tag})
_ALL = "[{project}/]_apis/git/repositories"
_ONE = f"{_ALL}/{{repository}}"
_IN_PROJECT = "{project}/_apis/git/repositories/{repository}"
ROUTES = [
    Route("GET", _ALL, list_repositories, _READ),
    Route("GET", _ONE, show_repository, _READ),
    Route("GET", f"{_ONE}/refs[/{{*filter}}]", list_refs, _READ),
    Route("GET", f"{_IN_PROJECT}/annotatedtags/{{tag}}", show_annotated_tag, _READ),
    Route("GET", f"{_ONE}/stats/branches[/{{*name}}]", branch_statistics, _READ),
    Route("GET", f"{_ONE}/commits", list_commits, _READ),
    Route("POST", f"{_ONE}/commitsbatch", list_commits_by_id, _READ),
    Route("GET", f"{_ONE}/commits/{{commit}}", show_commit, _READ),
    Route("GET", f"{_ONE}/commits/{{commit}}/changes", commit_changes, _READ),
    Route("GET", f"{_ONE}/diffs/commits", compare, _READ),
    Route("GET", f"{_ONE}/pushes", list_pushes, _READ),
    Route("GET", f"{_ONE}/pushes/{{push}}", show_push, _READ),
    Route("GET", f"{_ONE}/items[/{{*path}}]", show_item, _READ),
]
