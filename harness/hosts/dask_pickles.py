"""Pickles of Dask's messages, opened without what they name: whoever writes one would otherwise run code here.

Dask wraps the types of results, errors, and whatever is neither text nor number as pickles, and opens them wherever a
message is read. A campaign needs none of them: it takes text and bytes.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Iterable
from typing import Any, Final

from distributed.protocol import pickle as dasks

_PLAIN: Final = {("builtins", "bytes"): bytes, ("builtins", "bytearray"): bytearray}
_opened = dasks.loads
_alone = threading.Lock()
_users = 0


class Unopened(Exception):
    """Stands for an object of a class that was not looked up; raised where it was sent as an error."""

    def __call__(self, *_: object) -> Unopened:
        """Stand for whatever a function that was not looked up would have returned."""
        return self

    def __setstate__(self, state: object) -> None:
        """Take nothing over."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return bytes as they are; whatever else is called gives what stands for it."""
        return _PLAIN.get((module, name), Unopened)


def plain(data: bytes, *, buffers: Iterable[Any] = ()) -> Any:
    """Return what a pickle holds, with `Unopened` in place of all but text, numbers, bytes and containers of them."""
    try:
        return _Plain(io.BytesIO(data), buffers=buffers or None).load()
    except Exception:  # whatever it is: raised here, it would end the client's reading without a word
        return Unopened()


def keep_closed() -> None:
    """Have this process read Dask's messages so, until as many calls of `open_again`."""
    global _users  # noqa: PLW0603  # as Dask's own reader is, one for the process
    with _alone:
        _users += 1
        dasks.loads = plain


def open_again() -> None:
    """Undo one `keep_closed`."""
    global _users  # noqa: PLW0603
    with _alone:
        _users -= 1
        if not _users:
            dasks.loads = _opened
