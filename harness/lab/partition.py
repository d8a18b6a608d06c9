"""Parts of a lab that cannot reach each other: packets between two sets of addresses vanish on every segment.

The rules stand where the lab's counters do, behind them: in the sandbox's namespace, at the ingress of bridge ports.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.errors import CommandFailed
from harness.lab.chains import by_chain
from harness.lab.command import run_command
from harness.model.family import Address


def separate(
    name: str, ports: Mapping[str, Sequence[str]], one: Collection[Address], other: Collection[Address]
) -> None:
    """Let nothing pass between addresses of `one` and addresses of `other`, both ways, until `join`.

    A partition of that name that is in force becomes this one, with nothing let through in between.

    Args:
        name: tells this partition from others that last at the same time.
        ports: segment -> the bridge ports on it, as of `Lab.watched_ports`.

    Raises:
        CommandFailed: nft refused.
    """
    replaced = f"table netdev {_table(name)}\ndelete table netdev {_table(name)}\n"
    _nft(replaced + rules(name, [port for ports_on in ports.values() for port in ports_on], one, other))


def join(name: str) -> None:
    """Let it pass again. Raises CommandFailed."""
    _nft(f"delete table netdev {_table(name)}\n")


def rules(name: str, ports: Sequence[str], one: Collection[Address], other: Collection[Address]) -> str:
    """Render the nft script of a partition. Pure."""
    lines = []
    for header, version in (("ip", 4), ("ip6", 6)):
        sides = [_listed(address for address in side if address.version == version) for side in (one, other)]
        if all(sides):
            lines += [f"{header} saddr {{ {a} }} {header} daddr {{ {b} }} drop" for a, b in (sides, sides[::-1])]
    body = "".join(f"    {line}\n" for line in lines)
    chains = "".join(
        f"  chain cut_{number} {{\n"
        f"    type filter hook ingress devices = {{ {', '.join(some)} }} priority 10; policy accept;\n{body}  }}\n"
        for number, some in enumerate(by_chain(ports))
    )
    return f"table netdev {_table(name)} {{\n{chains}}}\n"


def _listed(addresses: Iterable[Address]) -> str:
    return ", ".join(sorted(map(str, addresses)))


def _table(name: str) -> str:
    return f"partition_{name}"


def _nft(text: str) -> None:
    argv = ["nft", "-f", "-"]
    done = run_command(argv, stdin=text, timeout_s=20, where="the sandbox")
    if done.returncode != 0:
        raise CommandFailed(argv, done.returncode, done.stderr, "the sandbox")
