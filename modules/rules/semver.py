"""Versions as Semantic Versioning 2.0.0 writes and orders them.

https://semver.org/spec/v2.0.0.html, "Backus–Naur Form Grammar" and section 11, "Precedence".
"""

import re
from dataclasses import dataclass
from functools import total_ordering

LONGEST = 100
_NUMBER = r"0|[1-9][0-9]{0,17}"
_PRERELEASE = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_PATTERN = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_PRERELEASE}(?:\.{_PRERELEASE})*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?"
)


class InvalidVersion(ValueError):
    """A text that is no version; it says why."""


@total_ordering
@dataclass(frozen=True)
class SemVer:
    """A version. Build metadata belongs to its text, and counts neither for equality nor order."""

    core: tuple[int, int, int]
    prerelease: tuple[str, ...] = ()
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> "SemVer":
        """Read a version, like 1.2.3-beta.1. Raises InvalidVersion."""
        found = _PATTERN.fullmatch(text) if len(text) <= LONGEST else None
        if not found:
            raise InvalidVersion(
                f"“{text[:LONGEST]}” is no version by Semantic Versioning, like 1.2.3 or "
                f"1.2.3-beta.1."
            )
        major, minor, patch, prerelease, build = found.groups()
        parts = tuple(prerelease.split(".")) if prerelease else ()
        return cls((int(major), int(minor), int(patch)), parts, build or "")

    @property
    def is_prerelease(self) -> bool:
        return bool(self.prerelease)

    @property
    def precedence(self) -> bytes:
        """Bytes that are ordered as section 11 orders versions, and equal for equal ones."""
        core = ".".join(_ordered_number(number) for number in self.core)
        if not self.prerelease:
            return f"{core}~".encode()  # after every prerelease
        # "!" and "," come before all that a part may hold, "!" first: a shorter list is less.
        return f"{core}-{','.join(map(_ordered_part, self.prerelease))}!".encode()

    def __str__(self) -> str:
        text = ".".join(map(str, self.core))
        if self.prerelease:
            text += f"-{'.'.join(self.prerelease)}"
        return f"{text}+{self.build}" if self.build else text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SemVer):
            return NotImplemented
        return (self.core, self.prerelease) == (other.core, other.prerelease)

    def __hash__(self) -> int:
        return hash((self.core, self.prerelease))

    def __lt__(self, other: "SemVer") -> bool:
        return self.precedence < other.precedence


def _ordered_number(number: int) -> str:
    """Return a number that sorts among others as text: its length comes first."""
    text = str(number)
    return f"{len(text):03}{text}"


def _ordered_part(part: str) -> str:
    """Return a part of a prerelease that sorts: numbers come before words."""
    return f"0{_ordered_number(int(part))}" if part.isdigit() else f"1{part}"
