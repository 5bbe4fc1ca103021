"""Names of modules: what addresses take, and what repositories and folders suggest."""

import pytest

from modules.rules.names import (
    Suggestion,
    as_name,
    suggested,
    why_not_name,
    why_not_system,
    why_not_tag_prefix,
)


@pytest.mark.parametrize("text", ["a", "7", "network", "key-vault", "a_b", "a" * 64, "0-0"])
def test_a_name_is_taken(text: str) -> None:
    assert why_not_name(text) == ""


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "_a", "a_", "a" * 65, "a b", "a/b", "a.b", "Network", "nätwork", "a\n"]
)
def test_what_terraform_or_people_confuse_is_no_name(text: str) -> None:
    assert "letter or digit first and last" in why_not_name(text)


@pytest.mark.parametrize("text", ["aws", "azurerm", "7", "a" * 64])
def test_a_system_is_taken(text: str) -> None:
    assert why_not_system(text) == ""


@pytest.mark.parametrize("text", ["", "azure-rm", "a_b", "a" * 65, "AWS", "aws\n"])
def test_what_is_no_system_is_refused(text: str) -> None:
    assert "letters and digits" in why_not_system(text)


@pytest.mark.parametrize("text", ["", "vpc", "modules/vpc", "a-b_c", "v1"])
def test_a_prefix_of_tags_is_taken(text: str) -> None:
    assert why_not_tag_prefix(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        *("/vpc", "vpc/", "a//b", "a..b", "a.", ".a", "a/.b", "a.lock", "a.lock/b", "@", "a@{b"),
        *("a b", "a~b", "a^b", "a:b", "a?", "a*", "[a", "a\\b", "a\x7f", "a\n"),
    ],
)
def test_what_git_refuses_in_a_tag_is_no_prefix(text: str) -> None:
    assert "Git takes no such name" in why_not_tag_prefix(text)


@pytest.mark.parametrize(
    ("repository", "folder", "name", "system", "prefix"),
    [
        ("terraform-azurerm-network", "", "network", "azurerm", ""),
        ("Terraform-AzureRM-Key-Vault", "", "key-vault", "azurerm", ""),
        ("terraform-aws-vpc", "modules/subnet", "subnet", "aws", "subnet"),
        ("modules", "terraform-google-dns", "dns", "google", "terraform-google-dns"),
        ("terraform-aws-all", "x/terraform-azurerm-dns", "dns", "azurerm", "terraform-azurerm-dns"),
        ("infrastructure", "modules/Net work", "net-work", "", ""),
        ("infrastructure", "", "", "", ""),
        ("terraform-aws-", "", "", "", ""),
        ("terraform-aws-päckchen", "", "packchen", "aws", ""),
    ],
)
def test_a_repository_and_a_folder_suggest_names(
    repository: str, folder: str, name: str, system: str, prefix: str
) -> None:
    assert suggested(repository, folder) == Suggestion(name, system, prefix)


@pytest.mark.parametrize(
    ("project", "namespace"),
    [
        ("Platform Team", "platform-team"),
        ("Größe & Maß", "groe-ma"),
        ("平台", ""),
        ("_-_", ""),
        (f"{'a' * 63}-b", "a" * 63),
    ],
)
def test_a_project_has_a_namespace_if_anything_of_its_name_can_be_one(
    project: str, namespace: str
) -> None:
    assert as_name(project) == namespace
    assert not namespace or why_not_name(namespace) == ""
