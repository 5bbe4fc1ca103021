"""The least that a Django webhook receiver does: check a password, parse, insert, answer."""

import base64
import binascii
import hmac
import json
import os
import sys

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import IntegrityError, connection, models, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from config import environment

database = environment.database("BENCH_DATABASE", "")
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={
        "default": environment.database("BENCH_DATABASE", "") | {"CONN_HEALTH_CHECKS": False}
    },
)
django.setup()


class Delivery(models.Model):
    key = models.CharField(max_length=120, unique=True)
    received_at = models.DateTimeField(auto_now_add=True)
    body = models.TextField()

    class Meta:
        app_label = "floor"

    def __str__(self) -> str:
        return self.key


def receive(request: HttpRequest) -> HttpResponse:
    encoded = request.headers.get("Authorization", "").removeprefix("Basic ")
    try:
        given = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        given = b""
    if not hmac.compare_digest(given, b":" + os.environ["BENCH_PASSWORD"].encode()):
        return HttpResponse(status=401)
    body = request.body
    payload = json.loads(body)
    key = f"{payload['subscriptionId']}:{payload['notificationId']}"
    try:
        with transaction.atomic():
            Delivery(key=key, body=body.decode()).save(force_insert=True)
    except IntegrityError:
        return HttpResponse("duplicate")
    return HttpResponse("stored")


urlpatterns = [path("hook", receive)]
application = get_wsgi_application()

if __name__ == "__main__":
    with connection.schema_editor() as editor:
        editor.create_model(Delivery)
    sys.exit()
