"""Named links with the source of their figures; what no source gives is said to be our own choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from harness.model.link_profile import LinkProfile


@dataclass(frozen=True)
class LinkPreset:
    """A preset; `source` says where delay, rate and loss come from."""

    name: str
    profile: LinkProfile
    source: str


_WPT = "round-trip time (halved for each direction) from WebPageTest's connectivity profile"
_OWN = "our own parametric choice, no measurement behind it"


def _preset(name: str, source: str, **profile: Any) -> LinkPreset:
    return LinkPreset(name, LinkProfile.model_validate({"name": name, **profile}), source)


def _both(**direction: Any) -> dict[str, Any]:
    return {"up": direction, "down": direction}


_ALL: Final = (
    _preset("ideal", "a bare virtual cable: nothing is in the path"),
    _preset(
        "lan", f"{_OWN}: gigabit Ethernet over one switch", **_both(delay_ms=0.1, rate_mbit=1000, queue_packets=1000)
    ),
    _preset(
        "fibre",
        f"{_WPT} FIOS (4 ms); rates and queue {_OWN}",
        up={"delay_ms": 2, "rate_mbit": 100, "queue_ms": 30},
        down={"delay_ms": 2, "rate_mbit": 300, "queue_ms": 30},
    ),
    _preset(
        "dsl",
        f"{_WPT} DSL (50 ms); rates of a common VDSL2 contract and queue {_OWN}",
        up={"delay_ms": 25, "rate_mbit": 10, "queue_ms": 200},
        down={"delay_ms": 25, "rate_mbit": 50, "queue_ms": 100},
    ),
    _preset(
        "pppoe",
        f"dsl with the 8 bytes of PPPoE and PPP in each frame (RFC 2516 section 7); the rest {_OWN}",
        up={"delay_ms": 25, "rate_mbit": 10, "queue_ms": 200, "mtu_bytes": 1492},
        down={"delay_ms": 25, "rate_mbit": 50, "queue_ms": 100, "mtu_bytes": 1492},
    ),
    _preset(
        "ds-lite",
        f"fibre with IPv4 in IPv6 of 1500 bytes, 40 of them header (RFC 6333 section 5.3); for IPv4 alone; rest {_OWN}",
        up={"delay_ms": 2, "rate_mbit": 100, "queue_ms": 30, "mtu_bytes": 1460},
        down={"delay_ms": 2, "rate_mbit": 300, "queue_ms": 30, "mtu_bytes": 1460},
    ),
    _preset(
        "464xlat",
        "lte with IPv4 translated to IPv6, whose header is 20 bytes longer (RFC 6877, RFC 7915 section 1.2: 28 with a "
        f"fragment header); for IPv4 alone; rest {_OWN}",
        **_both(
            delay_ms=35,
            jitter={"kind": "normal", "jitter_ms": 5, "correlation": 0.5},
            loss_percent=0.05,
            rate_mbit=12,
            queue_ms=250,
            mtu_bytes=1472,
        ),
    ),
    _preset(
        "cable",
        f"{_WPT} Cable (28 ms); rates, jitter and the deep upstream queue {_OWN}",
        up={"delay_ms": 14, "jitter_ms": 1.5, "rate_mbit": 20, "queue_ms": 250},
        down={"delay_ms": 14, "jitter_ms": 0.5, "rate_mbit": 200, "queue_ms": 100},
    ),
    _preset(
        "wifi",
        f"{_OWN}: one busy 802.11 access point; contention as a Pareto tail, residual loss in short bursts",
        **_both(
            delay_ms=2,
            jitter={"kind": "pareto", "jitter_ms": 1},
            loss={"kind": "gilbert-elliott", "good_to_bad_percent": 0.1, "bad_to_good_percent": 40},
            rate_mbit=60,
            queue_ms=60,
        ),
    ),
    _preset(
        "3g",
        f"{_WPT} 3G (300 ms, 1.6 and 0.768 Mbit/s); jitter and queue {_OWN}",
        up={"delay_ms": 150, "jitter_ms": 15, "rate_mbit": 0.768, "queue_ms": 500},
        down={"delay_ms": 150, "jitter_ms": 15, "rate_mbit": 1.6, "queue_ms": 500},
    ),
    _preset(
        "lte",
        f"{_WPT} LTE (70 ms, 12 Mbit/s both ways); jitter, loss and queue {_OWN}",
        **_both(
            delay_ms=35,
            jitter={"kind": "normal", "jitter_ms": 5, "correlation": 0.5},
            loss_percent=0.05,
            rate_mbit=12,
            queue_ms=250,
        ),
    ),
    _preset(
        "5g",
        f"{_OWN}: mid-band, non-standalone",
        up={"delay_ms": 10, "jitter_ms": 2, "loss_percent": 0.02, "rate_mbit": 40, "queue_ms": 100},
        down={"delay_ms": 10, "jitter_ms": 2, "loss_percent": 0.02, "rate_mbit": 250, "queue_ms": 60},
    ),
    _preset(
        "leo-satellite",
        "round-trip time of 50 ms, the median of the Starlink measurements of UCLouvain and others, blog.apnic.net "
        f"2022-11-28 (Michel et al., IMC 2022); jitter, rates, queue and the bursts of loss at handovers {_OWN}",
        up={
            "delay_ms": 25,
            "jitter": {"kind": "normal", "jitter_ms": 5, "correlation": 0.8},
            "loss": {"kind": "gilbert-elliott", "good_to_bad_percent": 0.05, "bad_to_good_percent": 10},
            "rate_mbit": 20,
            "queue_ms": 150,
        },
        down={
            "delay_ms": 25,
            "jitter": {"kind": "normal", "jitter_ms": 5, "correlation": 0.8},
            "loss": {"kind": "gilbert-elliott", "good_to_bad_percent": 0.05, "bad_to_good_percent": 10},
            "rate_mbit": 150,
            "queue_ms": 100,
        },
    ),
    _preset(
        "geo-satellite",
        "delay: twice the altitude of 35,786 km at the speed of light is 239 ms one way, and about 600 ms of "
        "round-trip time are seen (as cited by Michel et al., IMC 2022), so 300 ms; 100/10 Mbit/s is the contract "
        "that they compare with; "
        f"queue {_OWN}",
        up={"delay_ms": 300, "rate_mbit": 10, "queue_ms": 500},
        down={"delay_ms": 300, "rate_mbit": 100, "queue_ms": 300},
    ),
    _preset(
        "continental",
        "geometry: 1,500 km, path 1.5 times as long as the great circle, 200 km of fibre a millisecond",
        **_both(delay_ms=11.25),
    ),
    _preset(
        "intercontinental",
        "geometry: 10,000 km, path 1.5 times as long as the great circle, 200 km of fibre a millisecond",
        **_both(delay_ms=75),
    ),
    _preset(
        "lossy",
        f"{_OWN}: a bad path for tests of recovery: 20 ms, bursts of 3 frames on average, 2 % lost in all",
        **_both(
            delay_ms=20,
            loss={"kind": "gilbert-elliott", "good_to_bad_percent": 0.68, "bad_to_good_percent": 33.3},
        ),
    ),
    _preset(
        "bufferbloat",
        f"{_OWN}: 5 Mbit/s behind a second of drop-tail queue, the case of Gettys and Nichols (2011)",
        **_both(delay_ms=10, rate_mbit=5, queue_ms=1000),
    ),
)

PRESETS: Final[Mapping[str, LinkPreset]] = MappingProxyType({preset.name: preset for preset in _ALL})
