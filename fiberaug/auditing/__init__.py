"""What a run really did against what its recipe and its mix asked for."""

from fiberaug.auditing.findings import Audit, Finding, Range, Rate
from fiberaug.auditing.running import audit
from fiberaug.auditing.shares import Share

__all__ = ["Audit", "Finding", "Range", "Rate", "Share", "audit"]
