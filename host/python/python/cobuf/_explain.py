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
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_own(frame)]
    text = _text(error)
    short = f"{type(error).__name__}: {text}" if text else type(error).__name__
    told = traceback.format_list(frames)
    if isinstance(error, SyntaxError):
        # The line and the place in it.
        told += traceback.format_exception_only(error)[:-1]
    elif frames:
        # A library's frames are in the traceback.
        at = next((frame for frame in reversed(frames) if not _is_library(frame)), frames[-1])
        short += f" ({at.filename}:{at.lineno} in {at.name})"
    elif place := getattr(error, "cobuf_place", ""):
        short += f" ({place})"
    lines = _shortened("".join(told).rstrip(), _LONGEST_TRACEBACK)
    for note in getattr(error, "__notes__", None) or ():
        lines += f"\n{_shortened(str(note), _LONGEST_TEXT)}"
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions[:_MOST_PARTS]:
            lines += f"\nwith {explain(part)[0]}"
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        lines += f"\ncaused by {explain(cause)[0]}"
    return short, lines.lstrip("\n")


def _is_own(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith((_PACKAGE, _IMPORTS, "<frozen importlib"))


def _is_library(frame: traceback.FrameSummary) -> bool:
    return _own.is_installed(Path(frame.filename))


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
