"""Who goes first where nobody may have real-time priority: the process that carries the links, then the lab.

An ordinary process that has used its fair share waits for the others' slices, some 3 ms each, and every frame that it
carries waits with it. Nobody may raise himself without privilege, but everybody may lower himself.
"""

from __future__ import annotations

import os
from typing import Final

from harness.link.backend import RunningLinks

# A tenth of the weight of an ordinary process. The lab's processes keep their proportions among each other.
LAB_NICENESS: Final = 10


def stand_back(links: RunningLinks) -> bool:
    """Lower this process, and whatever it starts from now on, behind a helper without real-time priority.

    To be called by the process of one trial before it starts the trial's daemons; there is no way back without
    privilege. Does nothing (False) where the helper has real-time priority or where the kernel carries the links.
    """
    if links.accounting().realtime is not False:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, max(LAB_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    return True
