"""modules.json: what Terraform writes is read, and what the code wrote itself does no harm."""

import json

import pytest

from stacks.execution.modules.manifest import Installed, folders_of, read_manifest
from stacks.execution.tools.calls import constraints_of

DATA = "/workspace/data/modules"
GIT = "git::https://dev.azure.com/fabrikam/Web/_git/modules"


def manifest(*rows: dict[str, object]) -> bytes:
    return json.dumps({"Modules": [{"Key": "", "Source": "", "Dir": "."}, *rows]}).encode()


def row(key: str, source: str, folder: str, version: str = "") -> dict[str, object]:
    return {"Key": key, "Source": source, "Dir": folder, "Version": version}


def test_sources_of_registries_and_of_git_are_told_apart() -> None:
    one, two, three, four = read_manifest(
        manifest(
            row("one", "Stackhook.Example:8443/team/vpc/aws//modules/x", f"{DATA}/one/x", "1.2.3"),
            row("two", f"{GIT}//net/work?ref=v1%2F2", f"{DATA}/two/net/work"),
            row("two.local", "../other", f"{DATA}/two/net/other"),
            row("three", "registry.terraform.io/a/b/c", f"{DATA}/three"),  # without a version
        )
    )
    assert one.registry_address == "stackhook.example:8443/team/vpc/aws"
    assert (two.registry_address, two.git_url, two.ref) == ("", GIT.removeprefix("git::"), "v1/2")
    assert (three.registry_address, three.git_url) == ("", "")
    assert four.registry_address == ""


def test_the_folders_that_are_used_are_those_of_all_calls_in_a_package() -> None:
    installed = read_manifest(
        manifest(
            row("two", f"{GIT}//net/work", "../data/modules/two/net/work"),
            row("two.local", "../other", "../data/modules/two/net/other"),
            row("two.away", f"{GIT}//x", "../data/modules/two.away/x"),
            row("two.out", "../../..", "../data/modules/two/../secret"),
            row("twofold", f"{GIT}", "../data/modules/twofold"),
        )
    )
    assert folders_of(installed[0], installed) == ["net/other", "net/work"]
    assert folders_of(installed[-1], installed) == [""]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"Modules": 1}', b'{"Modules": [1, {"Source": 2}]}', b"{" * 1000]
)
def test_a_manifest_that_the_code_wrote_itself_does_no_harm(content: bytes) -> None:
    assert read_manifest(content) == []


@pytest.mark.parametrize("key", ["../code", "a/b", "", "a..b", ".", "a\nb", "-" * 101, "a b"])
def test_a_key_that_is_no_path_of_calls_is_left_out(key: str) -> None:
    assert read_manifest(manifest(row(key, GIT, f"{DATA}/{key}"))) == []


@pytest.mark.parametrize(
    "source", ["host/a/b", "host/a/b/c/d", "host/a/b/C!", "../a/b/c", "host/a b/c/d", "/a/b/c"]
)
def test_a_source_that_is_no_address_of_a_registry_is_none(source: str) -> None:
    assert Installed("one", source, "1.0.0", "").registry_address == ""


def test_constraints_are_those_of_calls_at_any_depth() -> None:
    inner = {"module_calls": {"deep": {"source": "h/a/b/c", "version_constraint": ">= 1.0,\n<2.0"}}}
    calls = {"one": {"version_constraint": "~> 1.0", "module": inner}, "two": {"source": "./x"}}
    plan = {"configuration": {"root_module": {"module_calls": calls}}}
    assert constraints_of(plan) == {"one": "~> 1.0", "one.deep": ">= 1.0, <2.0"}


@pytest.mark.parametrize(
    "plan", [{}, {"configuration": 1}, {"configuration": {"root_module": {"module_calls": [1]}}}]
)
def test_a_configuration_that_makes_no_sense_has_no_constraints(plan: dict[str, object]) -> None:
    assert constraints_of(plan) == {}


def test_a_configuration_of_any_depth_is_read_as_far_as_makes_sense() -> None:
    module: dict[str, object] = {}
    for _ in range(500):
        module = {"module_calls": {"a": {"version_constraint": "1", "module": module}}}
    assert len(constraints_of({"configuration": {"root_module": module}})) == 30
