"""What pages are made of, and the text that a click pushes."""

from __future__ import annotations

from typing import TypeAlias
from urllib.parse import quote

from markupsafe import Markup
from werkzeug import Response

from .model import Organization, Project, Repository
from .statuses import Status

Html: TypeAlias = Markup
_PAGE = Markup(
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>{title} - Azure DevOps emulator</title>"
    '<link rel="icon" href="data:,">'
    '<link rel="stylesheet" href="/_emulator/style.css"></head><body>'
    '<header><strong>Azure DevOps emulator</strong><nav aria-label="Breadcrumb">{trail}</nav>'
    "</header><main><h1>{title}</h1>{notice}{content}</main></body></html>"
)
SECTION = Markup("<section><h2>{}</h2>{}</section>")
NOTICE = Markup('<section class="notice {}" role="status"><p>{}</p></section>')
LINK = Markup('<a href="{}">{}</a>')
_STATUS = Markup(
    '<code>{context}</code> <span class="{kind}">{state}</span> {about} '
    "<small>{where}by {author} on {date:%Y-%m-%d %H:%M:%S} UTC</small>"
)
_ROWS = Markup('<ul class="rows">{}</ul>')
_ROW = Markup("<li>{}</li>")
_KINDS = {"succeeded": "good", "failed": "bad", "error": "bad"}


def page(
    title: str, trail: Html, content: Html, notice: Html | None = None, status: int = 200
) -> Response:
    """Return a whole page; the trail leads to what it belongs to."""
    body = _PAGE.format(title=title, trail=trail, notice=notice or "", content=content)
    return Response(body, status, content_type="text/html; charset=utf-8")


def listing(rows: list[Html]) -> Html:
    """Return rows as a list, or a word that there are none."""
    if not rows:
        return Markup('<p class="soft">None yet.</p>')
    return _ROWS.format(Markup("").join(_ROW.format(row) for row in rows))


def status_row(one: Status, where: str = "") -> Html:
    """Return a status as a row; `where` says what it was posted to."""
    is_link = one.target_url.startswith(("http://", "https://"))
    text = one.description or ("Details" if is_link else "")
    return _STATUS.format(
        context=one.context,
        about=LINK.format(one.target_url, text) if is_link else text,
        where=where,
        author=one.created_by.name,
        date=one.date,
        kind=_KINDS.get(one.state, ""),
        state=one.state,
    )


def project_path(project: Project) -> str:
    """Return the path of a project's page."""
    return f"/{quote(project.organization.name)}/{quote(project.name)}"


def repository_path(repository: Repository) -> str:
    """Return the path of a repository's page."""
    return f"{project_path(repository.project)}/_git/{quote(repository.name)}"


def trail_to(
    organization: Organization | None = None,
    project: Project | None = None,
    repository: Repository | None = None,
) -> Html:
    """Return links to what a page belongs to, from the outside in."""
    links = [LINK.format("/", "Organizations")]
    if organization:
        links.append(LINK.format(f"/{quote(organization.name)}/", organization.name))
    if project:
        links.append(LINK.format(project_path(project), project.name))
    if repository:
        links.append(LINK.format(repository_path(repository), repository.name))
    return Markup(" / ").join(links)


def stamped_text(repository: Repository, branch: str, path: str, stamp: str) -> str:
    """Return a file of a branch with a new first line, so that pushing it changes something."""
    git, tip = repository.git, repository.tip(branch)
    entry = git.entry(tip, path) if tip else None
    text = git.blob(entry.sha).decode(errors="replace") if entry else ""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("# Pushed at "))
    return f"# Pushed at {stamp} UTC\n{kept}\n"
