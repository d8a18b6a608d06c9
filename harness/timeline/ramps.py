"""Links between two others, for changes that take a while. Pure."""

from __future__ import annotations

from harness.model.link_profile import BernoulliLoss, Direction, LinkProfile

# As often as a radio reports; a frame sees no smaller steps than the link's own delay.
STEP_S = 0.1


def ramp(old: LinkProfile, new: LinkProfile, over_s: float) -> list[tuple[float, LinkProfile]]:
    """Return the profiles on the way from one link to another, each with its moment in seconds since the beginning.

    The first one at 0 is a step away from `old` already, and the last, at the end, is `new`.
    """
    steps = max(1, round(over_s / STEP_S))
    moments = [(number, over_s * number / steps) for number in range(steps + 1)]
    shares = [(moment, min(1.0, (number + 1) / (steps + 1))) for number, moment in moments]
    return [(moment, new if share == 1.0 else between(old, new, share)) for moment, share in shares]


def between(old: LinkProfile, new: LinkProfile, share: float) -> LinkProfile:
    """Return the link that has gone a share of the way: delays and percentages evenly, rates by even factors.

    What has no middle (jitter, queues, MTU, a loss that is no mere percentage) is the new link's from the beginning.
    """
    ways = {way: _between(getattr(old, way), getattr(new, way), share) for way in ("up", "down")}
    return new.model_copy(update={**ways, "name": None})


def _between(old: Direction, new: Direction, share: float) -> Direction:
    changes: dict[str, object] = {
        name: _even(getattr(old, name), getattr(new, name), share)
        for name in ("delay_ms", "duplicate_percent", "corrupt_percent")
    }
    if old.rate_mbit is not None and new.rate_mbit is not None:
        changes["rate_mbit"] = old.rate_mbit * (new.rate_mbit / old.rate_mbit) ** share
    if all(loss is None or isinstance(loss, BernoulliLoss) for loss in (old.loss, new.loss)):
        percents = [loss.percent if isinstance(loss, BernoulliLoss) else 0.0 for loss in (old.loss, new.loss)]
        percent = _even(percents[0], percents[1], share)
        changes["loss"] = BernoulliLoss(percent=percent) if percent else None
    return new.model_copy(update=changes)


def _even(old: float, new: float, share: float) -> float:
    return old + (new - old) * share
