"""Mistakes of the user. Commands print these as one line; any other exception is a bug."""

from __future__ import annotations


class UserError(ValueError):
    """Says in one line what is wrong, what was found, and what to do."""


class NotFoundError(UserError, FileNotFoundError):
    """A ``UserError`` about something that does not exist."""


class UnreachableError(UserError, ConnectionError):
    """A ``UserError`` about a machine or service that does not answer."""
