"""What an overlay promises where a member's network lets out no UDP, or TCP to port 443 alone. Pure."""

from __future__ import annotations

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Verdict

TLS_PORT = 443
NOTHING: tuple[Verdict, ...] = ("none",)


def by_tcp(egress: Egress, trial: Trial, port: int = TLS_PORT) -> tuple[Verdict, ...]:
    """Return the promise of an overlay whose members reach each other through a server's TCP port, and else by UDP."""
    if trial.mode == "direct" or (egress is Egress.TCP_443 and port != TLS_PORT):
        return NOTHING
    return ("relayed",)
