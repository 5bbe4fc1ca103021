"""What `OPTIONS {organization}/_apis` answers: where the SDK finds each resource.

The ids are those that Microsoft's Python SDK asks for.
"""

from typing import Any

CORE_AREA = "79134c72-4a58-4b42-976c-04e7115f32bf"
_GIT = "{project}/_apis/{area}/repositories/{repositoryId}"
_PULL_REQUEST = f"{_GIT}/pullRequests/{{pullRequestId}}"
_HOOK = "_apis/{area}/Subscriptions/{subscriptionId}"
_TABLE = [
    # id, area, resource, template, resource version
    ("e81700f7-3be2-46de-8624-2eb35882fcaa", "Location", "ResourceAreas", "_apis/{resource}", 1),
    ("00d9565f-ed9c-4a06-9a50-00e7896ccab4", "Location", "ConnectionData", "_apis/{resource}", 1),
    (
        "603fe2ac-9723-48b9-88ad-09305aa6c6e1",
        "core",
        "projects",
        "_apis/{resource}/{*projectId}",
        4,
    ),
    (
        "225f7195-f9c7-4d14-ab28-a83f7ff77e1f",
        "git",
        "repositories",
        "{project}/_apis/{area}/{resource}/{repositoryId}",
        1,
    ),
    ("2d874a60-a811-4f62-9c9f-963a6ea0a55b", "git", "refs", f"{_GIT}/{{resource}}/{{*filter}}", 1),
    (
        "d5b216de-d8d5-4d32-ae76-51df755b16d3",
        "git",
        "branchStats",
        f"{_GIT}/stats/branches/{{*name}}",
        1,
    ),
    (
        "c2570c3b-5b3f-41b8-98bf-5407bfde8d58",
        "git",
        "commits",
        f"{_GIT}/{{resource}}/{{commitId}}",
        1,
    ),
    (
        "5bf884f5-3e07-42e9-afb8-1b872267bf16",
        "git",
        "changes",
        f"{_GIT}/commits/{{commitId}}/{{resource}}",
        1,
    ),
    ("615588d5-c0c7-4b88-88f8-e625306446e8", "git", "commitDiffs", f"{_GIT}/diffs/commits", 1),
    (
        "5e8a8081-3851-4626-b677-9891cc04102e",
        "git",
        "annotatedTags",
        f"{_GIT}/{{resource}}/{{objectId}}",
        1,
    ),
    ("ea98d07b-3c87-4971-8ede-a613694ffb55", "git", "pushes", f"{_GIT}/{{resource}}/{{pushId}}", 2),
    ("fb93c0db-47ed-4a31-8c20-47552878fb44", "git", "items", f"{_GIT}/{{resource}}/{{*path}}", 1),
    (
        "9946fd70-0d40-406e-b686-b4744cbbcc37",
        "git",
        "pullRequests",
        f"{_GIT}/{{resource}}/{{pullRequestId}}",
        1,
    ),
    (
        "01a46dea-7d46-4d40-bc84-319e7c260d99",
        "git",
        "pullRequests",
        "{project}/_apis/{area}/{resource}/{pullRequestId}",
        1,
    ),
    (
        "a5d28130-9cd2-40fa-9f08-902e7daa9efb",
        "git",
        "pullRequests",
        "{project}/_apis/{area}/{resource}",
        1,
    ),
    (
        "4b6702c7-aa35-4b89-9c96-b9abf6d3e540",
        "git",
        "pullRequestReviewers",
        f"{_PULL_REQUEST}/reviewers/{{reviewerId}}",
        1,
    ),
    (
        "d43911ee-6958-46b0-a42b-8445b8a0d004",
        "git",
        "pullRequestIterations",
        f"{_PULL_REQUEST}/iterations/{{iterationId}}",
        2,
    ),
    (
        "4216bdcf-b6b1-4d59-8b82-c34cc183fc8b",
        "git",
        "pullRequestIterationChanges",
        f"{_PULL_REQUEST}/iterations/{{iterationId}}/changes",
        1,
    ),
    (
        "428dd4fb-fda5-4722-af02-9313b80305da",
        "git",
        "statuses",
        f"{_GIT}/commits/{{commitId}}/{{resource}}",
        1,
    ),
    (
        "b5f6bb4f-8d1e-4d79-8d11-4c9172c99c35",
        "git",
        "pullRequestStatuses",
        f"{_PULL_REQUEST}/statuses/{{statusId}}",
        1,
    ),
    (
        "75cf11c5-979f-4038-a76e-058a06adf2bf",
        "git",
        "pullRequestIterationStatuses",
        f"{_PULL_REQUEST}/iterations/{{iterationId}}/statuses/{{statusId}}",
        1,
    ),
    (
        "ab6e2e5d-a0b7-4153-b64a-a4efe0d49449",
        "git",
        "pullRequestThreads",
        f"{_PULL_REQUEST}/threads/{{threadId}}",
        1,
    ),
    (
        "965a3ec7-5ed8-455a-bdcb-835a5ea7fe7b",
        "git",
        "pullRequestThreadComments",
        f"{_PULL_REQUEST}/threads/{{threadId}}/comments/{{commentId}}",
        1,
    ),
    (
        "dd3b8bd6-c7fc-4cbd-929a-933d9c011c9d",
        "Security",
        "Permissions",
        "_apis/{resource}/{securityNamespaceId}/{permissions}",
        2,
    ),
    (
        "cf1faa59-1b63-4448-bf04-13d981a46f5d",
        "Security",
        "PermissionEvaluationBatch",
        "_apis/{area}/{resource}",
        1,
    ),
    (
        "fc50d02a-849f-41fb-8af1-0a5216103269",
        "hooks",
        "Subscriptions",
        "_apis/{area}/{resource}/{subscriptionId}",
        1,
    ),
    (
        "c7c3c1cf-9e05-4c0d-a425-a0f922c2c6ed",
        "hooks",
        "SubscriptionsQuery",
        "_apis/{area}/{resource}",
        1,
    ),
    (
        "1139462c-7e27-4524-a997-31b9b73551fe",
        "hooks",
        "TestNotifications",
        "_apis/{area}/{resource}",
        1,
    ),
    (
        "0c62d343-21b0-4732-997b-017fde84dc28",
        "hooks",
        "Notifications",
        f"{_HOOK}/{{resource}}/{{notificationId}}",
        1,
    ),
    (
        "db4777cd-8e08-4a84-8ba3-c974ea033718",
        "hooks",
        "EventTypes",
        "_apis/{area}/Publishers/{publisherId}/{resource}",
        1,
    ),
    (
        "4301c514-5f34-4f5d-a145-f0ea7b5b7d19",
        "hooks",
        "Consumers",
        "_apis/{area}/{resource}/{consumerId}",
        1,
    ),
]


def locations() -> list[dict[str, Any]]:
    """Return the location of every resource that the emulator serves."""
    return [
        {
            "id": location_id,
            "area": area,
            "resourceName": resource,
            "routeTemplate": template,
            "resourceVersion": version,
            "minVersion": "1.0",
            "maxVersion": "7.2",
            "releasedVersion": "7.1",
        }
        for location_id, area, resource, template, version in _TABLE
    ]
