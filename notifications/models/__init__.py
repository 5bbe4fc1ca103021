"""Who is notified of what, and the messages to them."""

from notifications.models.channel import Channel, ChannelSecret, Kind
from notifications.models.event import Event
from notifications.models.message import Message, MessageState
from notifications.models.subscription import Subscription

__all__ = [
    "Channel",
    "ChannelSecret",
    "Event",
    "Kind",
    "Message",
    "MessageState",
    "Subscription",
]
