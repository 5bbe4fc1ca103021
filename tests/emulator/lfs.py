"""Git LFS over HTTP: which objects there are, and where they are (Git LFS, "Batch API")."""

from __future__ import annotations

import hashlib
import json

from werkzeug import Request, Response

from .model import Repository

JSON_TYPE = "application/vnd.git-lfs+json"


def add_object(repository: Repository, content: bytes) -> str:
    """Keep an object, and return the text of the pointer to it."""
    oid = hashlib.sha256(content).hexdigest()
    folder = repository.git.path / "lfs"
    folder.mkdir(exist_ok=True)
    (folder / oid).write_bytes(content)
    return pointer(oid, len(content))


def pointer(oid: str, size: int) -> str:
    """Return the text that a commit has in place of an object."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"


def answer(request: Request, repository: Repository, rest: str) -> Response:
    """Answer where objects are, or send one."""
    if rest.endswith("/batch"):
        wanted = request.get_json(force=True)["objects"]
        found = {"transfer": "basic", "objects": [_where(repository, one) for one in wanted]}
        return Response(json.dumps(found), content_type=JSON_TYPE)
    file = repository.git.path / "lfs" / rest.rpartition("/")[2]
    if not file.is_file():
        return Response("The object does not exist.", 404, content_type="text/plain")
    return Response(file.read_bytes(), content_type="application/octet-stream")


def _where(repository: Repository, wanted: dict[str, object]) -> dict[str, object]:
    oid = str(wanted["oid"])
    if not (repository.git.path / "lfs" / oid).is_file():
        return wanted | {"error": {"code": 404, "message": "The object does not exist."}}
    base = repository.lfs_elsewhere or f"{repository.clone_url}/info/lfs/objects"
    headers = {"Accept": "application/vnd.git-lfs"}
    return wanted | {"actions": {"download": {"href": f"{base}/{oid}", "header": headers}}}
