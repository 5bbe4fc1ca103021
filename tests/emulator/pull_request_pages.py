"""Pages of pull requests: open one from a branch, push to it, end it, each with a click."""

from __future__ import annotations

from urllib.parse import quote

from markupsafe import Markup
from werkzeug import Request, Response
from werkzeug.utils import redirect

from .clock import now
from .model import Repository
from .page_parts import (
    LINK,
    NOTICE,
    SECTION,
    Html,
    listing,
    page,
    repository_path,
    stamped_text,
    trail_to,
)
from .pull_requests import ABANDONED, CONFLICTS, Iteration, PullRequest, PullRequestError

_BRANCHES = "refs/heads/"
_DEFAULT_FILE = "main.tf"
_DONE = {
    "push": "Pushed a commit to the source branch.",
    "complete": "Completed.",
    "abandon": "Abandoned.",
    "reactivate": "Reactivated.",
}
_FORM = Markup(
    '<form method="post"><label for="source">Source branch</label>'
    '<select id="source" name="source">{sources}</select>'
    '<label for="target">Target branch</label>'
    '<select id="target" name="target">{targets}</select>'
    '<label for="title">Title</label>'
    '<input id="title" name="title" required value="{title}">'
    '<button class="main">Open pull request</button></form>'
)
_OPTION = Markup("<option{}>{}</option>")
_ACTIONS = Markup('<form method="post" class="buttons">{}</form>')
_BUTTON = Markup('<button name="action" value="{}">{}</button>')
_ABOUT = Markup(
    '<section><p><strong class="{kind}">{status}</strong> {draft}<code>{source}</code> into '
    "<code>{target}</code>, by {author}</p><p>{merge}</p>{actions}</section>"
)


# All pull requests of a repository


def pull_requests_page(request: Request, repository: Repository) -> Response:
    """Show the pull requests of a repository, and open one from a branch."""
    notice = Markup("")
    if request.method == "POST":
        form = request.form
        source, target = form.get("source", ""), form.get("target", "")
        title = form.get("title", "").strip()
        try:
            made = repository.open_pull_request(source, target, title)
            return redirect(f"{_path(made)}?done=open")
        except PullRequestError as error:
            notice = NOTICE.format("bad", str(error))
    rows = [_row(one) for one in reversed(repository.pull_requests)]
    content = SECTION.format("Open a pull request", _open_form(repository)) + SECTION.format(
        "Pull requests", listing(rows)
    )
    trail = trail_to(repository.organization, repository.project, repository)
    return page(f"Pull requests of {repository.name}", trail, content, notice)


def _row(one: PullRequest) -> Html:
    link = LINK.format(_path(one), f"{one.id}: {one.title}")
    source, target = _short(one.source_ref), _short(one.target_ref)
    return Markup("{} <small>{}, {} into {}</small>").format(link, one.status, source, target)


def _open_form(repository: Repository) -> Html:
    """Return the form, filled with the branch pushed last and the default branch."""
    default = _short(repository.default_branch or "")
    names = [_short(name) for name in repository.ref_values() if name.startswith(_BRANCHES)]
    others = sorted(name for name in names if name != default)
    if not others:
        return Markup('<p class="soft">Push to another branch first.</p>')
    latest = next((name for name in _pushed_branches(repository) if name in others), others[0])
    return _FORM.format(
        sources=_options(others, latest),
        targets=_options(sorted(names), default),
        title=f"Merge {latest}",
    )


def _pushed_branches(repository: Repository) -> list[str]:
    """Return the branches in the order of their pushes, the last one first."""
    return [
        _short(update.name) for push in reversed(repository.pushes) for update in push.ref_updates
    ]


def _options(names: list[str], chosen: str) -> Html:
    marks = {chosen: Markup(" selected")}
    return Markup("").join(_OPTION.format(marks.get(name, ""), name) for name in names)


# One pull request


def pull_request_page(request: Request, one: PullRequest) -> Response:
    """Show a pull request with its iterations, and do what a button asks for."""
    notice = Markup("")
    if request.method == "POST":
        action = request.form.get("action", "")
        try:
            _act(one, action)
            return redirect(f"{_path(one)}?done={quote(action)}")
        except PullRequestError as error:
            notice = NOTICE.format("bad", str(error))
    elif request.args.get("done"):
        notice = NOTICE.format("", _DONE.get(request.args["done"], "Opened."))
    rows = [_iteration_row(one, each) for each in reversed(one.iterations)]
    content = _about(one) + SECTION.format("Iterations", listing(rows))
    where = one.repository
    trail = trail_to(where.organization, where.project, where)
    trail += Markup(" / ") + LINK.format(f"{repository_path(where)}/pullrequests", "Pull requests")
    return page(f"{one.id}: {one.title}", trail, content, notice)


def _act(one: PullRequest, action: str) -> None:
    if action == "push":
        _push(one)
    elif action == "complete":
        one.complete()
    elif action == "abandon":
        one.abandon()
    elif action == "reactivate":
        one.reactivate()
    else:
        raise PullRequestError(f"There is no button '{action}'.")


def _push(one: PullRequest) -> None:
    """Push a change of the first file that the pull request changes."""
    iteration, git = one.iterations[-1], one.repository.git
    changes = git.changes(iteration.common, iteration.source) if iteration.common else []
    paths = [each.path for each in changes if not each.is_folder and each.letter != "D"]
    path = paths[0] if paths else _DEFAULT_FILE
    stamp = f"{now():%Y-%m-%d %H:%M:%S.%f}"
    text = stamped_text(one.source, _short(one.source_ref), path, stamp)
    one.push({path: text}, f"Change {path} at {stamp}")


def _about(one: PullRequest) -> Html:
    merge = f"Merge: {one.merge_status}"
    return _ABOUT.format(
        kind="bad" if one.status == ABANDONED or one.merge_status == CONFLICTS else "good",
        status=one.status,
        draft="draft, " if one.is_draft else "",
        source=_short(one.source_ref),
        target=_short(one.target_ref),
        author=one.created_by.name,
        merge=_commit_link(one.repository, one.merge_commit, merge),
        actions=_actions(one),
    )


def _actions(one: PullRequest) -> Html:
    if one.is_active:
        offered = {"push": "Push a commit", "complete": "Complete", "abandon": "Abandon"}
    elif one.status == ABANDONED:
        offered = {"reactivate": "Reactivate"}
    else:
        return Markup("")
    buttons = (_BUTTON.format(action, label) for action, label in offered.items())
    return _ACTIONS.format(Markup("").join(buttons))


def _iteration_row(one: PullRequest, each: Iteration) -> Html:
    return Markup("Iteration {} <small>{}, {} by {} on {:%Y-%m-%d %H:%M:%S} UTC</small>").format(
        each.id,
        each.reason,
        _commit_link(one.source, each.source, each.source[:8]),
        each.author.name,
        each.date,
    )


def _commit_link(where: Repository, sha: str | None, text: str) -> Html:
    if sha is None:
        return Markup("{}").format(text)
    return LINK.format(f"{repository_path(where)}/commit/{sha}", text)


def _path(one: PullRequest) -> str:
    return f"{repository_path(one.repository)}/pullrequest/{one.id}"


def _short(ref: str) -> str:
    return ref.removeprefix(_BRANCHES)
