"""Django's own sentences, as people read them here."""

import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.contrib.auth.password_validation import password_validators_help_texts
from django.forms import CharField, ValidationError

CATALOG = settings.BASE_DIR / "locale/en/LC_MESSAGES/django.po"
STRING = re.compile(r'^(msgid|msgid_plural|msgstr|msgstr\[\d\])((?: *".*"\n)+)', re.M)


def entries(catalog: Path) -> Iterator[dict[str, str]]:
    """Yield the entries of a catalog's source, each by the words before its strings."""
    for block in catalog.read_text().split("\n\n")[1:]:
        yield {
            word: "".join(re.findall(r'"(.*)"\n', strings))
            for word, strings in STRING.findall(block.rstrip("\n") + "\n")
        }


OURS = list(entries(CATALOG))


@pytest.mark.parametrize("entry", OURS, ids=lambda one: one["msgid"][:40])
def test_the_compiled_catalog_says_what_its_source_says(entry: dict[str, str]) -> None:
    with CATALOG.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    if "msgid_plural" in entry:
        said = [compiled.ngettext(entry["msgid"], entry["msgid_plural"], n) for n in (1, 2)]
        assert said == [entry["msgstr[0]"], entry["msgstr[1]"]]
    else:
        assert compiled.gettext(entry["msgid"]) == entry["msgstr"]


def test_each_replaces_a_sentence_of_django() -> None:
    """One that a newer Django words in another way would appear in Django's words."""
    catalogs = Path(django.__path__[0]).glob("**/locale/en/LC_MESSAGES/django.po")
    known = {one.get("msgid") for catalog in catalogs for one in entries(catalog)}
    assert {one["msgid"] for one in OURS} - known == set()


def test_people_read_ours() -> None:
    with pytest.raises(ValidationError, match=r"Fill this in\."):
        CharField().clean("")
    with pytest.raises(ValidationError, match="it has 3 characters, and 2 are the most"):
        CharField(max_length=2).clean("abc")
    assert "Not digits only." in password_validators_help_texts()
