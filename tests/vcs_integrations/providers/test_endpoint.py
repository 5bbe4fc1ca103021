"""When the linked card says that Azure DevOps will not deliver to the webhook endpoint."""

import pytest
from django.test import Client
from pytest_django import Settings

from tests.builders import store_integration
from vcs_integrations.models import Delivery
from vcs_integrations.providers.azure_devops.endpoint import refuses_endpoint

REFUSED = {
    "loopback": ("https://127.0.0.1/webhooks/", "loopback"),
    "all of the loopback range": ("https://127.8.9.10/", "loopback"),
    "loopback v6": ("https://[::1]:8443/", "loopback"),
    "10/8": ("https://10.1.2.3/", "private"),
    "172.16/12": ("https://172.31.255.1/", "private"),
    "192.168/16": ("https://192.168.1.1/", "private"),
    "carrier-grade NAT": ("https://100.64.0.1/", "private or special"),
    "link-local and metadata": ("https://169.254.169.254/", "private or special"),
    "this network": ("https://0.0.0.0/", "private or special"),
    "documentation": ("https://192.0.2.1/", "private or special"),
    "benchmarks": ("https://198.18.0.1/", "private or special"),
    "multicast": ("https://224.0.0.1/", "private or special"),
    "reserved": ("https://240.0.0.1/", "private or special"),
    "broadcast": ("https://255.255.255.255/", "private or special"),
    "unique local v6": ("https://[fd00::1]/", "private or special"),
    "link-local v6": ("https://[fe80::1]/", "private or special"),
    "multicast v6": ("https://[ff02::1]/", "private or special"),
    "documentation v6": ("https://[2001:db8::1]/", "private or special"),
    "unspecified v6": ("https://[::]/", "private or special"),
    "v4 within v6": ("https://[::ffff:10.0.0.1]/", "private or special"),
    "loopback v4 within v6": ("https://[::ffff:127.0.0.1]/", "loopback"),
    "v4 behind NAT64": ("https://[64:ff9b::10.0.0.1]/", "private or special"),
    "v4 by 6to4": ("https://[2002:a00:1::]/", "private or special"),
    "localhost": ("https://localhost:8000/", "localhost is not a public name"),
    "localhost, other case": ("https://LocalHost/", "localhost is not a public name"),
    "localhost, final dot": ("https://localhost./", "localhost is not a public name"),
    "below localhost": ("https://stackhook.localhost/", "not a public name"),
    "single label": ("https://stackhook/", "stackhook is not a public name"),
    "decimal address": ("https://2130706433/", "not a public name"),
    ".local": ("https://stackhook.local/", "not a public name"),
    ".local, final dot": ("https://stackhook.local./", "not a public name"),
    ".internal": ("https://stackhook.corp.internal/", "not a public name"),
    "http": ("http://stackhook.example.com/", "does not begin with https"),
    "http to a public address": ("http://20.42.5.5/", "does not begin with https"),
}
ACCEPTED = {
    "public name": "https://stackhook.example.com/webhooks/azure-devops/x/",
    "name with a port": "https://stackhook.example.com:8443/",
    "final dot": "https://stackhook.example.com./",
    "name that only starts like a private one": "https://localhost.example.com/",
    "name that only ends like a private one": "https://mylocal.example.com/",
    "public address": "https://20.42.5.5/",
    "just outside 172.16/12": "https://172.32.0.1/",
    "just outside carrier-grade NAT": "https://100.128.0.1/",
    "public address v6": "https://[2603:1030::5]/",
}


@pytest.mark.parametrize(("endpoint", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_azure_devops_refuses_is_said_with_the_reason(endpoint: str, reason: str) -> None:
    assert reason in refuses_endpoint(endpoint)


@pytest.mark.parametrize("endpoint", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_nothing_is_said_of_a_public_https_endpoint(endpoint: str) -> None:
    assert refuses_endpoint(endpoint) == ""


def test_every_reason_is_said() -> None:
    said = refuses_endpoint("http://127.0.0.1:8000/")
    assert "https" in said
    assert "loopback" in said


@pytest.mark.parametrize(
    ("public_url", "is_refused"),
    [("http://127.0.0.1:8000", True), ("https://stackhook.example.com", False)],
)
def test_the_card_says_it(
    admin: Client, settings: Settings, public_url: str, is_refused: bool
) -> None:
    store_integration()
    settings.PUBLIC_URL = public_url
    page = admin.get("/settings/vcs-providers/").content.decode()
    assert ("127.0.0.1 is a loopback address" in page) == is_refused


def test_the_card_does_not_foretell_what_deliveries_disprove(
    admin: Client, settings: Settings
) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    integration = store_integration()
    cards = "/settings/vcs-providers/"
    assert "Azure DevOps will refuse this endpoint" in admin.get(cards).content.decode()
    Delivery.objects.create(integration=integration, outcome="stored", body=b"{}")
    page = admin.get(cards).content.decode()
    assert "The real Azure DevOps would refuse this endpoint" in page
    assert "will refuse" not in page


def test_the_card_foretells_nothing_of_an_organization_on_this_machine(
    admin: Client, settings: Settings
) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    store_integration(organization_url="http://127.0.0.1:8765/fabrikam")
    page = admin.get("/settings/vcs-providers/").content.decode()
    assert "The real Azure DevOps would refuse this endpoint" in page
    assert "will refuse" not in page
