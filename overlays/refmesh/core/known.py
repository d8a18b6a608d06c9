"""A node's memory and its report: what it keeps over restarts, and what it shows."""

from __future__ import annotations

import contextlib
from typing import Any

from overlays.refmesh.core.node import Node
from overlays.refmesh.errors import CredentialError, MalformedMessage
from overlays.refmesh.keys import short
from overlays.refmesh.wire import control

UNSAVED_S = 60.0
"""Initiations of so long before the end may not have been written down."""
LATEST_UNIX_S = float(1 << 40)


def known(node: Node) -> dict[str, Any]:
    """Return what lets the node find its peers without any server, to be given to `restore`."""
    members = [
        {
            "certificate": peer.certificate.text,
            "candidates": [
                [check.kind, *check.path.endpoint]
                for check in peer.finder.checks.values()
                if check.path.direct and not check.path.local
            ],
        }
        for peer in node.peers.by_key.values()
        if peer.certificate is not None and peer.finder is not None
    ]
    policy = node.directory.policy
    return {
        "policy": policy.text if policy is not None else None,
        "members": members,
        "initiated_unix_s": node.tunnel.initiated_unix_s,
    }


def restore(node: Node, stored: Any, now: float) -> None:
    """Take what `known` gave; whatever of it is not to be believed any more is left out, and said so."""
    try:
        _restore_clock(node, stored.get("initiated_unix_s"))
        if stored["policy"] is not None:
            node.peers.set_policy(str(stored["policy"]))
        for entry in stored["members"]:
            _restore(node, entry, now)
    except (CredentialError, AttributeError, KeyError, TypeError, ValueError) as error:
        node.outbox.events.append(f"the stored state is of no use: {error}")


def _restore_clock(node: Node, unix_s: Any) -> None:
    if isinstance(unix_s, (int, float)) and 0 < unix_s < LATEST_UNIX_S:
        node.tunnel.initiated_unix_s = max(node.tunnel.initiated_unix_s, unix_s + UNSAVED_S)


def _restore(node: Node, entry: dict[str, Any], now: float) -> None:
    try:
        peer = node.peers.admit(str(entry["certificate"]), now)
    except CredentialError as error:
        node.outbox.events.append(f"not taken from the stored state: {error}")
        return
    if peer is not None and peer.finder is not None:
        for candidate in entry["candidates"]:
            with contextlib.suppress(MalformedMessage, TypeError, ValueError):
                kind, host, port = candidate
                peer.finder.add(control.valid_candidate((host, port)), str(kind), now)
        node.outbox.due(peer, now)


def status(node: Node, now: float) -> dict[str, Any]:
    """Everything that `refmesh status` shows."""
    own = node.certificate
    return {
        "name": own.name if own is not None else short(node.tunnel.static.public),
        "addresses": list(node.addresses),
        "mode": node.config.mode,
        "layer": node.config.layer,
        "ready": node.ready,
        "keepalive_s": node.lifetime.interval_s,
        "servers": [link.status(now) for link in node.servers.links],
        "peers": [peer.status(now) for peer in node.peers.by_key.values()],
    }


def ping(node: Node, name: str, now: float) -> dict[str, Any] | None:
    """Check the path to a peer now; return its status with the number of answered checks so far."""
    peer = next((peer for peer in node.peers.by_key.values() if peer.name == name), None)
    if peer is None or peer.finder is None:
        return None
    check = peer.finder.checks.get(peer.path) if peer.path is not None else None
    if check is not None:
        check.due_s = now
    node.outbox.due(peer, now)
    return peer.status(now) | {"answered": sum(check.answered for check in peer.finder.checks.values())}
