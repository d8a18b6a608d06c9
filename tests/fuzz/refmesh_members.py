"""A member, a relay and a server that may send anything well sealed, against honest nodes and an honest server.

    python tests/fuzz/refmesh_members.py [--count 1000000] [--seed 1]      exits 1 at the first violation

Each of the roles says at least `count` messages: a member to a server, a member to another, a server, a relay. In every
third scene all sleep now and then, for up to 200 s: keys are renewed or too old, and members are gone and come back.

What must hold, whatever comes: no exception, not even one that the guard would have caught; no member known who is not
certified, under the names and addresses of its certificate; nothing to our host with another's address, and nothing at
all of a server's; towards an address from which nothing was proved at most three times what came from there, and no
address counts as proved that was only written on datagrams; towards hosts that were only named as many datagrams as
there are checks and shots for a peer, and none of a server's; tables, memory and what is said bounded. Afterwards those
who had no part in it still reach each other.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from refmesh_command import command, each_role
from refmesh_scene import Scene

from overlays.refmesh.core import rows_loader

SCENE = 20_000
STEP_S = 0.0005
SLEEP_EVERY, SETTLE_AFTER = 2000, 500
"""Messages: where a scene has its sleeps, and how many come between all being late and all having found each other."""


def scene(seed: int, said: Counter[str], count: int) -> str | None:
    """Say things to one scene, at most SCENE of them, until each role has said `count`, which `said` keeps.

    Returns:
        what went wrong, None when nothing did.
    """
    it = Scene(seed)
    roles = [it.member_to_server, it.member_to_member, it.server_to_member, it.relay_to_member]
    ways = [*roles, it.honestly, it.honestly] + ([it.shake_hands] if seed % 3 else [])
    for number in range(SCENE):
        if not number % 100 and all(said[role.__name__] >= count for role in roles):
            break
        it.world.now += STEP_S
        if seed % 3 == 1 and number % SLEEP_EVERY == SLEEP_EVERY - 1:
            it.sleep()
        state = it.rng.getstate() if not number % 1000 else None
        try:
            way = it.rng.choice(ways)
            said[way.__name__] += 1
            way()
            if not number % 8:
                it.world.nodes["a"].tick(it.world.now)
                it.server.tick(it.world.now)
            if seed % 3 == 1 and number > SLEEP_EVERY and number % SLEEP_EVERY == SETTLE_AFTER - 1:
                it.settle()
        except Exception as error:  # whatever it is, it should not be
            return f"seed {seed}, message {number}: {type(error).__name__}: {error}"
        wrong = it.drain() or (it.wrong() if state is not None else None)
        if wrong:
            return f"seed {seed}, message {number}: {wrong}"
    world = it.world
    for src, dst in (("a", "c"), ("c", "a")):
        world.received[dst].clear()
        # Its checks were swallowed with all else that `drain` takes, so it may first have to find its paths again.
        for _ in range(16):
            world.send(src, dst, b"still working")
            world.run(0.5)
        if not any(packet.endswith(b"still working") for packet in world.received[dst]):
            return f"seed {seed}: afterwards nothing goes from {src} to {dst} any more"
    return it.wrong()


def attack(count: int, seed: int) -> tuple[str | None, str]:
    """Let each role say `count` things, in scenes; return what went wrong (None: nothing), and who said how much."""
    while rows_loader.large() is None:
        rows_loader._threads[0].join()
    return each_role(count, seed, scene)


if __name__ == "__main__":
    command(__doc__, attack)
