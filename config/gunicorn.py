"""How gunicorn serves Stackhook: a few processes, with a few threads each.

A page may wait for a provider: without threads two of them would hold up the webhooks.
"""

import sys

from django.core.exceptions import ImproperlyConfigured
from gunicorn.arbiter import Arbiter

from config import database, environment
from config.arrivals import Worker

try:
    environment.read_env_file(environment.BASE_DIR / ".env")
    bind = f"127.0.0.1:{environment.port('PORT', 8000)}"
    workers = environment.count("WEB_CONCURRENCY", 2)
except ImproperlyConfigured as error:
    sys.exit(f"Stackhook can't start: {error}")

threads = 4
# In seconds. Whoever stores webhooks has waited for the disk, and others wait for that thread: by
# default, a thread that computes would hold it up for 5 ms each time.
sys.setswitchinterval(0.0005)
worker_class = Worker
# Static files too wait in memory until they are read, not in a thread.
sendfile = False
# No header of a visitor may set the server's own variables, like SCRIPT_NAME.
forwarder_headers = ""
# The database holds sessions: it is nobody else's to read.
umask = 0o077
# Loading before forking turns a wrong setting into one sentence and an exit.
preload_app = True
# Unlinking, the slowest answer, ends after 20 seconds.
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
