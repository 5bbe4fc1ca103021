"""What counts as configuration, as a state and as a backend, without running a tool."""

import json

import pytest

from stacks.execution.checkout.project_root import holds_state, read_listing
from stacks.execution.tools.backends import FILE, named_beside_ours, read_stored
from stacks.models import Tool

ADDRESS = "https://stackhook.example.com/stacks/network/state/"
ENVIRONMENT = {"TF_HTTP_ADDRESS": ADDRESS}


@pytest.mark.parametrize(
    ("entry", "terraform", "opentofu"),
    [
        ("f main.tf", True, True),
        ("f main.tf.json", True, True),
        ("l linked.tf", True, True),
        ("f main.tofu", False, True),
        ("f main.tofu.json", False, True),
        ("f .main.tf", False, False),
        ("f main.tf~", False, False),
        ("f #main.tf#", False, False),
        ("f main.tf.bak", False, False),
        ("f main.json", False, False),
        ("f main.tftest.hcl", False, False),
        ("f terraform.tfvars", False, False),
        ("f MAIN.TF", False, False),
        ("d folder.tf", False, False),
        # They only change what other files declare.
        ("f override.tf", False, False),
        ("f network_override.tf.json", False, False),
        ("f network_override.tofu", False, False),
        ("f myoverride.tf", True, True),
        ("d terraform.tfstate.d\0d terraform.tfstate.d/a.tf", False, False),
    ],
)
def test_each_tool_loads_the_files_of_its_own_names(
    entry: str, terraform: bool, opentofu: bool
) -> None:
    root = read_listing(f"{entry}\0f README.md\0".encode())
    assert bool(root.configuration(Tool.TERRAFORM)) == terraform
    assert bool(root.configuration(Tool.OPENTOFU)) == opentofu


def test_a_name_that_is_no_text_is_read() -> None:
    assert len(read_listing(b"f \xff.tf\0f two\nlines.tf\0").configuration(Tool.TERRAFORM)) == 2


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        (b"", False),
        (b'{"version": 4, "outputs": {}, "resources": []}', False),
        (b'{"version": 4, "outputs": {}, "resources": [{}]}', True),
        (b'{"version": 4, "outputs": {"a": {}}, "resources": []}', True),
        (b'{"version": 3, "modules": []}', True),
        (b"nonsense", True),
        (b"[]", True),
        (b"[" * 100_000, True),
        (b'{"serial": 1, "lineage": "a", "encrypted_data": "x"}', True),
    ],
)
def test_a_state_is_what_the_tool_would_want_to_migrate(content: bytes, holds: bool) -> None:
    assert holds_state(content) == holds


@pytest.mark.parametrize(
    ("backend", "is_ours"),
    [
        ({"type": "http", "config": {"address": None}}, True),
        ({"type": "http", "config": {"address": ADDRESS}}, True),
        ({"type": "http", "config": {}}, True),
        ({"type": "http", "config": {"address": "https://example.com/"}}, False),
        ({"type": "http", "config": {"lock_address": "https://example.com/"}}, False),
        ({"type": "http", "config": {"address": ["a"]}}, False),
        ({"type": "local", "config": {}}, False),
        ({"type": "cloud", "config": None}, False),
    ],
)
def test_only_the_http_backend_at_its_address_is_that_of_stackhook(
    backend: dict[str, object], is_ours: bool
) -> None:
    stored = read_stored(json.dumps({"version": 3, "backend": backend}).encode())
    assert stored
    assert stored.is_ours(ENVIRONMENT) == is_ours


@pytest.mark.parametrize("content", [b"", b"x", b"[]", b"{}", b'{"backend": []}'])
def test_where_no_backend_is_stored_there_is_none(content: bytes) -> None:
    assert read_stored(content) is None


def diagnostics(*found: object) -> bytes:
    return b"o:" + json.dumps({"valid": False, "diagnostics": found}).encode()


AFTER = {"summary": "Duplicate backend configuration", "range": {"filename": "b.tf"}}
BEFORE = {
    "summary": "Duplicate backend configuration",
    "detail": "The backend was previously configured at 00 b.tf:1,34-35.",
    "range": {"filename": FILE},
}
CLOUD = {
    "summary": "Both a backend and cloud configuration are present",
    "detail": f"The 'cloud' block is configured at b.tf:2,3-8; a backend is configured at {FILE}"
    ":2,3-17.",
    "range": {"filename": FILE},
}
OPENTOFU_CLOUD = CLOUD | {"summary": "Both a backend and a cloud configuration are present"}
ONE_LINE = {
    "summary": "Argument definition required",
    "detail": 'If you meant to define argument "backend", use an equals sign to assign it a value.',
    "range": {"filename": "b.tf"},
    "snippet": {"context": "terraform"},
}
ELSEWHERE = ONE_LINE | {"snippet": {"context": 'resource "a" "b"'}}
OTHER = {"summary": "Module not installed", "detail": "", "range": None}


@pytest.mark.parametrize(
    ("printed", "file"),
    [
        (diagnostics(OTHER, AFTER), "b.tf"),
        (diagnostics(BEFORE), "00 b.tf"),
        (diagnostics(CLOUD), "b.tf"),
        (diagnostics(OPENTOFU_CLOUD), "b.tf"),
        (diagnostics(ONE_LINE), "b.tf"),
        (diagnostics(ELSEWHERE), None),
        (diagnostics({"summary": "Duplicate backend configuration"}), ""),
        (diagnostics(OTHER), None),
        (diagnostics(None), None),
        (diagnostics(), None),
        (b"", None),
        (b"[]", None),
    ],
)
def test_the_file_that_names_another_backend_is_found(printed: bytes, file: str | None) -> None:
    assert named_beside_ours(printed) == file
