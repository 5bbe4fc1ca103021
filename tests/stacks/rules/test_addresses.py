"""Which texts are addresses of resources, and how those of a state are written."""

import pytest

from stacks.rules.addresses import LONGEST, is_resource, is_target, with_key

RESOURCES = [
    "terraform_data.network",
    "terraform_data.network[0]",
    'terraform_data.network["a"]',
    'module.a.module.b["x.y"].terraform_data.network["q\\"uote"]',
    "azurerm_subnet.größe",
    "module.data.terraform_data.a",
]
ONLY_TARGETS = [
    "module.a",
    "module.a[1].module.b",
    "data.terraform_remote_state.other",
    'module.a["data.x.y"].data.http.b',
]
NEITHER = [
    "",
    "network",
    "-destroy",
    "--help",
    "terraform_data.network -destroy",
    "terraform_data.network\n-destroy",
    "terraform_data.network;id",
    "terraform_data.network[*]",
    'terraform_data.network["a]',
    'terraform_data.network["a"]["b"]',
    "terraform_data.network[-1]",
    "1terraform.network",
    "module.a.network",
    "data.network",
    "../a.b",
    "a.b.c",
    "terraform_data." + "a" * LONGEST,
]


@pytest.mark.parametrize("text", RESOURCES)
def test_a_resource_can_be_targeted_and_replaced(text: str) -> None:
    assert is_target(text) and is_resource(text)


@pytest.mark.parametrize("text", ONLY_TARGETS)
def test_modules_and_data_sources_can_only_be_targeted(text: str) -> None:
    assert is_target(text) and not is_resource(text)


@pytest.mark.parametrize("text", NEITHER)
def test_anything_else_is_no_address(text: str) -> None:
    assert not is_target(text) and not is_resource(text)


@pytest.mark.parametrize(
    ("key", "address"),
    [
        (None, "a.b"),
        (0, "a.b[0]"),
        ("x", 'a.b["x"]'),
        ('a"b\\c', 'a.b["a\\"b\\\\c"]'),
        ("${x} %{y}", 'a.b["$${x} %%{y}"]'),
        ("two\nlines", 'a.b["two\\nlines"]'),
    ],
)
def test_keys_are_written_as_terraform_reads_them(key: object, address: str) -> None:
    assert with_key("a.b", key) == address
    assert is_resource(address)
