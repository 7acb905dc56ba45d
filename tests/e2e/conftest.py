"""What is in `examples/` is a user's: tests copy it to where users have theirs, and it is not collected here."""

from __future__ import annotations

collect_ignore = ["examples"]
