"""The page on which a member allows one commit of a fork to run once."""

from typing import cast

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.models import User
from accounts.roles import members_only
from stacks.lifecycle.forks import NotAllowed, allow, check, pull_request_of, read
from stacks.models import Stack
from vcs_integrations.providers.base import ProviderError


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def allow_fork(request: HttpRequest, slug: str, sha: str) -> HttpResponse:
    """Show a commit of a fork and what allowing it means, and start its run with a POST."""
    stack = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    pull_request = pull_request_of(stack, sha)
    if pull_request is None:
        raise Http404
    found, failure, refusal = None, None, None
    try:
        check(stack, pull_request, sha)
        found = read(pull_request, sha)
        check(stack, pull_request, sha, found.newest_sha)
        if request.method == "POST":
            with transaction.atomic():
                run = allow(stack, pull_request, found, cast(User, request.user))
                note = f"Commit {sha[:8]} of {pull_request}"
                record(request, Verb.FORK_ALLOWED, run, note, name=f"{run} of {stack}")
            messages.success(request, f"{run} was started")
            return redirect(run)
    except NotAllowed as error:
        refusal = error
    except ProviderError as error:
        failure = error
    if request.method == "POST":
        messages.error(request, f"Nothing was started. {refusal or failure}")
        return redirect("stacks:allow_fork", stack.slug, sha)
    context = {
        "stack": stack,
        "pull_request": pull_request,
        "sha": sha,
        "commit_url": stack.integration.provider.commit_url(stack.repository.web_url, sha),
        "commit": found.commit if found else None,
        "failure": failure,
        "refusal": refusal,
    }
    return render(request, "stacks/runs/allow_fork.html", context)
