"""A local Azure DevOps for tests, for the demo and for trying the product (see README.md)."""

from .server import Emulator

__all__ = ["Emulator"]
