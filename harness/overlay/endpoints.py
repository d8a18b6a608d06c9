"""The kinds of endpoints by which probes reach a member over an overlay: interface, stream, content. Data alone."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# Where streams begin and end on every member, unless an adapter says otherwise: below the kernel's range for outgoing
# connections (32768 and above), so that no other process takes them first.
SERVICE_PORT = 7400
FIRST_LISTEN_PORT = 7500

EndpointKind = Literal["interface", "stream", "content"]


class IpEndpoint(_Strict):
    """An interface (L2, L3): the address at which probes reach a member over the overlay."""

    address: IPvAnyAddress
    interface: str | None = None


class StreamEndpoint(_Strict):
    """A byte stream (L7): what connects to `listen_address:listen_port` on node `src` reaches a TCP service on `dst`.

    The service is the probe's own: while it measures, it listens on `dst` at `service_address:service_port`, where the
    overlay's far end connects to it. One endpoint leads one way; a pair has two, one a direction.
    """

    src: str
    dst: str
    listen_port: int = Field(ge=1, le=65535)
    listen_address: IPvAnyAddress = IPv4Address("127.0.0.1")
    service_port: int = Field(ge=1, le=65535)
    service_address: IPvAnyAddress = IPv4Address("127.0.0.1")


class ContentEndpoint(_Strict):
    """Content (L7): a file that `publish` puts in at node `src`, and `fetch` gets out at node `dst`.

    Both are commands run in their node's folder. In their words `{file}` stands for the path of the file to read or to
    write, and in `fetch` `{id}` for what `identifier`, a regular expression with one group, finds in the stdout of
    `publish`.
    `fetch` ends with 0 once the file is whole.
    """

    src: str
    dst: str
    publish: tuple[str, ...]
    identifier: str = r"(\S+)\s*$"
    fetch: tuple[str, ...]
    env: dict[str, str] = {}
