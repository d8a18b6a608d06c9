"""Large transfers: what the kernel hands over as one TCP packet of up to 64 KB, sealed and opened by the array.

The framing is WireGuard's, or the bulk framing where the peer reads it. Whatever does not fit here (few packets, other
flows in between, lost or repeated ones, new keys) goes packet by packet.
"""

from __future__ import annotations

from overlays.refmesh.core import bulk, rows, rows_bulk, rows_tcp
from overlays.refmesh.core.keypair import Keypair
from overlays.refmesh.core.rows import Opened, Run
from overlays.refmesh.wire import messages

MIN_ROWS = 4
"""Fewer datagrams are quicker one by one."""


def seal(keypair: Keypair, packet: memoryview, tcp: int, size: int, *, chunks: bool, prefix: bytes) -> Run | None:
    """Return the datagrams of a large packet, in the bulk framing (`chunks`) or in WireGuard's; None: too few or many.

    TCP begins at `tcp`; a segment has `size` octets of data; `prefix` goes before each.
    """
    data = tcp + (packet[tcp + 12] >> 4) * 4
    count = -(-(len(packet) - data) // size)
    if count < MIN_ROWS:
        return None
    length = bulk.META.size + data + size if chunks else rows_tcp.padded(data + size)
    sealer = rows.sealer(length, len(prefix))
    if count > sealer.capacity:
        return None
    plain = sealer.plain[:count]
    if chunks:
        last = rows_bulk.fill(packet, tcp, data, size, plain)
        kind, encrypt = messages.BULK, keypair.bulk[0].encrypt_into
    else:
        last = rows_tcp.padded(rows_tcp.cut(packet, tcp, data, size, plain))
        kind, encrypt = messages.TRANSPORT, keypair.encrypt_into
    counter = keypair.counter
    keypair.counter = counter + count
    return sealer.seal(
        encrypt, prefix + messages.INDEXED_HEAD.pack(kind, keypair.remote_index), counter, count, length - last
    )


def unseal(keypair: Keypair, data: memoryview, size: int, *, chunks: bool, prefix: int) -> Opened | None:
    """Open datagrams of `size` octets, the last one perhaps shorter; None, and nothing has happened: one by one."""
    if len(data) <= (MIN_ROWS - 1) * size or len(data) > rows.MAX_ROWS * size or size < prefix + 96:
        return None
    decrypt = keypair.bulk[1].decrypt_into if chunks else keypair.decrypt_into
    return rows.open_rows(decrypt, keypair.window, data, size, prefix)


def rebuild(opened: Opened, *, chunks: bool) -> bulk.Rebuilt | None:
    """Return what was unsealed as one large packet; None when it is no run of a flow."""
    return rows_bulk.rebuild(opened) if chunks else rows_tcp.join(opened)
