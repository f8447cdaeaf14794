"""Exceptions as text: what went wrong and where first, then the traceback."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path

from cobuf import _own

_PACKAGE = f"{Path(__file__).parent}/"
_IMPORTS = f"{Path(importlib.__file__).parent}/"
# An exception may hold megabytes, and the error of a batch has room for some kilobytes.
_LONGEST_TEXT = 2000
_LONGEST_TRACEBACK = 12_000
_MOST_PARTS = 10


def explain(error: BaseException) -> tuple[str, str]:
    """An exception in a line with its place, and its traceback without this package's frames: empty if
    nothing is left."""
    told = traceback.format_list(_frames(error))
    if isinstance(error, SyntaxError):
        # The line and the place in it.
        told += traceback.format_exception_only(error)[:-1]
    lines = [_shortened("".join(told).rstrip(), _LONGEST_TRACEBACK)] if told else []
    lines += [_shortened(str(note), _LONGEST_TEXT) for note in getattr(error, "__notes__", None) or ()]
    if isinstance(error, BaseExceptionGroup):
        lines += [f"with {_line(part)}" for part in error.exceptions[:_MOST_PARTS]]
    lines += [f"caused by {_line(cause)}" for cause in _causes(error)]
    return _line(error), "\n".join(lines)


def _line(error: BaseException) -> str:
    """Its type, text and place."""
    text, frames = _text(error), _frames(error)
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if isinstance(error, SyntaxError):
        return line  # The text has the place.
    if not frames:
        place = getattr(error, "cobuf_place", "")
        return f"{line} ({place})" if place else line
    # A library's frames are in the traceback.
    at = next((frame for frame in reversed(frames) if not _own.is_installed(Path(frame.filename))), frames[-1])
    return f"{line} ({at.filename}:{at.lineno} in {at.name})"


def _causes(error: BaseException) -> list[BaseException]:
    """The exceptions that led to it, the last first. A chain may be long, or a circle."""
    chain = [error]
    while len(chain) <= _MOST_PARTS:
        last = chain[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None or cause in chain:
            break
        chain.append(cause)
    return chain[1:]


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_own(frame)]


def _is_own(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith((_PACKAGE, _IMPORTS, "<frozen importlib"))


def _text(error: BaseException) -> str:
    try:
        return _shortened(str(error), _LONGEST_TEXT)
    except BaseException as second:
        return f"its text cannot be had: __str__ raises {type(second).__name__}"


def _shortened(text: str, length: int) -> str:
    """The text without its middle, if it is too long."""
    if len(text) <= length:
        return text
    half = length // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters left out … {text[-half:]}"
