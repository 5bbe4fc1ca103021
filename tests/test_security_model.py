"""docs/security.md: each of its claims names tests that exist."""

import re
from pathlib import Path

from django.conf import settings

MODEL = Path(settings.BASE_DIR) / "docs" / "security.md"
TEST = re.compile(r"`(test_\w+)`")


def claims() -> list[str]:
    return re.findall(r"^- .*(?:\n  .*)*", MODEL.read_text(), re.MULTILINE)


def test_each_claim_of_the_security_model_names_its_test() -> None:
    assert [claim for claim in claims() if not TEST.search(claim)] == []


def test_the_tests_that_the_security_model_names_exist() -> None:
    sources = (path.read_text() for path in (Path(settings.BASE_DIR) / "tests").rglob("*.py"))
    written = {name for text in sources for name in re.findall(r"^def (test_\w+)", text, re.M)}
    assert set(TEST.findall(MODEL.read_text())) - written == set()
