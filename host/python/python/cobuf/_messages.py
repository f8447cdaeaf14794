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


def packed(message: Any, what: str) -> dict[str, Any]:
    """The message as a plain dictionary. `what` names it in errors, such as "message 3"."""
    if _is_plain_dict(message):
        plain: dict[str, Any] = message
        return plain
    text = _text(message)
    try:
        pickled = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception:
        from cobuf import _objects

        try:
            pickled = _objects.dumps(message)
        except Exception as error:
            raise TypeError(
                f"{what} is {text} of type {type(message).__qualname__}, which cannot be sent to "
                f"another process: {error}"
            ) from None
    return {_PICKLE: pickled, _TEXT: text}


def unpacked(message: dict[str, Any]) -> Any:
    """The message that was given to `packed`."""
    pickled = message.get(_PICKLE)
    return message if pickled is None else pickle.loads(pickled)


def _text(message: Any) -> str:
    try:
        text = repr(message)
    except Exception as error:
        text = f"an object whose repr raises {type(error).__name__}"
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


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
