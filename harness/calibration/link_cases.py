"""The grid of `calibrate link`: delay, jitter, loss, rate and packet size, alone and together (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from harness.calibration.link_traffic import Stream
from harness.model.link import LinkProfile, parse_link

Check = Literal["delay", "distribution", "loss", "rate", "queue", "reorder", "duplicate", "oversize"]
SIZES: Final = (100, 1400)


@dataclass(frozen=True)
class Case:
    """A link, the stream sent through it (in direction up) and what is looked at; `trace` is a rate trace's text."""

    name: str
    spec: Mapping[str, Any]
    stream: Stream
    checks: tuple[Check, ...]
    trace: str | None = None

    @property
    def profile(self) -> LinkProfile:
        """The link."""
        return parse_link(self.spec)


def _case(name: str, spec: dict[str, Any], stream: Stream, *checks: Check, trace: str | None = None) -> Case:
    return Case(name, MappingProxyType(spec), stream, checks, trace)


def _overload(rate_mbit: float, size: int, seconds: float) -> Stream:
    """Return a stream of a quarter more than the link carries."""
    gap_us = (size + 14) * 8 / (rate_mbit * 1.25)
    return Stream(int(seconds * 1e6 / gap_us), gap_us, size)


def _rate_case(rate_mbit: float, size: int, queue: dict[str, Any], name: str) -> Case:
    # Long enough for the queue to be full for most of the time, and for a percent to be seen.
    spec = {"delay_ms": 5, "rate_mbit": rate_mbit, **queue}
    return _case(name, spec, _overload(rate_mbit, size, 3 if rate_mbit < 10 else 1.5), "rate", "queue")


_STEADY = {size: Stream(800, 1000, size) for size in SIZES}
_LOSSY: Final = Stream(20_000, 60, 200)
_GILBERT = {"kind": "gilbert-elliott", "good_to_bad_percent": 1, "bad_to_good_percent": 20}
# Three packets in 4 ms: 9 Mbit/s on average, in fits and starts.
_TRACE: Final = "1\n1\n4\n"

CASES: Final[tuple[Case, ...]] = (
    *(
        _case(f"delay-{delay:g}ms-{size}", {"delay_ms": delay}, _STEADY[size], "delay")
        for delay in (1, 10, 50, 200)
        for size in SIZES
    ),
    *(
        _case(
            f"jitter-{kind}",
            {"delay_ms": 20, "jitter": {"kind": kind, "jitter_ms": 2}},
            Stream(1500, 2000, 200),
            "distribution",
        )
        for kind in ("uniform", "normal", "pareto")
    ),
    _case(
        "jitter-correlated",
        {"delay_ms": 20, "jitter": {"kind": "normal", "jitter_ms": 2, "correlation": 0.7}},
        Stream(1500, 2000, 200),
        "delay",
    ),
    *(_case(f"loss-{share:g}%", {"loss_percent": share}, _LOSSY, "loss", "delay") for share in (0.5, 2, 10)),
    _case("loss-correlated", {"loss": {"percent": 5, "correlation": 0.5}}, _LOSSY, "loss"),
    _case("loss-gilbert-elliott", {"loss": _GILBERT}, _LOSSY, "loss", "delay"),
    _case("duplicate-5%", {"delay_ms": 2, "duplicate_percent": 5}, Stream(4000, 300, 200), "duplicate", "loss"),
    _case("corrupt-5%", {"corrupt_percent": 5}, Stream(10_000, 100, 1000), "loss"),
    _case("reorder-10%", {"delay_ms": 10, "reorder_percent": 10}, Stream(3000, 500, 200), "reorder"),
    _case(
        "reorder-correlated",
        {"delay_ms": 10, "reorder_percent": 10, "reorder_correlation": 0.5},
        Stream(3000, 500, 200),
        "reorder",
    ),
    *(_rate_case(rate, 1400, {"queue_ms": 40}, f"rate-{rate:g}mbit-1400") for rate in (1, 10, 100, 300)),
    _rate_case(10, 100, {"queue_ms": 40}, "rate-10mbit-100"),
    _rate_case(20, 1400, {"queue_packets": 50}, "rate-20mbit-packets"),
    _case(
        "rate-10mbit-codel",
        {"delay_ms": 5, "rate_mbit": 10, "queue": {"discipline": "codel", "limit_packets": 1000}},
        Stream(5500, 1108, 1400),
        "rate",
    ),
    _case("rate-trace", {"rate_file": "trace", "queue_packets": 30}, _overload(9, 1500, 2), "rate", trace=_TRACE),
    _case("mtu-1280", {"delay_ms": 1, "mtu_bytes": 1280}, Stream(200, 500, 1400), "oversize"),
    _case(
        "all-together",
        {"delay_ms": 30, "jitter_ms": 2, "loss_percent": 2, "rate_mbit": 20, "queue_ms": 50},
        Stream(3000, 800, 1000),
        "distribution",
        "loss",
    ),
)


def cases_matching(words: tuple[str, ...]) -> list[Case]:
    """Return the cases whose names contain any of the words; all where there is no word."""
    return [case for case in CASES if not words or any(word in case.name for word in words)]
