"""Certificates as files: canonical JSON with the digest of its own content beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.certificate import Certificate
from stepdown.core.errors import InputError, TamperedError

LARGEST_FILE = 256 * 1024**2


class SealedCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A certificate with its digest. The digest finds a slip; the journal and `verify` find a forger."""

    certificate: Certificate
    digest: str


def seal(certificate: Certificate) -> SealedCertificate:
    return SealedCertificate(certificate=certificate, digest=certificate.digest)


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write a certificate. OSError when the disk does not take it."""
    path.write_bytes(canonical_json(seal(certificate)) + b"\n")


def read_certificate(path: Path) -> Certificate:
    """The certificate in a file. Raises InputError when it is none, TamperedError when it is not what was written."""
    sealed = open_sealed(path)
    if sealed.certificate.digest != sealed.digest:
        raise TamperedError(
            f"The certificate in {path} is not the one that was written there.",
            f"Expected the digest {sealed.digest[:16]}…, got {sealed.certificate.digest[:16]}….",
            "Run `stepdown certificate verify` to see what changed, or build again.",
        )
    return sealed.certificate


def open_sealed(path: Path) -> SealedCertificate:
    """The certificate in a file and the digest it says it has, unchecked. Raises InputError."""
    if not path.is_file() or path.stat().st_size > LARGEST_FILE:
        raise InputError(
            f"{path} is not a certificate.", "Expected the JSON file that a build wrote.", "Give its path."
        )
    try:
        data = path.read_bytes()
        sealed = msgspec.json.decode(data, type=SealedCertificate)
        strange = _strange(msgspec.json.decode(data), msgspec.to_builtins(sealed))
        if strange:
            raise msgspec.ValidationError(f"it has a field {strange[:80]!r}, which no certificate has")
        return sealed
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{path} is not a certificate: {error}.",
            "Expected the JSON file that a build wrote.",
            "Take it from where it was issued, or build again.",
        ) from None


def _strange(written: Any, read: Any) -> str:
    """The name of a field in the file that a certificate does not have, "" for none: an ignored field could say
    anything."""
    if isinstance(written, dict) and isinstance(read, dict):
        unread = (str(name) for name in written if name not in read)
        return next(unread, "") or next(filter(None, (_strange(written[name], read[name]) for name in written)), "")
    if isinstance(written, list) and isinstance(read, list):
        return next(filter(None, map(_strange, written, read)), "")
    return ""
