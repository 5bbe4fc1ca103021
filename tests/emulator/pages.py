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

from .delivery import Deliveries
from .git import EMPTY_TREE, GitError
from .hook_rules import EVENT_TYPES, HookRuleError
from .model import Notification, Organization, Project, Repository, Subscription
from .page_parts import (
    LINK,
    NOTICE,
    SECTION,
    Html,
    listing,
    page,
    project_path,
    repository_path,
    stamped_text,
    status_row,
    trail_to,
)
from .pull_request_pages import pull_request_page, pull_requests_page
from .state import State
from .statuses import latest

_STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_COMMITS_SHOWN = 20
_HISTORY_SHOWN = 50
_REPOSITORIES_SHOWN = 200
_CHANGES = {"A": "added", "M": "changed", "D": "deleted", "R": "renamed", "T": "changed"}
_FILE = "main.tf"
_SUBSCRIPTION = Markup(
    '<div class="row"><div><strong>{event}</strong> to {host}<br>'
    '<span class="{kind}">{status}</span> <small>{answers}</small></div>'
    '<form method="post" class="buttons">'
    '<input type="hidden" name="subscription" value="{id}">'
    '<button name="action" value="test" aria-label="Test {event}">Test</button>'
    '<button name="action" value="{change}" aria-label="{verb} {event}">{verb}</button>'
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
_TOKEN_FORM = Markup(
    '<form method="post"><label for="scopes">Scopes</label>'
    '<select id="scopes" name="scopes">'
    '<option value="vso.code_write">Code: Read &amp; write</option>'
    '<option value="vso.code">Code: Read</option>'
    '<option value="vso.code vso.code_status">Code: Read, Status</option>'
    '<option value="vso.work">Work items: Read</option></select>'
    '<button class="main">New token</button></form>'
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

_REPOSITORY = "(?P<organization>[^/]+)/(?:(?P<project>[^/_][^/]*)/)?_git/(?P<repository>[^/]+)"
Handler = Callable[[Request, dict[str, str]], Response]


class _NotFoundError(Exception):
    """There is nothing at this address."""


class Pages:
    """All pages; forms are posted to the page they are on."""

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
            (_REPOSITORY, self._repository_page),
            (f"{_REPOSITORY}/commit/(?P<commit>[0-9a-f]{{40}})", self._commit_page),
            (f"{_REPOSITORY}/pullrequests", self._pull_requests),
            (f"{_REPOSITORY}/pullrequest/(?P<number>[0-9]{{1,9}})", self._pull_request),
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
        return page("Not found", trail_to(), content, status=404)

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
        rows = [LINK.format(f"/{quote(one.name)}/", one.name) for one in self._state.organizations]
        return page("Organizations", trail_to(), SECTION.format("On this emulator", listing(rows)))

    def _organization_page(self, request: Request, values: dict[str, str]) -> Response:
        organization = self._organization(values)
        tokens = LINK.format(f"/{quote(organization.name)}/_usersSettings/tokens", "Tokens")
        intro = Markup("<section><p>Organization URL: <code>{}</code></p>{}</section>").format(
            request.host_url + quote(organization.name), tokens
        )
        sections = [intro, *(_project_section(project) for project in organization.projects)]
        return page(organization.name, trail_to(), Markup("").join(sections))

    def _project_page(self, request: Request, values: dict[str, str]) -> Response:
        project = self._project(values)
        return page(project.name, trail_to(project.organization), _project_section(project))

    def _tokens(self, request: Request, values: dict[str, str]) -> Response:
        organization = self._organization(values)
        if request.method == "POST":
            organization.add_token(set(request.form.get("scopes", "").split()))
            return redirect(request.path)
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
        content = SECTION.format("Personal access tokens", note.format(listing(rows)))
        content += SECTION.format("New token", _TOKEN_FORM)
        return page("Tokens", trail_to(organization), content)

    # Service hooks

    def _service_hooks(self, request: Request, values: dict[str, str]) -> Response:
        project = self._project(values)
        notice, url, username = Markup(""), "", ""
        if request.method == "POST":
            try:
                message = self._change_hooks(project, request)
                return redirect(
                    f"{project_path(project)}/_settings/serviceHooks?done={quote(message)}"
                )
            except HookRuleError as error:
                notice = NOTICE.format("bad", str(error))
                url, username = request.form.get("url", ""), request.form.get("username", "")
        elif request.args.get("done"):
            notice = NOTICE.format("", request.args["done"])
        options = Markup("").join(
            Markup('<option value="{}">{}</option>').format(key, name)
            for key, name in EVENT_TYPES.items()
        )
        form = _ADD_FORM.format(url=url, username=username, options=options)
        own = _subscriptions(project)
        content = Markup("").join(
            [
                SECTION.format("Subscriptions", listing(_subscription_rows(project))),
                SECTION.format("Add subscriptions", form),
                SECTION.format("History", listing(_history(project, {one.id for one in own}))),
            ]
        )
        title = f"Service hooks of {project.name}"
        return page(title, trail_to(project.organization, project), content, notice)

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
        if (status := request.form.get("action")) in ("enabled", "disabledByUser"):
            subscription.set_status(status)
            return f"{name} is {status} now."
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
                return redirect(f"{repository_path(repository)}/commit/{sha}?pushed=1")
            except GitError as error:
                notice = NOTICE.format("bad", f"Git refused the push: {error}")
        content = Markup("").join(
            [
                Markup("<section><p>Clone URL: <code>{}</code></p><p>{}</p></section>").format(
                    request.host_url.rstrip("/") + repository_path(repository),
                    LINK.format(f"{repository_path(repository)}/pullrequests", "Pull requests"),
                ),
                SECTION.format("Push a commit", _push_form(repository, branch)),
                SECTION.format("Branches", listing(_branch_rows(repository))),
                SECTION.format(f"Commits on {branch}", listing(_commit_rows(repository, branch))),
            ]
        )
        trail = trail_to(repository.organization, repository.project)
        return page(repository.name, trail, content, notice)

    def _pull_requests(self, request: Request, values: dict[str, str]) -> Response:
        return pull_requests_page(request, self._repository(values))

    def _pull_request(self, request: Request, values: dict[str, str]) -> Response:
        repository = self._repository(values)
        number = int(values["number"])
        found = next((one for one in repository.pull_requests if one.id == number), None)
        if found is None:
            raise _NotFoundError
        return pull_request_page(request, found)

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
        notice = NOTICE.format("", "Pushed.") if request.args.get("pushed") else Markup("")
        trail = trail_to(repository.organization, repository.project, repository)
        statuses = [status_row(one) for one in latest(repository.statuses.get(sha, []))]
        content = about + SECTION.format("Statuses", listing(statuses))
        content += SECTION.format("Changes", listing(rows))
        return page(f"Commit {sha[:8]}", trail, content, notice)


# Parts


def _style(request: Request, values: dict[str, str]) -> Response:
    return Response(_STYLE, content_type="text/css; charset=utf-8")


def _project_section(project: Project) -> Html:
    rows = [_repository_row(one) for one in project.repositories[:_REPOSITORIES_SHOWN]]
    hidden = len(project.repositories) - len(rows)
    if hidden:
        rows.append(Markup("<small>and {} more</small>").format(hidden))
    hooks = LINK.format(f"{project_path(project)}/_settings/serviceHooks", "Service hooks")
    heading = LINK.format(project_path(project), project.name)
    return SECTION.format(heading, Markup("<p>{}</p>").format(hooks) + listing(rows))


def _repository_row(repository: Repository) -> Html:
    if repository.is_disabled:
        return Markup("{} <small>disabled</small>").format(repository.name)
    state = _short(repository) if repository.default_branch else "empty"
    link = LINK.format(repository_path(repository), repository.name)
    return Markup("{} <small>{}</small>").format(link, state)


def _subscriptions(project: Project) -> list[Subscription]:
    everything = project.organization.subscriptions
    return [one for one in everything if one.publisher_inputs["projectId"] == project.id]


def _subscription_rows(project: Project) -> list[Html]:
    rows = []
    for one in _subscriptions(project):
        sent = [n for n in project.organization.history if n.subscription_id == one.id]
        answers = ", ".join(_answer_text(each) for each in sent[-3:])
        rows.append(
            _SUBSCRIPTION.format(
                event=EVENT_TYPES[one.event_type],
                host=urlsplit(one.consumer_inputs["url"]).netloc,
                kind="good" if one.status == "enabled" else "bad",
                status=one.status,
                change="disabledByUser" if one.status == "enabled" else "enabled",
                verb="Disable" if one.status == "enabled" else "Enable",
                answers=f"last answers: {answers}" if answers else "nothing sent yet",
                id=one.id,
            )
        )
    return rows


def _history(project: Project, own: set[str]) -> list[Html]:
    found = [n for n in reversed(project.organization.history) if n.subscription_id in own]
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
    stamp = f"{repository.organization.now():%Y-%m-%d %H:%M:%S}"
    content = stamped_text(repository, branch, _FILE, stamp)
    message = f"Change {_FILE} at {stamp}"
    return _PUSH_FORM.format(branch=branch, path=_FILE, content=content, message=message)


def _branch_rows(repository: Repository) -> list[Html]:
    rows = []
    for ref in repository.git.refs():
        if ref.name.startswith("refs/heads/"):
            name = ref.name.removeprefix("refs/heads/")
            link = LINK.format(
                f"{repository_path(repository)}?version=GB{quote(name, safe='')}", name
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
            LINK.format(
                f"{repository_path(repository)}/commit/{one.sha}", one.message.partition("\n")[0]
            ),
            one.author.name,
            one.author.date,
        )
        for one in commits
    ]
