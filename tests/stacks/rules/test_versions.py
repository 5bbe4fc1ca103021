"""Versions and constraints, by the rules of Terraform's documentation, and as Terraform itself
obeys them."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks.rules.versions import (
    InvalidVersion,
    Version,
    read_choice,
    read_constraint,
    read_exact,
    read_version,
)
from tests.stacks.execution.tools.terraforms import installed

NUMBERS = st.integers(0, 12)
RELEASES = st.builds(lambda *numbers: Version(numbers), NUMBERS, NUMBERS, NUMBERS)
PRERELEASES = st.builds(
    lambda release, word: Version(release.numbers, word),
    RELEASES,
    st.sampled_from(["alpha", "alpha.1", "alpha.beta", "beta.2", "beta.11", "rc1"]),
)
VERSIONS = st.one_of(RELEASES, PRERELEASES)


def allows(constraint: str, version: Version | str) -> bool:
    found = read_version(version) if isinstance(version, str) else version
    return read_constraint(constraint).allows(found)


@pytest.mark.parametrize(
    ("constraint", "yes", "no"),
    [
        ("1.11.4", ["1.11.4"], ["1.11.3", "1.11.5", "1.11.4-rc1"]),
        ("= 1.11", ["1.11.0"], ["1.11.4"]),
        ("v1.11.4", ["1.11.4"], ["1.11.3"]),
        ("!= 1.5.0", ["1.5.1"], ["1.5.0", "1.6.0-beta1"]),
        (">= 1.5, < 2.0", ["1.5.0", "1.99.0"], ["1.4.9", "2.0.0", "2.0.0-beta1"]),
        ("> 1.5.0,<=1.6", ["1.5.1", "1.6.0"], ["1.5.0", "1.6.1"]),
        ("~> 1.0.4", ["1.0.4", "1.0.10"], ["1.0.3", "1.1.0"]),
        ("~> 1.1", ["1.1.0", "1.10.3"], ["1.0.9", "2.0.0"]),
        ("~> 1", ["1.0.0", "2.0.0"], ["0.15.5"]),
        ("1.12.0-rc1", ["1.12.0-rc1"], ["1.12.0", "1.12.0-rc2"]),
    ],
)
def test_the_documented_operators(constraint: str, yes: list[str], no: list[str]) -> None:
    assert [one for one in [*yes, *no] if allows(constraint, one)] == yes


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ",", "1.11.4,", "latest", "latest:^1.11", "=> 1.5", "~ 1.5", "^1.5", "1.x",
        "1.5.0.1", "== 1.5", ">= 1.5 < 2", "١.٥", ">= 1.5-rc1", "~> 1.5.0-beta", "1" * 10, "1.5.0-",
        "1.0.0+build", "../1.5", "1.5\0", "1.5/..", ">=", "!", "a" * 201,
    ],
)  # fmt: skip
def test_what_is_no_constraint_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidVersion) as caught:
        read_constraint(text)
    assert str(caught.value).endswith(".") and len(str(caught.value)) < 200


def test_who_chooses_one_version_writes_all_of_its_numbers() -> None:
    assert str(read_choice(">=1.5 ,<2")) == ">= 1.5, < 2"
    with pytest.raises(InvalidVersion, match=r"“1.11” is 1.11.0 and no later one. Write 1.11.0"):
        read_choice("1.11")


@given(st.text())
def test_no_text_does_anything_but_be_read_or_refused(text: str) -> None:
    try:
        constraint = read_constraint(text)
    except InvalidVersion:
        return
    assert read_constraint(str(constraint)) == constraint


@given(VERSIONS)
def test_a_version_is_read_as_it_is_written(version: Version) -> None:
    assert read_version(str(version)) == read_exact(f"v{version}") == version
    assert read_constraint(str(version)).exact == version


@given(st.lists(VERSIONS))
def test_every_prerelease_comes_before_its_release(versions: list[Version]) -> None:
    ordered = sorted(versions)
    for before, after in pairwise(ordered):
        assert before.numbers <= after.numbers
        if before.numbers == after.numbers:
            assert before.prerelease or not after.prerelease


def test_prereleases_are_ordered_as_semantic_versioning_says() -> None:
    words = ["alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1"]
    versions = [*(Version((1, 0, 0), word) for word in words), Version((1, 0, 0))]
    assert all(before < after for before, after in pairwise(versions))


@given(RELEASES, RELEASES)
def test_each_comparison_is_the_opposite_of_another(one: Version, other: Version) -> None:
    for operator, opposite in (("=", "!="), ("<", ">="), (">", "<=")):
        assert allows(f"{operator} {other}", one) != allows(f"{opposite} {other}", one)


@given(RELEASES, RELEASES, st.sampled_from([1, 2, 3]))
def test_the_pessimistic_operator_is_two_comparisons(
    version: Version, named: Version, written: int
) -> None:
    numbers = named.numbers[:written]
    low = ".".join(map(str, numbers))
    expected = allows(f">= {low}", version)
    if written > 1:
        above = [*numbers[:-2], numbers[-2] + 1]
        expected = expected and allows(f"< {'.'.join(map(str, above))}", version)
    assert allows(f"~> {low}", version) == expected


@given(PRERELEASES, VERSIONS, st.sampled_from(["!=", ">", ">=", "<", "<=", "~>"]))
def test_no_comparison_leads_to_a_prerelease(
    prerelease: Version, named: Version, operator: str
) -> None:
    release = ".".join(map(str, named.numbers))
    assert not allows(f"{operator} {release}", prerelease)


@pytest.mark.parametrize(
    "constraint",
    ["{0}", "= {0}", "!= {0}", "> {0}", "<= {0}", "~> {0}", "~> {1}.0", "~> {1}", "~> 0.15", "~> 1",
     ">= 1.5, < 2.0", ">= 99", "< {1}", "{1}"],
)  # fmt: skip
def test_terraform_itself_agrees(constraint: str, tmp_path: Path) -> None:
    program = installed()
    if program is None:
        pytest.skip("It needs Terraform on PATH.")
    said = subprocess.run([program, "version", "-json"], capture_output=True, check=True)
    version = json.loads(said.stdout)["terraform_version"]
    constraint = constraint.format(version, version.rpartition(".")[0])
    code = f'terraform {{\n  required_version = "{constraint}"\n}}\n'
    (tmp_path / "main.tf").write_text(code)
    done = subprocess.run([program, "init", "-input=false"], capture_output=True, cwd=tmp_path)
    assert (done.returncode == 0) == allows(constraint, version)
