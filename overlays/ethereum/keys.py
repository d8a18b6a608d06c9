"""Keys on secp256k1: a node's name is its public key (devp2p's enode URL), an account's is its private one."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Key:
    """A private key, and the public key's two coordinates, in hex without a head."""

    private: str
    public: str

    def enode(self, address: IPv4Address, port: int) -> str:
        """Return the URL by which the node that has this key is found."""
        return f"enode://{self.public}@{address}:{port}"


def new_key() -> Key:
    """Return a fresh key."""
    key = ec.generate_private_key(ec.SECP256K1())
    numbers = key.private_numbers()
    point = numbers.public_numbers
    return Key(f"{numbers.private_value:064x}", f"{point.x:064x}{point.y:064x}")
