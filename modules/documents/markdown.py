"""Markdown as HTML, which is not safe to show yet: `modules.documents.readme` makes it so."""

from urllib.parse import urlsplit

from django.utils.html import escape, format_html
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

# Below the headings of the page that shows it.
SHIFTED_BY = 2
DEEPEST_HEADING = 6
SCHEMES = {"http", "https", "mailto"}


def to_html(markdown: str) -> str:
    """Return a README as HTML; in place of images, which would come from elsewhere, their words."""
    html: str = _parser().render(markdown)
    return html


def _parser() -> MarkdownIt:
    # CommonMark with GitHub's tables and strikethrough; HTML in it is shown as text.
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.add_render_rule("heading_open", _heading)
    parser.add_render_rule("heading_close", _heading)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_open", _link)
    return parser


def _heading(
    renderer: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    level = min(int(tokens[index].tag[1:]) + SHIFTED_BY, DEEPEST_HEADING)
    return f"<h{level}>" if tokens[index].nesting == 1 else f"</h{level}>\n"


def _image(
    renderer: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """Return what an image shows in words."""
    return escape(tokens[index].content)


def _link(
    renderer: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """Return the beginning of a link; one to a file beside the README leads nowhere here."""
    address = str(tokens[index].attrs.get("href", ""))
    is_whole = urlsplit(address).scheme in SCHEMES
    return format_html('<a href="{}">', address) if is_whole else "<a>"
