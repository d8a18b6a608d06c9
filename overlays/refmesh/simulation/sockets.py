"""Local ports of a node's sockets, which its engine knows by number."""

from __future__ import annotations

NODE_PORT = 40000
_FIRST, _COUNT, _STEP = 20000, 19991, 7919


class Sockets:
    """The sockets of one run of a node; number 0 is its own, which has `NODE_PORT`."""

    def __init__(self) -> None:
        self._ports = {0: NODE_PORT}
        self._numbers = {NODE_PORT: 0}

    def number_at(self, port: int) -> int | None:
        """Return the socket that has a port; None: nobody."""
        return self._numbers.get(port)

    def port_of(self, number: int) -> int | None:
        """Return the port of a socket; None: it has not been opened, or is closed."""
        return self._ports.get(number)

    def open(self, number: int) -> int:
        """Give a socket its port, one that no other has.

        Scattered, as the kernel's ephemeral ports are: ports in a row would look like a NAT's sequence. After a day
        numbers are beyond the count of ports, and a path may still be kept on a socket of the morning.

        Raises:
            OSError: all ports are in use.
        """
        for further in range(_COUNT):
            port = _FIRST + (number + further) * _STEP % _COUNT
            if port not in self._numbers:
                self._ports[number] = port
                self._numbers[port] = number
                return port
        raise OSError(f"all {_COUNT} ports are in use")

    def close(self, number: int) -> None:
        """Free a socket's port, if it has one."""
        port = self._ports.pop(number, None)
        if port is not None:
            del self._numbers[port]
