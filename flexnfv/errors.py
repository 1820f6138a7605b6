"""The one kind of failure that a user can mend.

Every command turns an `InputError` into one line on standard error and exit code 2.
"""

from __future__ import annotations


class FlexNFVError(Exception):
    """Base of every error that FlexNFV raises on purpose."""


class InputError(FlexNFVError):
    """Bad input: a file, an option or a value that the user gave.

    Args:
        what: what is wrong, in one sentence without a full stop.
        where: the file, key or option it was found in (may be empty).
        fix: what to do about it (may be empty).
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = " ".join(what.split())
        self.where = where
        self.fix = fix
        super().__init__(what, where, fix)

    def __str__(self) -> str:
        prefix = f"{self.where}: " if self.where else ""
        suffix = f"; {self.fix}" if self.fix else ""
        return f"{prefix}{self.what}{suffix}"


class BackendError(FlexNFVError):
    """A backend could not carry on: a dead manager, NF or generator."""
