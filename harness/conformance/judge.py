"""What was seen of one deployment against the overlay contract, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.model.words import SEEKING_DIRECT, Mode, Verdict
from harness.overlay.contract import DependsOnServer, Overlay, ReportsPath
from harness.overlay.support import kinds_of

_PROMISED: Final[dict[str, frozenset[str]]] = {
    "hub": frozenset({"relayed"}),
    "relay": frozenset({"relayed"}),
    "direct": frozenset({"direct"}),
    "mesh": frozenset({"direct"}),
}
# In a mesh content comes from whoever has it by then: the peer, a helper that was faster, or both.
_PROMISED_CONTENT: Final = {**_PROMISED, "mesh": frozenset({"direct", "mixed", "relayed"})}
_CLAIMS: Final[tuple[Verdict, ...]] = ("direct", "relayed", "mixed")
_MOST = 0.9
_KILLED = -9


def complaints(seen: Mapping[str, Any], overlay: Overlay, mode: Mode) -> list[str]:
    """Return what of the contract one deployment broke, one sentence each; `seen` is `worker`'s."""
    return list(_complaints(seen, overlay, mode))


def _complaints(seen: Mapping[str, Any], overlay: Overlay, mode: Mode) -> Iterator[str]:
    if "error" in seen:
        yield str(seen["error"])
        return
    if seen["kinds"] != sorted(kinds_of(overlay)):
        yield f"says that it offers {_listed(kinds_of(overlay))}, and its deployment offers {_listed(seen['kinds'])}"
    judges = {"interface": _of_interfaces, "stream": _of_streams, "content": _of_content}
    for kind in seen["kinds"]:
        yield from judges[kind](seen, overlay, mode)
    if isinstance(overlay, ReportsPath):
        claim = overlay.claimed_path("a", "b", seen["claims"])
        if claim not in _CLAIMS:
            yield f"`claimed_path` makes {claim} of what it said, not {_listed(_CLAIMS)}: {seen['claims']}"
    if seen["outside"]:
        yield f"packets were sent to somewhere outside the lab: {', '.join(seen['outside'])}"
    # The public nodes' daemons were killed on purpose where it was looked at what outlives them.
    spared = {"s", *seen["helpers"]} if mode in SEEKING_DIRECT else set()
    for name, (where, status) in seen["statuses"].items():
        hung = seen["outlasted"].get(name)
        if status == _KILLED and where not in spared and not (hung and name in seen["may_hang"]):
            yield f"service {name} did not end within 3 s of SIGTERM: {hung or 'something else killed it'}"


def _of_interfaces(seen: Mapping[str, Any], overlay: Overlay, mode: Mode) -> Iterator[str]:
    """Judge pings, bulk, ARP and multicast."""
    if seen["connect_success"] != 1.0:
        yield "a's pings to b's overlay address are not answered"
    if seen["answered_back"] < _MOST:
        yield f"of b's pings to a's overlay address {seen['answered_back']:.0%} are answered, not 90 % or more"
    if not seen["bulk_intact"]:
        yield "10 MB over TCP do not arrive intact"
    yield from _of_path(seen["path"], mode, "pings")
    yield from _of_path(seen["path_after_bulk"], mode, "pings after 10 MB")
    if overlay.layer == "L2":
        if seen["neighbours"] < 1:
            yield "says that it is L2, but carries no ARP"
        if not seen["multicast"]:
            yield "says that it is L2, but carries no multicast"
    elif seen["neighbours"]:
        yield f"carries ARP, but says that it is {overlay.layer}, not L2"
    if mode in SEEKING_DIRECT:
        yield from _without_server(overlay, seen["answered_without_server"], seen["path_without_server"])


def _of_streams(seen: Mapping[str, Any], overlay: Overlay, mode: Mode) -> Iterator[str]:
    """Judge connections from both ends, bulk both ways through one of them, and the path that new ones get."""
    for fact, text in (
        ("stream_connects", "a stream from a to b does not open"),
        ("stream_connects_back", "a stream from b to a does not open"),
        ("stream_upload", "10 MB from a to b do not arrive intact"),
        ("stream_download", "10 MB from b to a do not arrive intact on a's stream"),
    ):
        if not seen[fact]:
            yield text
    yield from _of_path(seen["stream_path"], mode, "a new stream")
    yield from _of_path(seen["stream_path_after_bulk"], mode, "a new stream after 10 MB")
    if mode in SEEKING_DIRECT:
        yield from _without_server(overlay, seen["stream_answered_without_server"], seen["stream_path_without_server"])


def _of_content(seen: Mapping[str, Any], _overlay: Overlay, mode: Mode) -> Iterator[str]:
    """Judge that what was put in at one end comes out at the other."""
    if not seen["content_fetched"]:
        yield f"10 MB of content are not fetched: {seen['content_said']}"
        return
    if not seen["content_intact"]:
        yield "10 MB of content do not arrive intact"
    if seen["content_path"] not in _PROMISED_CONTENT[mode]:
        yield f"mode {mode} promises {_listed(_PROMISED_CONTENT[mode])}; content went {seen['content_path']}"


def _of_path(path: str, mode: Mode, what: str) -> Iterator[str]:
    if path not in _PROMISED[mode]:
        yield f"mode {mode} promises a path that is {_listed(_PROMISED[mode])}; that of {what} is {path}"


def _without_server(overlay: Overlay, answered: float, path: str) -> Iterator[str]:
    """Judge that a direct session outlives the server, unless the adapter says that it does not."""
    if isinstance(overlay, DependsOnServer):
        if answered >= 0.5:
            yield "says that it depends on its server, but a direct session outlives the server"
    elif answered < _MOST or path != "direct":
        yield (
            f"a direct session does not outlive the server ({answered:.0%} answered, path {path}); "
            "if that is how the product works, set `depends_on_server`"
        )


def _listed(words: Any) -> str:
    return " or ".join(sorted(words)) or "nothing"
