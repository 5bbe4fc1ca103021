"""What people may do beyond the scopes of their tokens: rights by project and by repository.

Namespaces, bits and tokens are those of Azure DevOps ("Security namespace and permission
reference"). Everybody may do everything that is not denied.
"""

from __future__ import annotations

from dataclasses import dataclass

GIT = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"
SERVICE_HOOKS = "cb594ebe-87dd-4fc9-ac2c-6a10a4c92046"


@dataclass(frozen=True)
class Right:
    """A permission: its namespace, its bit there and what the service calls it."""

    namespace: str
    bit: int
    title: str


RIGHTS = {
    "read": Right(GIT, 2, "GenericRead"),
    "contribute": Right(GIT, 4, "GenericContribute"),
    "contribute_to_pull_requests": Right(GIT, 16384, "PullRequestContribute"),
    "view_subscriptions": Right(SERVICE_HOOKS, 1, "View Subscriptions"),
    "edit_subscriptions": Right(SERVICE_HOOKS, 2, "Edit Subscription"),
    "delete_subscriptions": Right(SERVICE_HOOKS, 4, "Delete Subscriptions"),
}


@dataclass(frozen=True)
class Place:
    """Where a rule holds: a repository, a project, or the organization if both are empty."""

    project_id: str = ""
    repository_id: str = ""

    @property
    def around(self) -> list[Place]:
        """Itself and what it lies in, from the inside out."""
        return [self, Place(self.project_id), Place()]

    def holds(self, other: Place) -> bool:
        """Whether the other one lies in it or is the same."""
        return self in other.around


@dataclass(frozen=True)
class Rule:
    """One right allowed or denied to one person at one place."""

    user: str
    right: str
    place: Place
    is_allowed: bool

    def __post_init__(self) -> None:
        if self.right not in RIGHTS:
            raise ValueError(f"No right '{self.right}'. There are: {', '.join(RIGHTS)}")
        if self.place.repository_id and RIGHTS[self.right].namespace != GIT:
            raise ValueError(f"The right '{self.right}' is one of a project, not of a repository.")


def with_rule(rules: list[Rule], added: Rule) -> list[Rule]:
    """Return the rules with another one, which takes the place of all that lie within it."""
    kept = [
        one
        for one in rules
        if (one.user, one.right) != (added.user, added.right) or not added.place.holds(one.place)
    ]
    return [*kept, added]


def is_allowed(rules: list[Rule], user: str, right: str, place: Place) -> bool:
    """Return whether a person has a right at a place; the nearest rule decides."""
    found = {one.place: one.is_allowed for one in rules if (one.user, one.right) == (user, right)}
    return next((found[one] for one in place.around if one in found), True)


def place_of(token: str) -> Place:
    """Return the place that a security token names, such as `repoV2/{project}/{repository}`."""
    parts = [*token.lower().strip("/").split("/"), "", ""]
    return Place(parts[1], parts[2])


def has_bits(rules: list[Rule], user: str, namespace: str, bits: int, token: str) -> bool:
    """Return whether a person has all permissions of a bit mask; a bit nobody knows is denied."""
    known = {one.bit: name for name, one in RIGHTS.items() if one.namespace == namespace.lower()}
    wanted = [1 << number for number in range(bits.bit_length()) if bits >> number & 1]
    place = place_of(token)
    return all(bit in known and is_allowed(rules, user, known[bit], place) for bit in wanted)
