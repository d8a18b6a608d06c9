"""Reads what others wrote as JSON, field by field: the expected type, within its bounds, or MalformedMessage.

Python's reader takes `NaN`, and `1e999` for infinity, and any whole number; `int()` and `struct` raise on those what
no caller expects. No field of ours is a fraction, so a number is a whole one here, with bounds where it is read.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from overlays.refmesh.errors import MalformedMessage

U32, U63 = (1 << 32) - 1, (1 << 63) - 1


def _refuse(text: str) -> NoReturn:
    raise MalformedMessage(f"{text[:20]} is no whole number")


_decode = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse).decode


def load_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object in UTF-8 without fractions; MalformedMessage for anything else."""
    try:
        value = _decode(data.decode())
    except (ValueError, RecursionError):
        raise MalformedMessage("no JSON") from None
    if not isinstance(value, dict):
        raise MalformedMessage("JSON that is no object")
    return value


def take(body: dict[str, Any], field: str) -> Any:
    """Return a field that must be there."""
    if field not in body:
        raise MalformedMessage(f"{field} is missing")
    return body[field]


def number(body: dict[str, Any], field: str, low: int, high: int) -> int:
    """Return a whole number from `low` to `high`."""
    value = take(body, field)
    if type(value) is not int or not low <= value <= high:
        raise MalformedMessage(f"{field} is no whole number from {low} to {high}")
    return value


def flag(body: dict[str, Any], field: str) -> bool:
    """Return a field that is true or false."""
    value = take(body, field)
    if type(value) is not bool:
        raise MalformedMessage(f"{field} is neither true nor false")
    return value


def text(body: dict[str, Any], field: str, longest: int) -> str:
    """Text of at most so many characters."""
    value = take(body, field)
    if type(value) is not str or len(value) > longest:
        raise MalformedMessage(f"{field} is no text of up to {longest} characters")
    return value


def items(body: dict[str, Any], field: str, most: int) -> list[Any]:
    """Return a list of at most so many items, of whatever type."""
    value = take(body, field)
    if type(value) is not list or len(value) > most:
        raise MalformedMessage(f"{field} is no list of up to {most} items")
    return value


def texts(body: dict[str, Any], field: str, most: int, longest: int) -> tuple[str, ...]:
    """Return a list of at most so many texts of at most so many characters."""
    values = items(body, field, most)
    if any(type(value) is not str or len(value) > longest for value in values):
        raise MalformedMessage(f"{field} has something else than texts of up to {longest} characters")
    return tuple(values)
