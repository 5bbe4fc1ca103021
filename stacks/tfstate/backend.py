"""The state of stacks, as Terraform's and OpenTofu's `http` backend read, lock and write it.

https://developer.hashicorp.com/terraform/language/backend/http names the requests. The programs
of a run prove themselves with a password that the run was issued. Any run reads; a tracked
plan also locks; only the holder of a lock to apply writes. An admin may let a stack's runs read the
outputs of another one's state, which they get without its resources.
"""

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from accounts.audit.records import SecurityEvent
from accounts.audit.refusals import record_refusal
from accounts.roles import role_of
from core import bounded_json
from core.basic_auth import read_basic
from core.encryption import WrongKey
from stacks.models import (
    Backend,
    Run,
    RunCredential,
    Stack,
    StateGrant,
    StateLock,
    StateVersion,
)
from stacks.rules.states import Kind, State
from stacks.tfstate.credentials import RUNNING, run_with_password
from stacks.tfstate.files import LARGEST_STATE, InvalidState, describe, line, without_resources

LOCK_FIELDS = ("ID", "Operation", "Info", "Who", "Version", "Created", "Path")
MOST_PARTS_OF_LOCK = 100
WRONG_PASSWORD = "The user name or password is wrong."


class Refused(Exception):
    """A request that is not done: the status to answer, why, and the lock in its way."""

    def __init__(self, status: int, reason: str, lock: StateLock | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.lock = status, reason, lock


def address_of(stack: Stack) -> str:
    """Return the address of a stack's state: the one to read, write, lock and unlock."""
    return f"{settings.PUBLIC_URL}{reverse('stacks:state_backend', args=[stack.slug])}"


@csrf_exempt
@login_not_required
@require_http_methods(["GET", "POST", "DELETE", "LOCK", "UNLOCK"])
def state_backend(request: HttpRequest, slug: str) -> HttpResponse:
    """Answer a request of the `http` backend; the password identifies the run that asks.

    Whoever is signed in and opens the address in a browser is led to the page of the state.
    """
    if request.method == "GET" and "Authorization" not in request.headers and role_of(request.user):
        return redirect("stacks:state_versions", slug)
    try:
        run = _run_that_asks(request)
        if run.stack.slug != slug:
            return _read_of_other(run, slug, request.method)
        _check_reach(run)
        _check_not_ended(run)
        if run.kind != Kind.TRACKED and request.method != "GET":
            raise Refused(403, f"A {run.kind} run may only read the state.")
        match request.method:
            case "LOCK":
                return _lock(run, _read_lock(request))
            case "UNLOCK":
                return _unlock(run, _read_lock(request))
            case "POST":
                return _write(run, request.GET.get("ID", ""), _read_body(request))
            case "DELETE":
                return _delete(run)
            case _:
                return _read(run)
    except Refused as refused:
        if refused.lock:
            return JsonResponse(refused.lock.info, status=refused.status)
        answer = _answer(refused.status, refused.reason)
        if refused.status == 401:
            stack = Stack.objects.filter(slug=slug).first()
            record_refusal(request, SecurityEvent.RUN_PASSWORD_REFUSED, stack)
            answer["WWW-Authenticate"] = 'Basic realm="Stackhook state", charset="UTF-8"'
        return answer


def _run_that_asks(request: HttpRequest) -> Run:
    """Return the run whose password came, which may have ended. Raises Refused without one."""
    username, password = read_basic(request.headers.get("Authorization", "")) or (b"", b"")
    run = run_with_password(username, password)
    if run is None:
        raise Refused(401, WRONG_PASSWORD)
    return run


def _read_of_other(run: Run, slug: str, method: str | None) -> HttpResponse:
    """Answer a run that asks for the state of another stack: its outputs, if an admin said so.

    Raises Refused. Not even an apply that outlives its worker reads them any more.
    """
    grants = StateGrant.objects.filter(stack__slug=slug, reader=run.stack_id)
    grant = grants.select_related("stack").first()
    if grant is None:
        raise Refused(401, WRONG_PASSWORD)
    if run.state not in RUNNING:
        raise Refused(403, f"{run} does not run, so its password does not hold.")
    if run.kind == Kind.PROPOSED and not grant.is_for_proposed:
        raise Refused(403, f"An admin lets only tracked runs read the outputs of {grant.stack}.")
    if method != "GET":
        raise Refused(403, f"The state of {grant.stack} may only be read.")
    if grant.stack.backend != Backend.STACKHOOK:
        raise Refused(404, f"Stackhook does not keep the state of {grant.stack}.")
    newest = grant.stack.state_versions.first()
    if newest is None or newest.is_deletion:
        return HttpResponse(status=204)
    try:
        content = without_resources(newest.read())
    except InvalidState as error:
        raise Refused(409, f"{grant.stack}: {error}") from None
    except WrongKey as error:
        raise Refused(500, str(error)) from error
    return HttpResponse(content, content_type="application/json")


def _check_reach(run: Run) -> None:
    """Raise Refused if a run's password is not for its stack's own state.

    Every run has one. Where the code names the backend, what Stackhook kept before is not theirs.
    """
    if not run.credential.reaches_state:
        raise Refused(404, f"Stackhook does not keep the state of {run.stack}.")


def _check_not_ended(run: Run) -> None:
    """Raise Refused if a run's password ended, as it does with the run."""
    if run.state in RUNNING:
        return
    lock = _lock_of(run)
    if lock is None or not run.credential.outlives_its_run(lock):
        raise Refused(403, f"{run} does not run, so its password does not hold.")


def _hold(run: Run) -> Run:
    """Hold a run, its password and its stack's state until the transaction ends; return the run.

    Raises Refused if the run or the password ended while the body of the request came.
    """
    # In this order everywhere: a run that is moved holds itself before it refers to its stack.
    Run.objects.select_for_update(no_key=True).get(pk=run.pk)
    same = RunCredential.objects.filter(run=run, password_digest=run.credential.password_digest)
    held = same.select_for_update(of=("self",), no_key=True).select_related("run__stack").first()
    if held is None:
        raise Refused(401, WRONG_PASSWORD)
    Stack.objects.select_for_update().get(pk=run.stack_id)
    _check_not_ended(held.run)
    return held.run


def _read(run: Run) -> HttpResponse:
    newest = run.stack.state_versions.first()
    if newest is None or newest.is_deletion:
        return HttpResponse(status=204)
    try:
        return HttpResponse(newest.read(), content_type="application/json")
    except WrongKey as error:
        raise Refused(500, str(error)) from error


def _lock(run: Run, info: dict[str, str]) -> HttpResponse:
    lock_id = info.get("ID")
    if not lock_id:
        raise Refused(400, "A lock needs an ID.")
    with transaction.atomic():
        run = _hold(run)
        lock = _lock_of(run)
        if lock and lock.is_abandoned:
            lock.delete()
            lock = None
        if lock is None:
            StateLock.objects.create(
                stack=run.stack, run=run, taken_while=run.state, lock_id=lock_id, info=info
            )
        elif (lock.run_id, lock.lock_id) != (run.pk, lock_id):  # else it came twice
            raise Refused(423, "The state is locked.", lock)
    return HttpResponse()


def _unlock(run: Run, info: dict[str, str]) -> HttpResponse:
    """Release a run's own lock; `force-unlock` sends no lock to compare with."""
    with transaction.atomic():
        run = _hold(run)
        lock = _lock_of(run)
        if lock is None:
            return HttpResponse()
        if lock.run_id != run.pk or info.get("ID", lock.lock_id) != lock.lock_id:
            raise Refused(409, "The state is locked by another one.", lock)
        lock.delete()
    return HttpResponse()


def _write(run: Run, lock_id: str, content: bytes) -> HttpResponse:
    new = _understand(content)
    with transaction.atomic():
        run = _hold(run)
        lock = _lock_to_write(run)
        if lock.lock_id != lock_id:
            raise Refused(409, "The state is locked with another ID.", lock)
        newest = run.stack.state_versions.first()
        if newest and newest.digest == new.digest:  # it came twice
            return HttpResponse()
        if newest and not newest.is_deletion:
            _refuse_older(new, newest)
        new.stack, new.run = run.stack, run
        new.number = newest.number + 1 if newest else 1
        new.save()
        new.keep(content)
    return HttpResponse()


def _delete(run: Run) -> HttpResponse:
    """Record that there is no state from now on; earlier versions are kept."""
    with transaction.atomic():
        run = _hold(run)
        _lock_to_write(run)
        newest = run.stack.state_versions.first()
        if newest and not newest.is_deletion:
            StateVersion.objects.create(
                stack=run.stack,
                run=run,
                number=newest.number + 1,
                serial=newest.serial,
                lineage=newest.lineage,
                size=0,
                is_deletion=True,
            )
    return HttpResponse()


def _lock_of(run: Run) -> StateLock | None:
    return StateLock.objects.select_related("run", "stack").filter(stack=run.stack_id).first()


def _lock_to_write(run: Run) -> StateLock:
    """Return the lock under which a run may write. Raises Refused if it has none."""
    lock = _lock_of(run)
    if lock and lock.run_id == run.pk and lock.is_for_writing:
        return lock
    if run.state != State.APPLYING:
        raise Refused(403, "Only a run that applies may write the state.")
    raise Refused(409, "The state is not locked by this run.", lock)


def _understand(content: bytes) -> StateVersion:
    """Return what a state says of itself, not stored yet. Raises Refused if it is none."""
    try:
        return describe(content)
    except InvalidState as error:
        raise Refused(400, str(error)) from None


def _refuse_older(new: StateVersion, newest: StateVersion) -> None:
    if new.lineage != newest.lineage:
        raise Refused(409, "This is the state of something else: its lineage is another one.")
    if new.serial <= newest.serial:
        raise Refused(409, f"A newer state is stored: serial {newest.serial}.")


def _read_lock(request: HttpRequest) -> dict[str, str]:
    """Return a lock that was sent, empty if none was. Raises Refused if it is invalid."""
    body = _read_body(request)
    try:
        info = bounded_json.loads(body, MOST_PARTS_OF_LOCK) if body else {}
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise Refused(400, "Invalid lock: expected a JSON object.")
    return {name: line(info.get(name)) for name in LOCK_FIELDS if name in info}


def _read_body(request: HttpRequest) -> bytes:
    try:
        body = request.read(LARGEST_STATE + 1)
    except UnreadablePostError:
        raise Refused(400, "The body could not be read to its end.") from None
    if len(body) > LARGEST_STATE:
        raise Refused(413, f"A state has at most {LARGEST_STATE // 1024 // 1024} MB.")
    return body


def _answer(status: int, text: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
