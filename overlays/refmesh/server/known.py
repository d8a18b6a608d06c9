"""What a server keeps over a restart: its members and where they were, so that it asks them for new keys at once.

Without that a relayed pair waits until both have found, at their next greeting, that the server knows them no more.
"""

from __future__ import annotations

from typing import Any

from overlays.refmesh.errors import CredentialError, MalformedMessage
from overlays.refmesh.server.engine import Server
from overlays.refmesh.wire import control


def known(server: Server) -> list[dict[str, Any]]:
    """Return the members that are there, to be given to `restore`; those behind TLS come back by themselves."""
    return [
        {"certificate": registration.certificate.text, "endpoint": list(registration.endpoint)}
        for registration in server.registry.by_key.values()
        if registration.online and registration.endpoint is not None and registration.endpoint[0] != "tls"
    ]


def restore(server: Server, stored: Any, now: float) -> None:
    """Asks the members that `known` gave for new keys; whoever is not to be believed any more is left out."""
    for entry in stored if isinstance(stored, list) else ():
        try:
            endpoint = control.valid_endpoint(tuple(entry["endpoint"]))
            server.invite_back(str(entry["certificate"]), endpoint, now)
        except (CredentialError, MalformedMessage, KeyError, TypeError, ValueError) as error:
            server.outlet.events.append(f"not taken from the stored state: {error}")
