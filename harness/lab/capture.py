"""A lab's captures as pcapng files (draft-ietf-opsawg-pcapng): which packet passed which port, and when."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_BYTE_ORDER = 0x1A2B3C4D
LINKTYPE_ETHERNET, LINKTYPE_RAW = 1, 101
_OPTION_END, _OPTION_NAME, _OPTION_RESOLUTION = 0, 2, 9
_NANOSECONDS = 9  # the resolution is 10 to the minus this


class CaptureWriter:
    """A capture of several interfaces; frames carry the index of theirs in `interfaces`."""

    def __init__(self, path: Path, interfaces: Sequence[str], snap_bytes: int) -> None:
        self._file = path.open("wb")
        self._snap_bytes, self._count = snap_bytes, 0
        self._write(_SECTION, struct.pack("<IHHq", _BYTE_ORDER, 1, 0, -1))
        for name in interfaces:
            self.add(name)

    def add(self, name: str, linktype: int = LINKTYPE_ETHERNET) -> int:
        """Add an interface; return the index that its frames carry."""
        options = _option(_OPTION_NAME, name.encode()) + _option(_OPTION_RESOLUTION, bytes([_NANOSECONDS]))
        body = struct.pack("<HHI", linktype, 0, self._snap_bytes) + options + _option(_OPTION_END, b"")
        self._write(_INTERFACE, body)
        self._count += 1
        return self._count - 1

    def frame(self, interface: int, stamp_ns: int, frame: bytes, length: int) -> None:
        """Write one frame of `length` bytes, of which `frame` is the beginning."""
        head = struct.pack("<IIIII", interface, stamp_ns >> 32, stamp_ns & 0xFFFFFFFF, len(frame), length)
        self._write(_PACKET, head + frame)

    def _write(self, kind: int, body: bytes) -> None:
        body += b"\0" * (-len(body) % 4)
        length = struct.pack("<I", len(body) + 12)
        self._file.write(struct.pack("<I", kind) + length + body + length)

    @property
    def closed(self) -> bool:
        """Whether the file is finished."""
        return self._file.closed

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_capture(file: BinaryIO) -> Iterator[tuple[str, int, bytes]]:
    """Yield interface, stamp (ns of Unix time) and the frame's beginning, from a capture of `CaptureWriter`.

    Raises:
        ValueError: it is no such file.
    """
    names: list[str] = []
    while head := file.read(8):
        if len(head) < 8:
            return  # cut off while it was written
        kind, length = struct.unpack("<II", head)
        body = file.read(length - 8)[:-4]
        if not names and kind not in (_SECTION, _INTERFACE):
            raise ValueError("not a capture of this program")
        if kind == _INTERFACE:
            (size,) = struct.unpack_from("<H", body, 10)
            names.append(body[12 : 12 + size].decode())
        elif kind == _PACKET:
            interface, high, low, kept = struct.unpack_from("<IIII", body)
            yield names[interface], (high << 32) + low, body[20 : 20 + kept]


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + b"\0" * (-len(value) % 4)
