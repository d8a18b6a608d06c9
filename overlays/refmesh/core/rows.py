"""Many messages of one length as the rows of one array: what is done per packet, numpy and the cipher do.

A large packet of the kernel becomes up to 60 datagrams of equal length (the last one may be shorter), and what came
together in one read of a socket is the same again. Everything here equals what `keypair.seal_many`, `open_many`,
`bulk.seal` and `bulk.unseal` do one by one; what does not fit, they do.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from cryptography.exceptions import InvalidTag

from overlays.refmesh.core.keypair import REJECT_AFTER_MESSAGES
from overlays.refmesh.core.replay import ReplayWindow
from overlays.refmesh.wire import messages

MAX_ROWS = 60
MAX_OCTETS = 65000
"""What one system call sends at most; the kernel's limits are 64 datagrams and 65,507 octets (65,487 over IPv6)."""
HEAD, TAG = messages.TRANSPORT_HEADER_LEN, messages.TAG_LEN
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
IntoCipher = Callable[[memoryview, memoryview, None, memoryview], int]
"""encrypt_into or decrypt_into of an AEAD of `cryptography`: nonce, data, no associated data, where the result goes."""
_COUNT = np.arange(MAX_ROWS + 1, dtype="<u8")


class Run(NamedTuple):
    """Datagrams one behind the other, each of `size` octets, the last one perhaps shorter. Good until the next one."""

    data: memoryview
    size: int


class Sealer:
    """Buffers for rows of one plain length: they are filled in `plain` and sealed to datagrams."""

    def __init__(self, length: int, prefix: int) -> None:
        """`length`: octets of a plain row; `prefix`: octets before each message, as on a relayed path."""
        self.length, self._prefix = length, prefix
        self.stride = stride = prefix + HEAD + length + TAG
        self.capacity = capacity = min(MAX_ROWS, MAX_OCTETS // stride)
        self.plain: Bytes = np.zeros((capacity, length), np.uint8)
        self._sealed: Bytes = np.zeros((capacity, stride), np.uint8)
        self._nonces = np.zeros((capacity, 3), "<u4")
        self._data = self._sealed.reshape(-1).data
        plain, nonces = self.plain.reshape(-1).data, self._nonces.reshape(-1).data.cast("B")
        self._plain_rows = [plain[i * length : (i + 1) * length] for i in range(capacity)]
        self._nonce_rows = [nonces[i * 12 : (i + 1) * 12] for i in range(capacity)]
        self._sealed_rows = [self._data[i * stride + prefix + HEAD : (i + 1) * stride] for i in range(capacity)]

    def seal(self, encrypt: IntoCipher, head: bytes, counter: int, count: int, short: int) -> Run:
        """Seals the first `count` rows, numbered from `counter` on; the last one without its `short` last octets.

        `head` is what all datagrams begin with: the prefix, then type and receiver index.
        """
        counters = _COUNT[:count] + np.uint64(counter)
        self._nonces[:count, 1:] = counters.view("<u4").reshape(count, 2)
        self._sealed[:count, : len(head)] = np.frombuffer(head, np.uint8)
        self._sealed[:count, len(head) : len(head) + 8] = counters.view(np.uint8).reshape(count, 8)
        whole = count - 1 if short else count
        each_into(encrypt, self._nonce_rows[:whole], self._plain_rows, self._sealed_rows)
        if short:
            encrypt(self._nonce_rows[whole], self._plain_rows[whole][:-short], None, self._sealed_rows[whole][:-short])
        return Run(self._data[: count * self.stride - short], self.stride)


@lru_cache(maxsize=8)
def sealer(length: int, prefix: int) -> Sealer:
    """Return the buffers for rows of this length; a flow has one length, so few are needed at a time."""
    return Sealer(length, prefix)


def each_into(
    cipher: IntoCipher, nonces: list[memoryview], sources: list[memoryview], targets: list[memoryview]
) -> None:
    """Seals or opens each source to its target, as many as there are nonces; InvalidTag at the first forgery."""
    # `map` calls without a single step of the interpreter in between.
    deque(map(cipher, nonces, sources, itertools.repeat(None), targets), maxlen=0)


class Opened(NamedTuple):
    """Plain rows. The last one has `last` octets, the others all. Good until the next ones."""

    plain: Bytes
    last: int

    def payloads(self) -> list[bytes]:
        """Return the rows one by one."""
        rows = [row.tobytes() for row in self.plain]
        rows[-1] = rows[-1][: self.last]
        return rows


def head_of_all(data: memoryview, size: int, prefix: int) -> Bytes | None:
    """Return the message heads of datagrams of `size` octets each; None unless prefix, type and index are the same."""
    count, rest = divmod(len(data), size)
    want = prefix + HEAD
    if 0 < rest < want + TAG or size < want + TAG:
        return None
    heads = np.empty((count + bool(rest), want), np.uint8)
    heads[:count] = np.frombuffer(data, np.uint8, count * size).reshape(count, size)[:, :want]
    if rest:
        heads[count] = np.frombuffer(data, np.uint8, want, count * size)
    return None if (heads[:, :-8] != heads[0, :-8]).any() else heads


class Opener:
    """Buffers for rows of one plain length that are opened."""

    def __init__(self, length: int) -> None:
        self.plain: Bytes = np.zeros((MAX_ROWS, length), np.uint8)
        self.nonces = np.zeros((MAX_ROWS, 3), "<u4")
        plain, nonces = self.plain.reshape(-1).data, self.nonces.reshape(-1).data.cast("B")
        self.targets = [plain[i * length : (i + 1) * length] for i in range(MAX_ROWS)]
        self.nonce_rows = [nonces[i * 12 : (i + 1) * 12] for i in range(MAX_ROWS)]


@lru_cache(maxsize=8)
def opener(length: int) -> Opener:
    """Return the buffers for rows of this length. New ones for each read would cost page faults: C libraries give large
    blocks back to the kernel."""
    return Opener(length)


def open_rows(decrypt: IntoCipher, window: ReplayWindow, data: memoryview, size: int, prefix: int) -> Opened | None:
    """Return the plain rows of datagrams of `size` octets, the last one perhaps shorter.

    None, and nothing has happened, when one of them is forged, stale, of another session, or no message at all.
    """
    heads = head_of_all(data, size, prefix)
    if heads is None:
        return None
    count = len(heads)
    counters = heads[:, -8:].copy().view("<u8").reshape(-1)
    first = int(counters[0])
    if first + count > REJECT_AFTER_MESSAGES or (counters != _COUNT[:count] + counters[0]).any():
        return None
    begin, length = prefix + HEAD, size - prefix - HEAD - TAG
    buffers = opener(length)
    buffers.nonces[:count, 1:] = counters.view("<u4").reshape(count, 2)
    short = count * size - len(data)
    targets = buffers.targets[:count]
    targets[-1] = targets[-1][: length - short]
    try:
        each_into(
            decrypt,
            buffers.nonce_rows[:count],
            [data[i + begin : i + size] for i in range(0, count * size, size)],
            targets,
        )
    except InvalidTag:
        return None
    # After authentication only, so that a forgery cannot use up a counter.
    return Opened(buffers.plain[:count], length - short) if window.accept_run(first, count) else None
