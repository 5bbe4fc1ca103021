"""Versions of Terraform and OpenTofu, and constraints on them.

The rules are those of "Version Constraints" in Terraform's documentation, section "Version
constraint syntax", which OpenTofu shares: https://developer.hashicorp.com/terraform/language/expressions/version-constraints
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, total_ordering
from typing import Any

LONGEST_CONSTRAINT = 200  # characters
_NUMBERS = 3
_VERSION = re.compile(
    r"v?(\d{1,9}(?:\.\d{1,9}){0,2})(?:-([0-9A-Za-z-]{1,40}(?:\.[0-9A-Za-z-]{1,40}){0,5}))?",
    re.ASCII,
)
_CONDITION = re.compile(r"(!=|>=|<=|~>|=|>|<)?\s*(\S+)")


class InvalidVersion(ValueError):
    """A text is no version, or no constraint; the text says why, and what to write."""


@total_ordering
@dataclass(frozen=True)
class Version:
    """A version like 1.11.4 or 1.12.0-rc1, ordered as by Semantic Versioning 2.0.0, section 11."""

    numbers: tuple[int, ...]
    prerelease: str = ""

    def __str__(self) -> str:
        released = ".".join(map(str, self.numbers))
        return f"{released}-{self.prerelease}" if self.prerelease else released

    def __lt__(self, other: "Version") -> bool:
        return self._order < other._order

    @cached_property
    def _order(self) -> tuple[Any, ...]:
        # A prerelease comes before its release, and numbers in it before words.
        parts = [
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in self.prerelease.split(".")
        ]
        return (*self.numbers, not self.prerelease, parts if self.prerelease else [])


def read_version(text: str) -> Version:
    """Read a version; numbers that are left out are 0. Raises InvalidVersion."""
    return _read(text.strip())[0]


def read_exact(text: str) -> Version | None:
    """Read a version of which nothing is left out; None if the text is anything else."""
    try:
        version, written = _read(text.strip())
    except InvalidVersion:
        return None
    return version if written == _NUMBERS else None


def _read(text: str) -> tuple[Version, int]:
    """Return a version, and how many of its numbers are written. Raises InvalidVersion."""
    found = _VERSION.fullmatch(text)
    if found is None:
        raise InvalidVersion(f"“{text[:50]}” is not a version like 1.11.4.")
    numbers = tuple(map(int, found[1].split(".")))
    filled = numbers + (0,) * (_NUMBERS - len(numbers))
    return Version(filled, found[2] or ""), len(numbers)


@dataclass(frozen=True)
class Condition:
    """One part of a constraint, like `>= 1.5`; `written` is how many of the numbers are there."""

    operator: str
    version: Version
    written: int

    def allows(self, version: Version) -> bool:
        if version.prerelease:  # only one that is named exactly
            return self.operator == "=" and version == self.version
        return _COMPARISONS[self.operator](version, self)

    def __str__(self) -> str:
        numbers = ".".join(map(str, self.version.numbers[: self.written]))
        prerelease = self.version.prerelease
        shown = f"{numbers}-{prerelease}" if prerelease else numbers
        return shown if self.operator == "=" else f"{self.operator} {shown}"


def _is_close(version: Version, condition: Condition) -> bool:
    """Say whether only the last number that is written is larger, if any."""
    same = condition.written - 1
    is_same = version.numbers[:same] == condition.version.numbers[:same]
    return is_same and version >= condition.version


_COMPARISONS: Mapping[str, Callable[[Version, Condition], bool]] = {
    "=": lambda version, condition: version == condition.version,
    "!=": lambda version, condition: version != condition.version,
    ">": lambda version, condition: version > condition.version,
    ">=": lambda version, condition: version >= condition.version,
    "<": lambda version, condition: version < condition.version,
    "<=": lambda version, condition: version <= condition.version,
    "~>": _is_close,
}


@dataclass(frozen=True)
class Constraint:
    """Conditions that a version has to meet, all of them."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.conditions))

    def __and__(self, other: "Constraint") -> "Constraint":
        return Constraint((*self.conditions, *other.conditions))

    def allows(self, version: Version) -> bool:
        return all(condition.allows(version) for condition in self.conditions)

    @property
    def exact(self) -> Version | None:
        """The only version that can meet it, if it names one."""
        named = [one.version for one in self.conditions if one.operator == "="]
        return named[0] if named else None


def read_choice(text: str) -> Constraint:
    """Read a constraint that somebody chooses a version by. Raises InvalidVersion.

    One version has all its numbers: 1.11 is 1.11.0, which is hardly ever meant.
    """
    constraint = read_constraint(text)
    for one in constraint.conditions:
        if one.operator == "=" and one.written < _NUMBERS:
            raise InvalidVersion(
                f"“{one}” is {one.version} and no later one. Write {one.version}, or "
                f"~> {one.version} for its newest patch."
            )
    return constraint


def read_constraint(text: str) -> Constraint:
    """Read a constraint like `>= 1.5, < 2.0` or `1.11.4`. Raises InvalidVersion."""
    if len(text) > LONGEST_CONSTRAINT:
        raise InvalidVersion(f"A version constraint has at most {LONGEST_CONSTRAINT} characters.")
    return Constraint(tuple(_condition(part.strip()) for part in text.split(",")))


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InvalidVersion(
            f"“{text[:50]}” is not a version constraint. Write a version like 1.11.4, or a "
            f"constraint like ~> 1.11 or >= 1.5, < 2.0."
        )
    operator = found[1] or "="
    version, written = _read(found[2])
    if version.prerelease and operator not in {"=", "!="}:
        raise InvalidVersion(
            f"“{text[:50]}” compares with a prerelease, and a prerelease can only be named "
            f"exactly, like {version}."
        )
    return Condition(operator, version, written)
