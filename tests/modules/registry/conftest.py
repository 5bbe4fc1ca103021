"""The registry over https, as Terraform and OpenTofu ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from stacks.models import Stack
from tests.tls import Https, https_to


@pytest.fixture
def https(
    kept: Stack,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Https]:
    """Stackhook over https, with a certificate that jobs and this machine's programs trust."""
    with https_to(settings.PUBLIC_URL, tmp_path) as front:
        settings.PUBLIC_URL = front.url
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(front.certificate))
        yield front
