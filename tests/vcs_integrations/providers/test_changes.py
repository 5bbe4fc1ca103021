"""Lists of changes: the shapes that were recorded, and those that no path can be read from."""

from collections.abc import Callable
from typing import Any

import pytest
import responses

from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import CallLimits, Problem, ProviderError, RemoteChange

ORGANIZATION = "https://dev.azure.com/fabrikam"
REPOSITORY = f"{ORGANIZATION}/_apis/git/repositories/r"
REVISION = f"{REPOSITORY}/pullRequests/8/iterations/1/changes"
Read = Callable[[list[dict[str, Any]]], list[RemoteChange]]


def client() -> AzureDevOpsClient:
    return AzureDevOpsClient(ORGANIZATION, "token", CallLimits(5, 10, 0))


def of_revision(entries: list[dict[str, Any]]) -> list[RemoteChange]:
    with responses.RequestsMock() as azure:
        azure.get(REVISION, json={"changeEntries": entries, "nextSkip": 0, "nextTop": 0})
        return client().revision_changes("r", 8, 1)


def of_comparison(entries: list[dict[str, Any]]) -> list[RemoteChange]:
    answer = {"changes": entries, "allChangesIncluded": True}
    with responses.RequestsMock() as azure:
        azure.get(f"{REPOSITORY}/diffs/commits", json=answer)
        found = client().changes("r", "a" * 40, "b" * 40, from_merge_base=True)
    return list(found.changes)


both = pytest.mark.parametrize("read", [of_revision, of_comparison])


def entry(words: object, path: object = None, **more: object) -> dict[str, Any]:
    """Return a change; an item's further members are given as `item`."""
    item = {"path": path} | dict(more.pop("item", {}))  # type: ignore[call-overload]
    return {"changeType": words, "item": item, **more}


@both
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (entry("add", "/a.tf"), RemoteChange("added", "a.tf")),
        (entry("edit", "/a.tf"), RemoteChange("modified", "a.tf")),
        (entry("Edit", "a.tf"), RemoteChange("modified", "a.tf")),
        (entry("edit, encoding", "/a.tf"), RemoteChange("modified", "a.tf")),
        (entry("property", "/a.tf"), RemoteChange("modified", "a.tf")),
        (entry("delete", "/a.tf"), RemoteChange("deleted", "a.tf")),
        (entry("delete", None, originalPath="/a.tf"), RemoteChange("deleted", "a.tf")),
        (entry("delete", "", originalPath="/a.tf"), RemoteChange("deleted", "a.tf")),
        (entry("delete", "/", originalPath="/a.tf"), RemoteChange("deleted", "a.tf")),
        (entry("delete", "/a.tf", originalPath="/a.tf"), RemoteChange("deleted", "a.tf")),
        (entry("edit, delete", None, originalPath="/a.tf"), RemoteChange("deleted", "a.tf")),
        ({"changeType": "delete", "originalPath": "/a.tf"}, RemoteChange("deleted", "a.tf")),
        (entry("delete, sourceRename", "/a.tf"), RemoteChange("deleted", "a.tf")),
        (entry("undelete", "/a.tf"), RemoteChange("added", "a.tf")),
        (entry("rename", "/b.tf", originalPath="/a.tf"), RemoteChange("renamed", "b.tf", "a.tf")),
        (
            entry("edit, rename", "/b.tf", sourceServerItem="/a.tf"),
            RemoteChange("renamed", "b.tf", "a.tf"),
        ),
        (
            entry("edit", "/b.tf", originalPath="/a.tf"),
            RemoteChange("modified", "b.tf", "a.tf"),
        ),
        # A submodule
        (
            entry("edit", "/m", item={"gitObjectType": "commit"}),
            RemoteChange("modified", "m", is_submodule=True),
        ),
        (entry("edit", "/größe/日本 é.tf"), RemoteChange("modified", "größe/日本 é.tf")),
    ],
)
def test_a_change_has_the_paths_of_both_its_ends(
    read: Read, change: dict[str, Any], expected: RemoteChange
) -> None:
    assert read([change]) == [expected]


@both
@pytest.mark.parametrize(
    "change",
    [
        *(entry("edit", path) for path in (None, "", "/", "//", 7, ["/a.tf"], "/\ud800.tf")),
        *(entry("delete", None, originalPath=path) for path in (None, "", "/", 7)),
        entry("delete"),
        entry("edit", None, originalPath="/a.tf"),
        entry("rename", None, originalPath="/a.tf"),
        entry("delete, rename", None, originalPath="/a.tf"),
        entry("delete, sourceRename"),
        entry("add", None, item={"gitObjectType": "blob", "isFolder": False}),
        {"changeType": "edit"},
        {"changeType": "edit", "item": "/a.tf"},
        {"changeType": "edit", "item": None},
        *(entry(words, "/a.tf") for words in (None, "", 16, ["delete"])),
        # What changed in a folder of which no file is listed
        entry("delete", "/network", item={"isFolder": True}),
        entry("delete", None, originalPath="/network", item={"gitObjectType": "tree"}),
        entry("edit", None, item={"gitObjectType": "tree"}),
    ],
)
def test_a_change_without_a_readable_path_is_returned_without_one(
    read: Read, change: dict[str, Any]
) -> None:
    assert "" in [one.path for one in read([entry("edit", "/docs/a.md"), change])]


@both
def test_folders_and_the_sources_of_renames_are_left_out_where_the_files_are_listed(
    read: Read,
) -> None:
    folder = {"gitObjectType": "tree"}
    found = read(
        [
            entry("edit", "/", item=folder),
            entry("edit", "/new", item=folder),
            entry("edit, rename", "/new/b.tf", sourceServerItem="/old/a.tf"),
            entry("delete", "/old", item=folder),
            entry("delete, sourceRename", "/old/a.tf"),
            entry("delete, sourceRename", "/old/elsewhere.tf"),
        ]
    )
    assert found == [
        RemoteChange("renamed", "new/b.tf", "old/a.tf"),
        RemoteChange("deleted", "old/elsewhere.tf"),
    ]


@pytest.mark.parametrize("following", ["2000", 0.5, -1, True])
def test_a_list_that_names_no_next_page_is_no_answer(following: object) -> None:
    answer = {"changeEntries": [entry("edit", "/a.tf")], "nextSkip": following}
    with responses.RequestsMock() as azure, pytest.raises(ProviderError) as raised:
        azure.get(REVISION, json=answer)
        client().revision_changes("r", 8, 1)
    assert raised.value.problem == Problem.NOT_THE_PROVIDER
