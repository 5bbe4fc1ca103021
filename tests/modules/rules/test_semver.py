"""Versions of modules, as Semantic Versioning writes and orders them."""

import random

import pytest

from modules.rules.semver import InvalidVersion, SemVer

# Section 11 of Semantic Versioning 2.0.0, and what it implies for a hyphen within a part.
IN_ORDER = [
    "0.9.10",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-11",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-alpha-x",
    "1.0.0-alpha-x.1",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "10.0.0",
]


def test_versions_are_ordered_by_precedence() -> None:
    shuffled = random.Random(0).sample(IN_ORDER, len(IN_ORDER))  # noqa: S311
    assert [str(one) for one in sorted(map(SemVer.parse, shuffled))] == IN_ORDER
    by_bytes = sorted(shuffled, key=lambda text: SemVer.parse(text).precedence)
    assert by_bytes == IN_ORDER


def test_build_metadata_is_kept_and_does_not_count() -> None:
    one, other = SemVer.parse("1.2.3+build.7"), SemVer.parse("1.2.3")
    assert str(one) == "1.2.3+build.7"
    assert one == other
    assert one.precedence == other.precedence


@pytest.mark.parametrize(
    "text",
    [
        *["", "1", "1.2", "v1.2.3", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "1.2.3-a..b"],
        *["1.2.3 ", "1.2.3-" + "a" * 100, "\uff11.2.3", "1.2.3\n", "1.2." + "9" * 19],
    ],
)
def test_what_is_no_version_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidVersion, match="is no version"):
        SemVer.parse(text)
