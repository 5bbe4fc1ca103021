"""How gunicorn serves Stackhook: a few processes, with a few threads each.

A page may wait for Azure DevOps, and a visitor may be slow to send: without threads two of
them would hold up the webhooks.
"""

import selectors
import sys
from functools import partial

from django.core.exceptions import ImproperlyConfigured
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import TConn, ThreadWorker

from config import database, environment

try:
    environment.read_env_file(environment.BASE_DIR / ".env")
    bind = f"127.0.0.1:{environment.port('PORT', 8000)}"
    workers = environment.count("WEB_CONCURRENCY", 2)
except ImproperlyConfigured as error:
    sys.exit(f"Stackhook can't start: {error}")


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Gives a new connection a thread only once something comes over it.

    Browsers open connections ahead of need. Gunicorn's own worker lets each silent one hold a
    thread for five seconds: forty of them would keep a webhook waiting for forty seconds.
    """

    def enqueue_req(self, conn: TConn) -> None:
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.set_timeout()
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)


threads = 4
worker_class = Worker
# No header of a visitor may stand for the server's own variables, like SCRIPT_NAME.
forwarder_headers = ""
# The database holds sessions: it is nobody else's to read.
umask = 0o077
# Loading before forking turns a wrong setting into one sentence and an exit.
preload_app = True
# Unlinking, the slowest answer, gives up after 20 seconds.
timeout = 30
# Webhooks and most pages end in this time; what is cut, like an unlinking, goes on later.
graceful_timeout = 4
control_socket_disable = True
loglevel = "warning"


def on_starting(server: Arbiter) -> None:
    """Say at once that the database is away, rather than on every page."""
    try:
        database.refuse_unreachable()
    except ImproperlyConfigured as error:
        sys.exit(f"Stackhook can't start: {error}")
