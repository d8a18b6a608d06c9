"""The campaign's side of a station: whose answer is whose."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from harness.hosts.station_client import StationClient
from harness.hosts.station_messages import Facts, Measured

# Answers the first question when it has heard the second one.
SLOW = """\
import json, sys
asked = []
for line in sys.stdin:
    heard = json.loads(line)
    if heard["do"] != "alive":
        asked.append(heard)
        for one in asked if len(asked) == 2 else ():
            number = {"number": one["number"]} if "number" in one else {}
            print(json.dumps({"do": "answer", "value": {"to": one["do"]}, **number}), flush=True)
"""


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one() -> None:
    async def go() -> dict[str, Any]:
        client = await StationClient.start([sys.executable, "-c", SLOW], "x", 60.0)
        sent, send = asyncio.Event(), client._send

        async def told(message: Any) -> None:
            await send(message)
            if isinstance(message, Facts):
                sent.set()

        client._send = told  # type: ignore[method-assign]
        try:
            first = asyncio.create_task(client.ask(Facts(overlays=[])))
            await sent.wait()
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            return await client.ask(Measured())
        finally:
            await client.close()

    assert asyncio.run(asyncio.wait_for(go(), 60)) == {"to": "measured"}
