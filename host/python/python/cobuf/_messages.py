"""Messages that are more than plain dictionaries.

A dictionary of None, bool, int, float, str, bytes, lists and dictionaries crosses as it is, and
compiled producers can read it. Any other object crosses as its pickle, beside a text for people.
"""

from __future__ import annotations

import pickle
from typing import Any

_PICKLE = "/pickle"
_TEXT = "/text"
_LONGEST_TEXT = 200


def packed(message: Any) -> dict[str, Any]:
    """A message as a plain dictionary."""
    if _is_plain_dict(message):
        plain: dict[str, Any] = message
        return plain
    text = repr(message)
    if len(text) > _LONGEST_TEXT:
        text = text[:_LONGEST_TEXT] + "…"
    try:
        pickled = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:
        from cobuf import _objects

        pickled = _objects.dumps(message)
    return {_PICKLE: pickled, _TEXT: text}


def unpacked(message: dict[str, Any]) -> Any:
    """The message that was given to `packed`."""
    pickled = message.get(_PICKLE)
    return message if pickled is None else pickle.loads(pickled)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return _is_plain_dict(value)
    if kind is list:
        return all(map(_is_plain, value))
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    return value is None or bool(kind in (bool, float, str, bytes))


def _is_plain_dict(value: Any) -> bool:
    return type(value) is dict and all(type(key) is str and _is_plain(entry) for key, entry in value.items())
