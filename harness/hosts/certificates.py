"""The TLS files of a cluster: one certificate authority, one certificate that scheduler, workers and campaign share."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.errors import MissingPrerequisite, StorageError, storage_errors

VARIABLE: Final = "OVERLAYBENCH_TLS"
CA, CERTIFICATE, KEY = "ca.pem", "cert.pem", "key.pem"
VALID: Final = datetime.timedelta(days=825)


def tls_folder() -> Path:
    """Return where the files lie: $OVERLAYBENCH_TLS, else the user's configuration folder."""
    if said := os.environ.get(VARIABLE):
        return Path(said)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "overlaybench" / "tls"


def tls_files() -> dict[str, str]:
    """Return the files as `distributed.Security` calls them, for whichever role.

    Raises:
        MissingPrerequisite: they are not there, or others may read the key.
    """
    folder = tls_folder()
    for name in (CA, CERTIFICATE, KEY):
        if not (folder / name).is_file():
            copied = f"overlaybench hosts init, or copy the folder from where it was called ({VARIABLE} names another)"
            raise MissingPrerequisite(f"the TLS file {folder / name}", copied)
    if (folder / KEY).stat().st_mode & 0o077:
        raise MissingPrerequisite(f"a key that nobody else may read ({folder / KEY})", f"chmod 600 {folder / KEY}")
    named = {"tls_ca_file": str(folder / CA)}
    for role in ("client", "worker", "scheduler"):
        named |= {f"tls_{role}_cert": str(folder / CERTIFICATE), f"tls_{role}_key": str(folder / KEY)}
    return named


def make_files(folder: Path, now: datetime.datetime) -> None:
    """Make a certificate authority, and a certificate of it with its key.

    The authority's own key is forgotten: whoever has `key.pem` is in, nobody can be added, and all are changed at once.

    Raises:
        StorageError: the folder cannot be written, or has such files already.
    """
    there = [name for name in (CA, CERTIFICATE, KEY) if (folder / name).exists()]
    if there:
        raise StorageError(f"{folder / there[0]} exists already; choose another folder (--dir), or delete it")
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "overlaybench hosts")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "overlaybench host")])
    span = (now - datetime.timedelta(hours=1), now + VALID)
    signing = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    root = (
        _builder(issuer, issuer, authority, span)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signing, critical=True)
        .sign(authority, hashes.SHA256())
    )
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    leaf = (
        _builder(subject, issuer, key, span)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(both, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
        (folder / CERTIFICATE).write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        (folder / CA).write_bytes(root.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    span: tuple[datetime.datetime, datetime.datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(span[0])
        .not_valid_after(span[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
