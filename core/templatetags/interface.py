"""What templates of every package share: ages, icons, badges that say a state, and polling."""

from datetime import datetime, timedelta
from functools import cache

from django import template
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# What is older, or further away, is a date.
MOST_DAYS = 60
# Outlines on a ground of 16 × 16, drawn with a line of the text's color.
ICONS = {
    "alert": "M8 2.2 14.2 13.5H1.8zM8 6.4v3.4M8 11.6v.1",
    "bell": "M4 11.5V7a4 4 0 0 1 8 0v4.5l1.2 1H2.8zM6.8 14.2h2.4",
    "blocks": "M2.5 8.5h5v5h-5zM8.5 8.5h5v5h-5zM5.5 2.5h5v5h-5z",
    "branch": "M4.5 4v8M4.5 8.5h4a3 3 0 0 0 3-3V4.6M4.5 2.6v.1M11.5 3v.1M4.5 13.4v.1",
    "check": "m3 8.5 3.3 3.3L13 4.8",
    "clock": "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M8 4.8V8l2.2 1.6",
    "copy": "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
    "cross": "m4 4 8 8M12 4l-8 8",
    "cut-cube": "M8 2 2.5 5v6L8 14l5.5-3V7l-3-3.6zM2.5 5 8 8v6M8 8l1.6-.9M10.5 3.4 9.6 7.1l3.9-.1",
    "forward": "m3 4 4.5 4L3 12M8.5 4 13 8l-4.5 4",
    "hand": "M5.5 3.5v9M10.5 3.5v9",
    "home": "M2.5 7.5 8 3l5.5 4.5M4 6.5v7h8v-7",
    "key": "M10.5 2.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8.3 7.7 2.5 13.5M4.8 11.2l1.8 1.8",
    "link": "M6.8 9.2 9.2 6.8M7.5 4.8 9 3.3a2.6 2.6 0 0 1 3.7 3.7l-1.5 1.5"
    "M8.5 11.2 7 12.7A2.6 2.6 0 0 1 3.3 9l1.5-1.5",
    "list": "M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.1M2.5 8h.1M2.5 12h.1",
    "minus": "M3.5 8h9",
    "module": "M8 2 13.5 5v6L8 14l-5.5-3V5zM2.5 5 8 8l5.5-3M8 8v6",
    "people": "M6 3a2.4 2.4 0 1 0 0 4.8A2.4 2.4 0 0 0 6 3"
    "M1.8 13c.3-2.4 2-3.6 4.2-3.6s3.9 1.2 4.2 3.6"
    "M11 3.4a2.2 2.2 0 0 1 0 4.2M12 9.8c1.3.5 2 1.6 2.2 3.2",
    "preview": "M1.8 8S4 3.8 8 3.8 14.2 8 14.2 8 12 12.2 8 12.2 1.8 8 1.8 8"
    "M8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6",
    "run": "M5 3.2 12.5 8 5 12.8z",
    "running": "M8 2a6 6 0 1 0 6 6",
    "settings": "M2.5 4.5h5M11 4.5h2.5M2.5 11.5H5M8.5 11.5h5M9.2 2.8v3.4M6.8 9.8v3.4",
    "stack": "M2.5 5.5 8 2.5l5.5 3L8 8.5zM2.5 8.5 8 11.5l5.5-3M2.5 11 8 14l5.5-3",
}


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """Return an icon by its name; it says nothing, so a text belongs beside it."""
    return format_html(
        '<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">'
        '<path d="{}"/></svg>',
        ICONS[name],
    )


@register.simple_tag
def badge(tone: str, icon_name: str, text: str) -> SafeString:
    """Return a state as an icon and a word, in one of the tones of elements.css."""
    return format_html(
        '<span class="badge badge-{}">{} {}</span>', tone, icon(icon_name), str(text)
    )


@register.simple_tag
def moment(value: datetime) -> SafeString:
    """Return how long ago a moment was, with the moment itself for machines and on hover."""
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        local.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S}",
        age(value),
    )


@register.simple_tag(takes_context=True)
def live(context: Context) -> SafeString:
    """Return the attributes of a part that polls its page, saying which version of it is shown."""
    request = context["request"]
    query = request.GET.copy()
    query["version"] = context["live_version"]
    return format_html(
        'data-live hx-get="{}?{}" hx-trigger="every 4s" hx-swap="outerHTML"',
        request.path,
        query.urlencode(),
    )


def age(moment: datetime) -> str:
    """Return how long ago a moment was, or how far it is, like “3 d ago” or “in 5 min”."""
    passed = timezone.now() - moment
    distance = abs(passed)
    if distance < timedelta(seconds=5):
        return "just now"
    if distance >= MOST_DAYS * DAY:
        return f"{moment:%b} {moment.day}, {moment.year}"
    units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (timedelta(seconds=1), "s")]
    unit, name = next(pair for pair in units if distance >= pair[0])
    text = f"{distance // unit} {name}"
    return f"{text} ago" if passed > timedelta(0) else f"in {text}"
