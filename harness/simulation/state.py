"""How much memory what an object leads to takes, as Python objects. No I/O."""

from __future__ import annotations

import gc
import sys
from types import CodeType, FrameType, FunctionType, ModuleType

_CODE = (type, ModuleType, FunctionType, CodeType, FrameType)
"""What belongs to the program: it is there once, whatever is remembered."""


def state_bytes(root: object) -> int:
    """Return the size of all that is reached from an object, in bytes, each once, without the program itself."""
    seen = {id(root)}
    waiting, total = [root], 0
    while waiting:
        each = waiting.pop()
        total += sys.getsizeof(each)
        for other in gc.get_referents(each):
            if id(other) not in seen and not isinstance(other, _CODE):
                seen.add(id(other))
                waiting.append(other)
    return total
