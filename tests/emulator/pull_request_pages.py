"""Pages of pull requests: open one from a branch, push to it, end it, each with a click.

They show what was posted too, and ask for statuses before a pull request may be completed.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from markupsafe import Markup
from werkzeug import Request, Response
from werkzeug.utils import redirect

from .errors import RefusedError
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
    status_row,
    trail_to,
)
from .pull_requests import ABANDONED, CONFLICTS, Iteration, PullRequest, PullRequestError
from .statuses import StatusPolicy
from .threads import Comment, Thread

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
_POLICY_FORM = Markup(
    '<form method="post"><input type="hidden" name="action" value="require">'
    '<label for="context">Status to check (genre/name)</label>'
    '<input id="context" name="context" required autocomplete="off">'
    '<label for="branch">Target branch</label>'
    '<select id="branch" name="branch">{targets}</select>'
    '<label><input type="checkbox" name="reset" checked> '
    "Reset the status whenever there are new changes</label>"
    '<button class="main">Require the status</button></form>'
)
_POLICY = Markup(
    '<div class="row"><div><code>{context}</code> <small>for {branch}{reset}</small></div>'
    '<form method="post"><input type="hidden" name="context" value="{context}">'
    '<input type="hidden" name="branch" value="{branch}">'
    '<button name="action" value="drop" aria-label="Remove {context}">Remove</button>'
    "</form></div>"
)
_REQUIRED = Markup('<div class="row"><div><code>{}</code></div><span class="{}">{}</span></div>')
_THREAD = Markup("<strong>Thread {}</strong> <small>{}</small>{}")
_COMMENT = Markup(
    "<p>{author} <small>on {date:%Y-%m-%d %H:%M:%S} UTC{edited}</small></p>"
    '<pre tabindex="0">{content}</pre>'
)


# All pull requests of a repository


def pull_requests_page(request: Request, repository: Repository) -> Response:
    """Show the pull requests and required statuses of a repository, and add to them."""
    notice = Markup("")
    if request.method == "POST":
        try:
            return redirect(_submitted(request.form, repository))
        except RefusedError as error:
            notice = NOTICE.format("bad", str(error))
    rows = [_row(one) for one in reversed(repository.pull_requests)]
    policies = [_policy_row(one) for one in repository.policies]
    content = SECTION.format("Open a pull request", _open_form(repository))
    content += SECTION.format("Pull requests", listing(rows))
    content += SECTION.format("Require a status", _policy_form(repository))
    content += SECTION.format("Required statuses", listing(policies))
    trail = trail_to(repository.organization, repository.project, repository)
    return page(f"Pull requests of {repository.name}", trail, content, notice)


def _submitted(form: Mapping[str, str], repository: Repository) -> str:
    """Do what a form asks for and return the path to go to."""
    action, context = form.get("action"), form.get("context", "").strip()
    branch = form.get("branch", "")
    if action == "require":
        repository.require_status(context, branch, reset_on_push="reset" in form)
    elif action == "drop":
        repository.drop_policy(context, branch)
    else:
        source, target = form.get("source", ""), form.get("target", "")
        made = repository.open_pull_request(source, target, form.get("title", "").strip())
        return f"{_path(made)}?done=open"
    return f"{repository_path(repository)}/pullrequests"


def _row(one: PullRequest) -> Html:
    link = LINK.format(_path(one), f"{one.id}: {one.title}")
    source, target = _short(one.source_ref), _short(one.target_ref)
    return Markup("{} <small>{}, {} into {}</small>").format(link, one.status, source, target)


def _open_form(repository: Repository) -> Html:
    """Return the form, filled with the branch pushed last and the default branch."""
    default, names = _short(repository.default_branch or ""), _branch_names(repository)
    others = [name for name in names if name != default]
    if not others:
        return Markup('<p class="soft">Push to another branch first.</p>')
    latest = next((name for name in _pushed_branches(repository) if name in others), others[0])
    return _FORM.format(
        sources=_options(others, latest),
        targets=_options(names, default),
        title=f"Merge {latest}",
    )


def _policy_form(repository: Repository) -> Html:
    default = _short(repository.default_branch or "")
    return _POLICY_FORM.format(targets=_options(_branch_names(repository), default))


def _policy_row(one: StatusPolicy) -> Html:
    reset = ", reset whenever there are new changes" if one.reset_on_push else ""
    return _POLICY.format(context=one.context, branch=_short(one.target_ref), reset=reset)


def _branch_names(repository: Repository) -> list[str]:
    refs = repository.ref_values()
    return sorted(_short(name) for name in refs if name.startswith(_BRANCHES))


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
    content = _about(one) + _required(one)
    content += SECTION.format("Statuses", listing(_status_rows(one)))
    content += SECTION.format("Iterations", listing(rows))
    content += SECTION.format("Comments", listing([_thread(each) for each in one.threads]))
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
    stamp = f"{one.repository.organization.now():%Y-%m-%d %H:%M:%S.%f}"
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


def _required(one: PullRequest) -> Html:
    """Return what the branch policies say, nothing if there are none."""
    rows = []
    for policy in one.policies:
        found, newest = one.deciding_status(policy), f"iteration {one.iterations[-1].id}"
        word = found.state if found else "missing"
        state = f"{word} on {newest}" if policy.reset_on_push else word
        kind = "good" if found and found.passes else "bad"
        rows.append(_REQUIRED.format(policy.context, kind, state))
    return SECTION.format("Required statuses", listing(rows)) if rows else Markup("")


def _status_rows(one: PullRequest) -> list[Html]:
    """Return the latest status of each context, the newest iteration first."""
    rows = [
        status_row(status, f"iteration {each.id}, ")
        for each in reversed(one.iterations)
        for status in one.latest_statuses(each.id)
    ]
    return rows + [status_row(each, "no iteration, ") for each in one.latest_statuses()]


def _thread(one: Thread) -> Html:
    comments = (_comment(each) for each in one.comments)
    return _THREAD.format(one.id, one.status, Markup("").join(comments))


def _comment(one: Comment) -> Html:
    return _COMMENT.format(
        author=one.author.name,
        date=one.published,
        edited=", edited" if one.updated > one.published else "",
        content="(deleted)" if one.is_deleted else one.content,
    )


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
