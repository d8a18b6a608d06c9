"""TCP load by a sender and a sink of ours, for overlays and paths through which iperf3 does not get.

iperf3 has a connection for control next to that of the data, and ends both from the server's side: not every product
that carries streams survives that, and on a path that loses much it does not come to its end. Ours has no control but
the receiver's one answer. `python -m bench.streams` shows the figures equal to iperf3's on an interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from harness.errors import OverlayError
from harness.probes import load_peer
from harness.probes.measurement import Target
from harness.probes.peer import Peer, answer_of
from harness.probes.steady import Window, watch_load
from harness.probes.tcpflows import Flow

if TYPE_CHECKING:
    from harness.probes.contract import Surroundings

TOOL: Final = "sender"
PORT: Final = 7414
# For connecting, and for an answer that is lost and sent again.
_GRACE_S: Final = load_peer.CONNECT_S + load_peer.SILENCE_S + load_peer.PATIENCE_S + 5.0
_CLIENTS: Final = {"forward": "fill", "backward": "drain"}


def own_load(
    target: Target, trial: Surroundings, way: str, *, omit_s: float, duration_s: float, connections: int = 1
) -> tuple[Flow, Window | None]:
    """Fill one direction between `src` and `dst`; return what was received, and its steady part.

    Args:
        way: `forward`, from `src` to `dst`, or `backward`.
        omit_s: how much of the beginning is left out.
        duration_s: how long it is measured then.
        connections: how many at once.

    Raises:
        OverlayError: the stream could not be opened, or ended.
    """
    peer = Peer(load_peer, target, target.stream(PORT))
    with peer.serving():
        client = peer.client(_CLIENTS[way], [omit_s, duration_s, connections], f"{TOOL}-{way}.json")
        try:
            window = watch_load(target, trial, client, way, port=PORT, omit_s=omit_s, duration_s=duration_s)
        finally:
            answer = answer_of(client, omit_s + duration_s + _GRACE_S)
    if "error" in answer:
        raise OverlayError(f"{TOOL} {target.src} to {target.dst}: {answer['error']}")
    received = float(answer["bytes"])
    return Flow(received * 8 / 1e6 / answer["seconds"], received, None, None), window
