"""The drawing of a topology as SVG, from the plan's own words: the Internet on top, each host below its routers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

COLUMN, ROW, BOX = 132, 84, (104, 44)
# More nodes than this are no longer readable side by side; the rest is said in words.
MOST = 12


@dataclass(frozen=True)
class Drawing:
    """The picture and a description in words."""

    svg: str
    text: str
    left_out: int = 0


@dataclass(frozen=True)
class _Place:
    x: float
    y: float
    label: str
    note: str
    kind: str


def draw_topology(topology: Mapping[str, Any], nats: Mapping[str, str]) -> Drawing | None:
    """Return the drawing of a resolved topology as the plan holds it; None for one whose form is not ours (Mininet's).

    `nats` maps a router to the label of its NAT.
    """
    hosts, routers = topology.get("hosts") or {}, topology.get("routers") or {}
    if not hosts or topology.get("mininet"):
        return None
    upstream = {name: host.get("via") for name, host in hosts.items()}
    upstream |= {name: router["outside"].get("via") for name, router in routers.items()}
    chains = {name: _chain(name, upstream) for name in hosts}
    shown = sorted(hosts, key=lambda name: (list(reversed(chains[name][1:])), name))[:MOST]
    depth = max(len(chains[name]) for name in shown)
    columns = {name: float(index) for index, name in enumerate(shown)}
    for name in [router for host in shown for router in chains[host][1:]]:
        below = [columns[host] for host in shown if name in chains[host]]
        columns[name] = sum(below) / len(below)
    places = {}
    for host in shown:
        for level, name in enumerate(reversed(chains[host])):
            is_host = name == host
            y = (depth if is_host and len(chains[host]) > 1 else level + 1) * ROW
            address = _address(hosts[name] if is_host else routers[name]["outside"])
            note = address if is_host else nats.get(name, address)
            places[name] = _Place((columns[name] + 0.5) * COLUMN, y + 30, name, note, "host" if is_host else "router")
    return Drawing(_svg(places, upstream, len(shown), depth), _words(chains, nats), len(hosts) - len(shown))


def _chain(name: str, upstream: Mapping[str, str | None]) -> list[str]:
    chain = [name]
    while (above := upstream.get(chain[-1])) is not None and above not in chain:
        chain.append(above)
    return chain


def _address(attachment: Mapping[str, Any]) -> str:
    addresses = attachment.get("addresses") or [attachment.get("address", "")]
    return str(addresses[0])


def _svg(places: Mapping[str, _Place], upstream: Mapping[str, str | None], columns: int, depth: int) -> str:
    width, height = columns * COLUMN, (depth + 1) * ROW - 10
    parts = [
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{width * 1.2:.0f}px" class="topology" '
        'role="img" aria-labelledby="topology-text" xmlns="http://www.w3.org/2000/svg">',
        f'<rect x="8" y="8" width="{width - 16}" height="34" rx="17" class="net"/>',
        f'<text x="{width / 2}" y="30">Internet</text>',
    ]
    for name, place in places.items():
        above = places.get(upstream.get(name) or "")
        end_x, end_y = (above.x, above.y + BOX[1] / 2) if above else (place.x, 42)
        parts.append(f'<path d="M{place.x} {place.y - BOX[1] / 2}L{end_x} {end_y}"/>')
    for place in places.values():
        x, y = place.x - BOX[0] / 2, place.y - BOX[1] / 2
        corner = 6 if place.kind == "router" else 20
        parts += [
            f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="{corner}" class="{place.kind}"/>',
            f'<text x="{place.x}" y="{place.y - 4}" class="name">{escape(place.label)}</text>',
            f'<text x="{place.x}" y="{place.y + 13}">{escape(_short(place.note))}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


def _short(text: str) -> str:
    return text if len(text) <= 17 else text[:16] + "…"


def _words(chains: Mapping[str, list[str]], nats: Mapping[str, str]) -> str:
    parts = []
    for host, chain in chains.items():
        if len(chain) == 1:
            parts.append(f"{host} has a public address")
        else:
            boxes = ", then ".join(f"{name} ({nats[name]})" if name in nats else name for name in chain[1:])
            parts.append(f"{host} is behind {boxes}")
    return "; ".join(parts) + "."
