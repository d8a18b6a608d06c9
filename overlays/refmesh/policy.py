"""The next network document, made of the one in force and what is to change. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from overlays.refmesh import credentials, keys
from overlays.refmesh.core.access import parse_rules
from overlays.refmesh.errors import CredentialError


def next_policy(
    authority: bytes,
    version: int,
    *,
    rules: Collection[Mapping[str, Any]] | None = None,
    revoked: Collection[str] = (),
    before: str | None = None,
) -> str:
    """Return a network document of this version, signed with the authority's private key.

    `rules` None: those of the document `before`, so that revoking somebody opens nothing to anybody. What was revoked
    stays so. CredentialError: there are no rules, they make no sense, or `before` is not older and the authority's.
    """
    kept = None
    if before is not None:
        kept = credentials.verify_policy(before, keys.signing_public(authority))
        if kept.version >= version:
            raise CredentialError(f"version {version} is not higher than the one in force, {kept.version}")
    if rules is None and kept is None:
        raise CredentialError("a network document needs rules, or the one in force to take them from")
    wanted = kept.rules if rules is None and kept is not None else rules or ()
    if not isinstance(wanted, (list, tuple)):
        raise CredentialError("rules must be a list")
    parse_rules(wanted)
    return credentials.sign_policy(authority, version, wanted, {*revoked, *(kept.revoked if kept is not None else ())})
