"""The one exception a user may see: a clear line, then exit code 2."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: what is wrong, where, and how to mend it, in one line.

    The command line prints it without a traceback and exits with code 2. Raise it before
    anything is written.

    Args:
        what: What is wrong, e.g. ``"label has 12 columns, KITTI has 15 or 16"``.
        where: File, line, config key or tap name.
        fix: What the user can do, as a command or a short sentence.
    """

    def __init__(self, what: str, where: object = None, fix: str | None = None) -> None:
        # A DataLoader worker's error is raised again with the worker's traceback as its message.
        what = what.rsplit(f"{__name__}.UserError: ", 1)[-1]
        self.what, self.where, self.fix = what, where, fix
        text = f"{where}: {what}" if where is not None else what
        if fix:
            text += f" -> {fix}"
        super().__init__(" ".join(text.split()))


def did_you_mean(name: str, known: Iterable[str], limit: int = 3) -> str:
    """Return a hint such as ``"did you mean 'neck' or 'neck.0'?"`` or list what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=limit, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"known: {shown or 'none'}"


def user_line(error: BaseException) -> str | None:
    """Return the one line that tells a user of `error`, or None for a fault of the program."""
    if isinstance(error, UserError):
        return str(error)
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOSPC:
        return f"{error.filename or 'write'}: the disk is full -> free some space and run again"
    known = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    if isinstance(error, known) and error.filename:
        return f"{error.filename}: {(error.strerror or 'not readable').lower()}"
    return None
