"""The part of NetBird's administrator, by the management API: `python -m overlays.netbird.admin VERB ...`.

`setup URL NETWORK` makes the owner of a new server and gives the account its network; the owner's token is written to
`owner.token`, a key that lets members in to `members.key`. `address URL TOKEN-FILE NAME ADDRESS` gives a member its
address: left alone, the server deals random ones.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TIMEOUT_S = 10


def call(method: str, url: str, body: object = None, token: str = "") -> Any:
    """Call the API and return what its JSON holds.

    Raises:
        urllib.error.URLError: it refused, or cannot be reached.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Token {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        return json.load(answer)


def setup(url: str, network: str) -> None:
    """Make owner, network and key of a new server, and write token and key into the working directory."""
    owner = {"email": "owner@lab.invalid", "name": "owner", "password": secrets.token_urlsafe(24), "create_pat": True}
    token = call("POST", f"{url}/api/setup", owner)["personal_access_token"]
    (account,) = call("GET", f"{url}/api/accounts", token=token)
    settings = account["settings"] | {"network_range": network}
    call("PUT", f"{url}/api/accounts/{account['id']}", {"settings": settings}, token)
    wanted = {"name": "members", "type": "reusable", "expires_in": 86400, "auto_groups": [], "usage_limit": 0}
    key = call("POST", f"{url}/api/setup-keys", wanted, token)["key"]
    for name, text in (("owner.token", token), ("members.key", key)):
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)


def address(url: str, token_file: str, name: str, wanted: str) -> None:
    """Give the member that has logged in as `name` its address."""
    token = Path(token_file).read_text()
    (peer,) = (one for one in call("GET", f"{url}/api/peers", token=token) if one["hostname"] == name)
    kept = {key: peer[key] for key in ("ssh_enabled", "login_expiration_enabled", "inactivity_expiration_enabled")}
    call("PUT", f"{url}/api/peers/{peer['id']}", {**kept, "name": name, "ip": wanted}, token)


if __name__ == "__main__":
    verbs: dict[str, Callable[..., None]] = {"setup": setup, "address": address}
    verbs[sys.argv[1]](*sys.argv[2:])
