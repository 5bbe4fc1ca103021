"""READMEs of modules as HTML that is safe to show, whatever their authors wrote."""

import nh3
from django.utils.safestring import SafeString, mark_safe

from modules.documents.markdown import SCHEMES

TAGS = {
    *{"a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol"},
    *{"p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"},
}
ATTRIBUTES = {"a": {"href"}, "ol": {"start"}}


def render(readme: str) -> SafeString:
    """Return a README, as it is stored with a version, without anything that is not listed here."""
    cleaned = nh3.clean(
        readme,
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        link_rel="nofollow noopener noreferrer",
    )
    return mark_safe(cleaned)  # noqa: S308 (the sanitizer's own output)
