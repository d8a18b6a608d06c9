"""Words and forms that all parts of the translation table share, as nftables text."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.nat import Mapping

MAP_SIZE = 262144

# The tracking mark of flows that came in by a mapping of the table.
BY_MAPPING = "0x1"

INTERNAL = "ct original ip saddr . ct original proto-src"
DESTINATION = {
    Mapping.EIM: "",
    Mapping.ADM: " . ct original ip daddr",
    Mapping.APDM: " . ct original ip daddr . ct original proto-dst",
}
DESTINATION_TYPE = {Mapping.EIM: "", Mapping.ADM: " . ipv4_addr", Mapping.APDM: " . ipv4_addr . inet_service"}
# The peer of a flow that began outside; of a hairpin, as the far end sees it.
PEER = {
    Mapping.EIM: "",
    Mapping.ADM: " . ct reply ip daddr",
    Mapping.APDM: " . ct reply ip daddr . ct reply proto-dst",
}


def quoted(names: tuple[str, ...]) -> str:
    """Return an anonymous set of interface names."""
    return "{ " + ", ".join(f'"{name}"' for name in names) + " }"


def chain(name: str, hook: str, *rules: str) -> Iterator[str]:
    """Yield the lines of a chain; `hook` is empty for one that is only jumped to, and so may rules be."""
    yield f"\tchain {name} {{"
    if hook:
        yield f"\t\ttype {hook}; policy accept;"
    yield from (f"\t\t{rule}" for rule in rules if rule)
    yield "\t}"
