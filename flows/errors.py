"""The two ways a check can end badly, told apart so that a report never mixes them up.

What belongs here: exceptions that every layer shares. What does not: messages of one layer's own.
"""

from __future__ import annotations

FIRST_LINE = 100
"""Longest first line of a failure, in characters (a terminal's width with room for pytest's own mark)."""


class VerdictError(AssertionError):
    """The system under test is wrong: a flow ended otherwise than its rules promise (Allure: failed)."""


class HarnessError(Exception):
    """We could not tell: the cluster, the harness or the machine stood in the way (Allure: broken).

    Args:
        message: One line that names what, where and the remedy.
        detail: What a person wants next: the tool's own stderr, the last state seen.
    """

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(f"{message}\n{detail}" if detail else message)
        self.message = message
        self.detail = detail


class InconclusiveError(HarnessError):
    """A flow was asked and its answer does not decide anything: a control, the journal or the lag was missing."""


class UsageError(HarnessError):
    """What the user gave cannot be used; the message names file, field and remedy in one line."""


class PreparationError(HarnessError):
    """The cluster could not be made ready; reported once for the whole run, with the tool's own words."""
