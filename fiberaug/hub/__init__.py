"""Folders sent to the Hub, each with a card that says what it is."""

from fiberaug.hub.options import Pushed
from fiberaug.hub.pushing import push

__all__ = ["Pushed", "push"]
