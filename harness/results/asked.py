"""What the plans of two runs asked for otherwise in the cells that both have. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.model.probes import declared_probes
from harness.model.trial import cell_id_of

Plan = Sequence[Mapping[str, Any]]


def timelines_differ(base: Plan, new: Plan) -> bool:
    """Tell whether anything happens otherwise in a cell of both plans, or in all where they have no cell in common."""
    return bool(_otherwise(base, new, "timeline", _events))


def driven_by_timeline() -> frozenset[str]:
    """Return the probes whose traffic goes through the whole timeline, so that another one is another measurement."""
    return frozenset(name for name, one in declared_probes().items() if one.settings.drives_timeline)


def asked_otherwise(base: Plan, new: Plan) -> Iterator[str]:
    """Say what was asked for otherwise: events, the overlays' options, who carries the links, captures."""
    for old, now in _otherwise(base, new, "timeline", _events):
        yield f"timeline differs: {old or 'none'} in the base, {now or 'none'} in the new run"
    overlays = [{str(trial.get("overlay") or "") for trial in plan} for plan in (base, new)]
    for overlay in sorted(overlays[0] & overlays[1]):
        own = [[trial for trial in plan if str(trial.get("overlay") or "") == overlay] for plan in (base, new)]
        for old, now in _otherwise(own[0], own[1], "options", _settings):
            yield (
                f"options of {overlay or 'an overlay'} differ: {old or 'none'} in the base, {now or 'none'} in "
                "the new run"
            )
    for old, now in _otherwise(base, new, "links", str):
        if old and now:  # plans of earlier versions do not tell
            yield f"requested link backends differ: {old} and {now}"
    for old, now in _otherwise(base, new, "captures", _settings):
        yield f"captures differ: {old or 'none'} in the base, {now or 'none'} in the new run"


def _otherwise(base: Plan, new: Plan, key: str, told: Any) -> list[tuple[str, str]]:
    """Return what differs, as text, each pair of texts once and at most three."""
    sides = [
        {cell_id_of(str(trial.get("id")), trial.get("repeat")): told(trial.get(key) or "") for trial in plan}
        for plan in (base, new)
    ]
    shared = sides[0].keys() & sides[1].keys()
    if shared:
        found = sorted({(sides[0][cell], sides[1][cell]) for cell in shared})
        return [(old, now) for old, now in found if old != now][:3]
    kinds = [sorted(set(side.values())) for side in sides]
    if not all(kinds) or kinds[0] == kinds[1]:
        return []
    return [(" or ".join(kinds[0]), " or ".join(kinds[1]))]


def _settings(given: Any) -> str:
    return json.dumps(given, sort_keys=True) if given else ""


def _events(timeline: Any) -> str:
    return "; ".join(_event(item) for item in timeline)


def _event(item: Mapping[str, Any]) -> str:
    """Return one item of a timeline as people read it."""
    at = item.get("at_s")
    times = [at] if isinstance(at, int | float) else list(at or ())
    words = [str(item.get("do")), str(item.get("to") or "")]
    words.append(f"at {' and '.join(f'{one:g}' for one in times)} s" if times else "")
    words.append(f"after {item['after']}" if item.get("after") else "")
    words.append(f"for {_seconds(item['for_s'])} s" if item.get("for_s") else "")
    words.append(_settings(item.get("settings")))
    return " ".join(word for word in words if word)


def _seconds(given: Any) -> str:
    return " and ".join(f"{one:g}" for one in ([given] if isinstance(given, int | float) else given))
