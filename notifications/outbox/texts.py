"""What a message says: names, states, counts and a link, and nothing else.

Nothing of a plan's values, a log or a token is in it, since it leaves Stackhook.
"""

from typing import Any

from django.conf import settings

from notifications.models import Event, Kind, Message

SENTENCES = {
    Event.WAITING: "waits for confirmation",
    Event.FAILED: "failed",
    Event.DRIFT: "found drift",
    Event.APPLIED: "was applied",
}
CARD = "application/vnd.microsoft.card.adaptive"


def subject_of(message: Message) -> str:
    """Return what happened in one line, like “Network: Run 8 failed”."""
    run = message.run
    return f"{run.stack.name}: {run} {SENTENCES[Event(message.event)]}"


def details_of(message: Message) -> str:
    """Return how much changes or drifted; empty if that is unknown."""
    run = message.run
    return run.drift_text if message.event == Event.DRIFT else run.counts


def url_of(message: Message) -> str:
    """Return the address of the run's page."""
    return f"{settings.PUBLIC_URL}{message.run.get_absolute_url()}"


def body_for(kind: Kind, message: Message) -> dict[str, Any]:
    """Return what is posted to a channel of that kind, to be encoded as JSON."""
    bodies = {Kind.TEAMS: _teams, Kind.SLACK: _slack, Kind.WEBHOOK: _webhook}
    return bodies[kind](message)


def _teams(message: Message) -> dict[str, Any]:
    """Return a message with an Adaptive Card, all that workflows of Teams accept.

    A TextRun shows names as they are: TextBlock would read them as Markdown.
    https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
    https://learn.microsoft.com/en-us/connectors/teams/ ("Microsoft Teams - Webhook")
    """
    texts = [{"type": "TextRun", "text": subject_of(message), "weight": "Bolder"}]
    if details := details_of(message):
        texts.append({"type": "TextRun", "text": f" – {details}"})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": texts}],
        "actions": [{"type": "Action.OpenUrl", "title": "Open run", "url": url_of(message)}],
    }
    return {"type": "message", "attachments": [{"contentType": CARD, "content": card}]}


def _slack(message: Message) -> dict[str, Any]:
    """Return a message for Slack's incoming webhooks, in whose text &, < and > are escaped.

    https://api.slack.com/messaging/webhooks, https://api.slack.com/reference/surfaces/formatting
    """
    text = " – ".join(filter(None, [subject_of(message), details_of(message)]))
    for character, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, code)
    return {"text": f"{text} <{url_of(message)}|Open run>"}


def _webhook(message: Message) -> dict[str, Any]:
    """Return what a webhook gets; docs/notifications.md describes it."""
    run, stack = message.run, message.run.stack
    return {
        "type": f"run.{message.event}",
        "timestamp": message.created_at.isoformat(),
        "data": {
            "text": subject_of(message),
            "details": details_of(message),
            "stack": {"id": stack.slug, "name": stack.name, "labels": stack.labels},
            "run": {
                "number": run.number,
                "kind": run.kind,
                "state": run.state,
                "url": url_of(message),
            },
        },
    }
