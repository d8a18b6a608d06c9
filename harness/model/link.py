"""From what a user wrote to a LinkProfile, with errors that name the field and guess what was meant.

This module is the front door of the link model: profile, presets and parsing are all found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from harness.model.document import did_you_mean
from harness.model.link_presets import PRESETS, LinkPreset
from harness.model.link_profile import Direction, GilbertElliottLoss, Jitter, LinkProfile, Queue

__all__ = ["PRESETS", "Direction", "LinkPreset", "LinkProfile", "LinkSpecError", "parse_link"]

_SHORT = frozenset({"loss_percent", "jitter_ms", "queue_ms", "queue_bytes", "queue_packets"})
_DIRECTION_KEYS = frozenset(Direction.model_fields) | _SHORT
_OUTER_KEYS = frozenset({"name", "preset", "up", "down"})
_KNOWN_BELOW = {
    "jitter": frozenset(Jitter.model_fields),
    "queue": frozenset(Queue.model_fields),
    "loss": frozenset({"kind", "percent", "correlation", "file"} | set(GilbertElliottLoss.model_fields)),
}
# A key given again replaces whatever a preset or the common part said of the same thing.
_REPLACES = {
    "jitter_ms": {"jitter"},
    "jitter": {"jitter_ms"},
    "loss_percent": {"loss"},
    "loss": {"loss_percent"},
    "queue": {"queue_ms", "queue_bytes", "queue_packets"},
    "queue_ms": {"queue", "queue_bytes", "queue_packets"},
    "queue_bytes": {"queue", "queue_ms", "queue_packets"},
    "queue_packets": {"queue", "queue_ms", "queue_bytes"},
    "rate_mbit": {"rate_file"},
    "rate_file": {"rate_mbit"},
}


class LinkSpecError(ValueError):
    """A link that cannot be: `field` is the dotted place inside the link ('' for the whole), `text` what is wrong."""

    def __init__(self, field: str, text: str) -> None:
        self.field = field
        self.text = text
        super().__init__(f"{field}: {text}" if field else text)


def parse_link(spec: str | Mapping[str, object] | LinkProfile) -> LinkProfile:
    """Return the profile that `spec` (a preset's name, a mapping, a profile) stands for.

    Raises LinkSpecError (a ValueError) with one line of text.
    """
    if isinstance(spec, LinkProfile):
        return spec
    if isinstance(spec, str):
        return _preset(spec)
    if not isinstance(spec, Mapping):
        raise LinkSpecError("", f"a link is a preset's name or a mapping, not {type(spec).__name__}")
    for key in spec:
        if key not in _DIRECTION_KEYS | _OUTER_KEYS:
            raise LinkSpecError("", _unknown(str(key), _DIRECTION_KEYS | _OUTER_KEYS))
    base: dict[str, dict[str, Any]] = {"up": {}, "down": {}}
    if "preset" in spec:
        if not isinstance(spec["preset"], str):
            raise LinkSpecError("preset", f"the name of a preset, not {spec['preset']!r}")
        given = _preset(spec["preset"])
        base = {way: getattr(given, way).model_dump(exclude_unset=True) for way in base}
    common = {key: value for key, value in spec.items() if key in _DIRECTION_KEYS}
    merged: dict[str, Any] = {}
    for way, start in base.items():
        own = spec.get(way, {})
        if not isinstance(own, Mapping):
            raise LinkSpecError(way, f"a mapping, not {own!r}")
        for key in own:
            if key not in _DIRECTION_KEYS:
                raise LinkSpecError(way, _unknown(str(key), _DIRECTION_KEYS))
        merged[way] = _over(_over(start, common), own)
    # What stands outside `up` and `down` is named as the user wrote it: without a direction in front.
    return _validated({**({"name": spec["name"]} if "name" in spec else {}), **merged}, outside=frozenset(common))


def _preset(name: str) -> LinkProfile:
    if name not in PRESETS:
        raise LinkSpecError("", f"no link preset {name!r}{did_you_mean(name, PRESETS)}; known: {', '.join(PRESETS)}")
    return PRESETS[name].profile


def _over(base: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    gone: set[str] = set().union(*(_REPLACES.get(key, set()) for key in new)) - set(new)
    kept = {key: value for key, value in base.items() if key not in gone}
    return {**kept, **new}


def _validated(data: Mapping[str, Any], outside: frozenset[str]) -> LinkProfile:
    try:
        return LinkProfile.model_validate(data)
    except ValidationError as error:
        # A misspelt key is the cause of the key that is then missing.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    # Pydantic puts the tag of a union member (the kind of loss) into the place; the user never wrote it.
    tags = {"bernoulli", "gilbert-elliott", "trace"}
    place = [str(part) for part in first["loc"] if str(part) not in tags]
    if first["type"] == "extra_forbidden":
        known = _KNOWN_BELOW.get(place[-2] if len(place) > 1 else "", _DIRECTION_KEYS)
        raise LinkSpecError(".".join(place[:-1]), _unknown(place[-1], known))
    if len(place) > 1 and place[0] in ("up", "down") and place[1] in outside:
        place = place[1:]
    text = first["msg"].removeprefix("Value error, ")
    if first["type"] != "value_error":
        text = f"{text[:1].lower()}{text[1:]} (got {first['input']!r})"
    raise LinkSpecError(".".join(place), text)


def _unknown(key: str, known: Iterable[str]) -> str:
    return f"unknown key {key!r}{did_you_mean(key, known)}"
