"""Pages for the browser: what there is, service hooks of a project, and pushing with a click.

They need no sign-in: the emulator answers on this machine only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

from markupsafe import Markup
from werkzeug import Request, Response
from werkzeug.utils import redirect

from .clock import now
from .delivery import Deliveries
from .git import EMPTY_TREE, GitError
from .hook_rules import EVENT_TYPES, HookRuleError
from .model import Notification, Organization, Project, Repository, Subscription
from .state import State

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_COMMITS_SHOWN = 20
_HISTORY_SHOWN = 50
_REPOSITORIES_SHOWN = 200
_CHANGES = {"A": "added", "M": "changed", "D": "deleted", "R": "renamed", "T": "changed"}
_FILE = "main.tf"
_PAGE = Markup(
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>{title} - Azure DevOps emulator</title>"
    '<link rel="icon" href="data:,">'
    '<link rel="stylesheet" href="/_emulator/style.css"></head><body>'
    '<header><strong>Azure DevOps emulator</strong><nav aria-label="Breadcrumb">{trail}</nav>'
    "</header><main><h1>{title}</h1>{notice}{content}</main></body></html>"
)
_SECTION = Markup("<section><h2>{}</h2>{}</section>")
_NOTICE = Markup('<section class="notice {}" role="status"><p>{}</p></section>')
_LINK = Markup('<a href="{}">{}</a>')
_ROWS = Markup('<ul class="rows">{}</ul>')
_ROW = Markup("<li>{}</li>")
_SUBSCRIPTION = Markup(
    '<div class="row"><div><strong>{event}</strong> to {host}<br>'
    '<span class="{kind}">{status}</span> <small>{answers}</small></div>'
    '<form method="post" class="buttons">'
    '<input type="hidden" name="subscription" value="{id}">'
    '<button name="action" value="test" aria-label="Test {event}">Test</button>'
    '<button name="action" value="remove" aria-label="Remove {event}">Remove</button>'
    "</form></div>"
)
_ADD_FORM = Markup(
    '<form method="post"><input type="hidden" name="action" value="add">'
    '<label for="url">Webhook URL</label>'
    '<input id="url" name="url" type="url" required autocomplete="off" value="{url}">'
    '<label for="username">Basic authentication username</label>'
    '<input id="username" name="username" autocomplete="off" value="{username}">'
    '<label for="password">Basic authentication password</label>'
    '<input id="password" name="password" type="password" autocomplete="new-password">'
    '<label for="event">Event</label><select id="event" name="event">'
    '<option value="">All four events</option>{options}</select>'
    '<button class="main">Add subscriptions</button></form>'
)
_NOTIFICATION = Markup(
    '<div class="row"><div><strong>{event}</strong>{test} <small>{when}, notification {id}, '
    '{attempts}</small></div><span class="{kind}">{answer}</span></div>'
    "<details><summary>What was sent and answered</summary>"
    '<pre tabindex="0">{request}</pre><pre tabindex="0">{response}</pre></details>'
)
_PUSH_FORM = Markup(
    '<form method="post"><label for="branch">Branch</label>'
    '<input id="branch" name="branch" required value="{branch}">'
    '<label for="path">File</label><input id="path" name="path" required value="{path}">'
    '<label for="content">Content</label><textarea id="content" name="content">{content}</textarea>'
    '<label for="message">Message</label>'
    '<input id="message" name="message" required value="{message}">'
    '<button class="main">Push</button></form>'
)

Html = Markup
Handler = Callable[[Request, dict[str, str]], Response]


class _NotFoundError(Exception):
    """There is nothing at this address."""


class Pages:
    """All pages; forms are posted to the page they stand on."""

    def __init__(self, state: State, deliveries: Deliveries) -> None:
        self._state = state
        self._deliveries = deliveries
        self._routes: list[tuple[str, Handler]] = [
            ("", self._home),
            ("_emulator/style.css", _style),
            ("(?P<organization>[^/]+)", self._organization_page),
            ("(?P<organization>[^/]+)/_usersSettings/tokens", self._tokens),
            ("(?P<organization>[^/]+)/(?P<project>[^/_][^/]*)", self._project_page),
            (
                "(?P<organization>[^/]+)/(?P<project>[^/]+)/_settings/serviceHooks",
                self._service_hooks,
            ),
            (
                "(?P<organization>[^/]+)/(?:(?P<project>[^/_][^/]*)/)?_git/(?P<repository>[^/]+)",
                self._repository_page,
            ),
            (
                "(?P<organization>[^/]+)/(?:(?P<project>[^/_][^/]*)/)?_git/(?P<repository>[^/]+)"
                "/commit/(?P<commit>[0-9a-f]{40})",
                self._commit_page,
            ),
        ]

    def answer(self, request: Request) -> Response:
        """Return the page at the path of the request."""
        path = request.path.strip("/")
        try:
            for pattern, handler in self._routes:
                found = re.fullmatch(pattern, path, re.IGNORECASE)
                if found:
                    return handler(request, found.groupdict())
        except _NotFoundError:
            pass
        content = Markup("<section><p>There is nothing at this address.</p></section>")
        return _page("Not found", _trail(), content, status=404)

    # Finding

    def _organization(self, values: dict[str, str]) -> Organization:
        found = self._state.organization(values["organization"])
        if found is None:
            raise _NotFoundError
        return found

    def _project(self, values: dict[str, str]) -> Project:
        found = self._organization(values).project(values["project"] or values["repository"])
        if found is None:
            raise _NotFoundError
        return found

    def _repository(self, values: dict[str, str]) -> Repository:
        found = self._project(values).repository(values["repository"])
        if found is None or found.is_disabled:
            raise _NotFoundError
        return found

    # Organizations, projects, tokens

    def _home(self, request: Request, values: dict[str, str]) -> Response:
        rows = [_LINK.format(f"/{quote(one.name)}/", one.name) for one in self._state.organizations]
        return _page("Organizations", _trail(), _SECTION.format("On this emulator", _rows(rows)))

    def _organization_page(self, request: Request, values: dict[str, str]) -> Response:
        organization = self._organization(values)
        tokens = _LINK.format(f"/{quote(organization.name)}/_usersSettings/tokens", "Tokens")
        intro = Markup("<section><p>Organization URL: <code>{}</code></p>{}</section>").format(
            request.host_url + quote(organization.name), tokens
        )
        sections = [intro, *(_project_section(project) for project in organization.projects)]
        return _page(organization.name, _trail(), Markup("").join(sections))

    def _project_page(self, request: Request, values: dict[str, str]) -> Response:
        project = self._project(values)
        return _page(project.name, _trail(project.organization), _project_section(project))

    def _tokens(self, request: Request, values: dict[str, str]) -> Response:
        organization = self._organization(values)
        rows = [
            Markup("<code>{}</code><br><small>{}: {}{}</small>").format(
                token.secret,
                token.user,
                ", ".join(sorted(token.scopes)) or "no scopes",
                f", until {token.expires_on:%Y-%m-%d %H:%M} UTC" if token.expires_on else "",
            )
            for token in organization.tokens
        ]
        note = Markup("<p>They work on this emulator only, so they are shown in full.</p>{}")
        content = _SECTION.format("Personal access tokens", note.format(_rows(rows)))
        return _page("Tokens", _trail(organization), content)

    # Service hooks

    def _service_hooks(self, request: Request, values: dict[str, str]) -> Response:
        project = self._project(values)
        notice, url, username = Markup(""), "", ""
        if request.method == "POST":
            try:
                message = self._change_hooks(project, request)
                return redirect(f"{_path(project)}/_settings/serviceHooks?done={quote(message)}")
            except HookRuleError as error:
                notice = _NOTICE.format("bad", str(error))
                url, username = request.form.get("url", ""), request.form.get("username", "")
        elif request.args.get("done"):
            notice = _NOTICE.format("", request.args["done"])
        options = Markup("").join(
            Markup('<option value="{}">{}</option>').format(key, name)
            for key, name in EVENT_TYPES.items()
        )
        form = _ADD_FORM.format(url=url, username=username, options=options)
        own = _subscriptions(project)
        content = Markup("").join(
            [
                _SECTION.format("Subscriptions", _rows(_subscription_rows(project))),
                _SECTION.format("Add subscriptions", form),
                _SECTION.format("History", _rows(_history(project, {one.id for one in own}))),
            ]
        )
        title = f"Service hooks of {project.name}"
        return _page(title, _trail(project.organization, project), content, notice)

    def _change_hooks(self, project: Project, request: Request) -> str:
        """Do what the form asks for and return a sentence about it."""
        if request.form.get("action") == "add":
            return _add_subscriptions(project, request)
        subscription = project.organization.subscription(request.form.get("subscription", ""))
        if subscription is None:
            return "That subscription is gone."
        name = EVENT_TYPES[subscription.event_type]
        if request.form.get("action") == "remove":
            project.organization.unsubscribe(subscription)
            return f"Removed: {name}."
        self._deliveries.send_test(
            project.organization,
            subscription.event_type,
            subscription.consumer_inputs,
            subscription,
        )
        return f"Test sent: {name}. Reload for the answer."

    # Repositories

    def _repository_page(self, request: Request, values: dict[str, str]) -> Response:
        repository = self._repository(values)
        branch = request.args.get("version", "").removeprefix("GB") or _short(repository)
        notice = Markup("")
        if request.method == "POST":
            try:
                sha = _push(repository, request)
                return redirect(f"{_repository_path(repository)}/commit/{sha}?pushed=1")
            except GitError as error:
                notice = _NOTICE.format("bad", f"Git refused the push: {error}")
        content = Markup("").join(
            [
                Markup("<section><p>Clone URL: <code>{}</code></p></section>").format(
                    request.host_url.rstrip("/") + _repository_path(repository)
                ),
                _SECTION.format("Push a commit", _push_form(repository, branch)),
                _SECTION.format("Branches", _rows(_branch_rows(repository))),
                _SECTION.format(f"Commits on {branch}", _rows(_commit_rows(repository, branch))),
            ]
        )
        trail = _trail(repository.organization, repository.project)
        return _page(repository.name, trail, content, notice)

    def _commit_page(self, request: Request, values: dict[str, str]) -> Response:
        repository, git = self._repository(values), self._repository(values).git
        sha = git.resolve(values["commit"])
        if sha is None:
            raise _NotFoundError
        commit = git.log("--max-count=1", sha)[0]
        parent = commit.parents[0] if commit.parents else EMPTY_TREE
        rows = [
            Markup("<code>{}</code> {}").format(change.path, _CHANGES[change.letter])
            for change in git.changes(parent, sha)
            if not change.is_folder
        ]
        about = Markup(
            '<section><pre tabindex="0">{}</pre><p>{} on {:%Y-%m-%d %H:%M} UTC</p></section>'
        ).format(commit.message, commit.author.name, commit.author.date)
        notice = _NOTICE.format("", "Pushed.") if request.args.get("pushed") else Markup("")
        trail = _trail(repository.organization, repository.project, repository)
        content = about + _SECTION.format("Changes", _rows(rows))
        return _page(f"Commit {sha[:8]}", trail, content, notice)


# Parts


def _style(request: Request, values: dict[str, str]) -> Response:
    return Response(_STYLE, content_type="text/css; charset=utf-8")


def _page(
    title: str, trail: Html, content: Html, notice: Html | None = None, status: int = 200
) -> Response:
    body = _PAGE.format(title=title, trail=trail, notice=notice or "", content=content)
    return Response(body, status, content_type="text/html; charset=utf-8")


def _rows(rows: list[Html]) -> Html:
    if not rows:
        return Markup('<p class="soft">None yet.</p>')
    return _ROWS.format(Markup("").join(_ROW.format(row) for row in rows))


def _path(project: Project) -> str:
    return f"/{quote(project.organization.name)}/{quote(project.name)}"


def _repository_path(repository: Repository) -> str:
    return f"{_path(repository.project)}/_git/{quote(repository.name)}"


def _trail(
    organization: Organization | None = None,
    project: Project | None = None,
    repository: Repository | None = None,
) -> Html:
    links = [_LINK.format("/", "Organizations")]
    if organization:
        links.append(_LINK.format(f"/{quote(organization.name)}/", organization.name))
    if project:
        links.append(_LINK.format(_path(project), project.name))
    if repository:
        links.append(_LINK.format(_repository_path(repository), repository.name))
    return Markup(" / ").join(links)


def _project_section(project: Project) -> Html:
    rows = [_repository_row(one) for one in project.repositories[:_REPOSITORIES_SHOWN]]
    hidden = len(project.repositories) - len(rows)
    if hidden:
        rows.append(Markup("<small>and {} more</small>").format(hidden))
    hooks = _LINK.format(f"{_path(project)}/_settings/serviceHooks", "Service hooks")
    heading = _LINK.format(_path(project), project.name)
    return _SECTION.format(heading, Markup("<p>{}</p>").format(hooks) + _rows(rows))


def _repository_row(repository: Repository) -> Html:
    if repository.is_disabled:
        return Markup("{} <small>disabled</small>").format(repository.name)
    state = _short(repository) if repository.default_branch else "empty"
    link = _LINK.format(_repository_path(repository), repository.name)
    return Markup("{} <small>{}</small>").format(link, state)


def _subscriptions(project: Project) -> list[Subscription]:
    everything = project.organization.subscriptions
    return [one for one in everything if one.publisher_inputs["projectId"] == project.id]


def _subscription_rows(project: Project) -> list[Html]:
    rows = []
    for one in _subscriptions(project):
        sent = [n for n in project.organization.notifications if n.subscription_id == one.id]
        answers = ", ".join(_answer_text(each) for each in sent[-3:])
        rows.append(
            _SUBSCRIPTION.format(
                event=EVENT_TYPES[one.event_type],
                host=urlsplit(one.consumer_inputs["url"]).netloc,
                kind="good" if one.status == "enabled" else "bad",
                status=one.status,
                answers=f"last answers: {answers}" if answers else "nothing sent yet",
                id=one.id,
            )
        )
    return rows


def _history(project: Project, own: set[str]) -> list[Html]:
    found = [n for n in reversed(project.organization.notifications) if n.subscription_id in own]
    return [_history_row(one) for one in found[:_HISTORY_SHOWN]]


def _history_row(one: Notification) -> Html:
    head, _, body = one.request.partition("\n\n")
    if body:
        body = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    return _NOTIFICATION.format(
        event=EVENT_TYPES[one.event["eventType"]],
        test=" (test)" if one.is_test else "",
        when=f"{one.created_date:%Y-%m-%d %H:%M:%S} UTC",
        id=one.id,
        attempts="1 attempt" if one.attempts == 1 else f"{one.attempts} attempts",
        kind={"succeeded": "good", "failed": "bad"}.get(one.result, "soft"),
        answer=_answer_text(one),
        request=f"{head}\n\n{body}",
        response=f"{_answer_text(one)} after {one.duration:.2f} s\n\n{one.response_body}",
    )


def _answer_text(one: Notification) -> str:
    if one.status != "completed":
        return one.status
    return str(one.response_status) if one.response_status is not None else one.error


def _add_subscriptions(project: Project, request: Request) -> str:
    wanted = [request.form["event"]] if request.form.get("event") else list(EVENT_TYPES)
    for event_type in wanted:
        project.organization.add_subscription(
            project,
            event_type,
            url=request.form.get("url", "").strip(),
            password=request.form.get("password", ""),
            username=request.form.get("username", ""),
        )
    return "Added: " + ", ".join(EVENT_TYPES[event_type] for event_type in wanted) + "."


def _short(repository: Repository) -> str:
    return (repository.default_branch or "refs/heads/main").removeprefix("refs/heads/")


def _push(repository: Repository, request: Request) -> str:
    form = request.form
    content = form.get("content", "").replace("\r\n", "\n")
    return repository.push(
        {form.get("path") or _FILE: content},
        branch=form.get("branch", "").strip() or _short(repository),
        message=form.get("message") or "Change a file",
    )


def _push_form(repository: Repository, branch: str) -> Html:
    """Return the form, filled so that pressing Push alone makes a new commit."""
    git = repository.git
    stamp = f"{now():%Y-%m-%d %H:%M:%S}"
    tip = git.resolve(f"refs/heads/{branch}")
    entry = git.entry(tip, _FILE) if tip else None
    text = git.blob(entry.sha).decode(errors="replace") if entry else ""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("# Pushed at "))
    content = f"# Pushed at {stamp} UTC\n{kept}\n"
    message = f"Change {_FILE} at {stamp}"
    return _PUSH_FORM.format(branch=branch, path=_FILE, content=content, message=message)


def _branch_rows(repository: Repository) -> list[Html]:
    rows = []
    for ref in repository.git.refs():
        if ref.name.startswith("refs/heads/"):
            name = ref.name.removeprefix("refs/heads/")
            link = _LINK.format(
                f"{_repository_path(repository)}?version=GB{quote(name, safe='')}", name
            )
            rows.append(Markup("{} <code>{}</code>").format(link, ref.sha[:8]))
    return rows[:_REPOSITORIES_SHOWN]


def _commit_rows(repository: Repository, branch: str) -> list[Html]:
    tip = repository.git.resolve(f"refs/heads/{branch}")
    if tip is None:
        return []
    commits = repository.git.log(f"--max-count={_COMMITS_SHOWN}", tip)
    return [
        Markup("{} <small>{}, {:%Y-%m-%d %H:%M} UTC</small>").format(
            _LINK.format(
                f"{_repository_path(repository)}/commit/{one.sha}", one.message.partition("\n")[0]
            ),
            one.author.name,
            one.author.date,
        )
        for one in commits
    ]
