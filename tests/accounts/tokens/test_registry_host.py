"""Which host the registry has for Terraform and OpenTofu, and the variable of its token."""

import pytest

from accounts.tokens.registry_host import host_of, token_variable, why_unusable


@pytest.mark.parametrize(
    ("url", "host", "variable"),
    [
        ("https://app.example.com", "app.example.com", "TF_TOKEN_app_example_com"),
        ("https://app.example.com:443", "app.example.com", "TF_TOKEN_app_example_com"),
        ("https://APP.example.com/stack", "app.example.com", "TF_TOKEN_app_example_com"),
        (
            "https://stack-hook.example.com",
            "stack-hook.example.com",
            "TF_TOKEN_stack__hook_example_com",
        ),
        ("https://xn--caf-dma.fr", "xn--caf-dma.fr", "TF_TOKEN_xn____caf__dma_fr"),
        ("https://app.example.com:8443", "app.example.com:8443", "TF_TOKEN_app_example_com:8443"),
    ],
)
def test_the_host_of_the_public_address_names_the_variable(
    url: str, host: str, variable: str
) -> None:
    assert (host_of(url), token_variable(url)) == (host, variable)
    assert why_unusable(url) == ""


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://app.example.com", "over https only, and Stackhook is at http://app.example.com."),
        ("https://stackhook", "by its dots, and stackhook has none."),
        ("https://localhost:8443", "localhost has none."),
    ],
)
def test_what_keeps_the_programs_from_the_registry_is_said(url: str, part: str) -> None:
    assert part in why_unusable(url)
