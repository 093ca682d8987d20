"""Signatures over the journal's head: Ed25519, by the library `cryptography`."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from stepdown.core.canonical import canonical_json
from stepdown.core.errors import InputError, MissingExtra, TamperedError, UsageError
from stepdown.core.events import Anchor

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EXTRA = "sign"
_DOMAIN = b"stepdown journal head, version 1\n"
_PUBLIC_BYTES = 32
_LARGEST_FILE = 1 << 16


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A head of the journal with its signature. public_key, signature: base64 of the raw bytes."""

    anchor: Anchor
    public_key: str
    signature: str


def make_key(path: Path) -> str:
    """Write a new private key (PEM, for its owner alone) and return the public one, base64. Raises UsageError where
    there is a file, MissingExtra, ResourceError."""
    _need()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    data = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be made: {error.strerror}.", "Expected the name of a new file.", "Choose another."
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    return _shown(private.public_key())


def sign(key: Path, head: Callable[[str], Anchor]) -> SignedHead:
    """A head, signed with the private key in a file. head: gives it, told the public key. Raises InputError,
    MissingExtra, and what `head` raises."""
    private = _private_key(key)
    public = _shown(private.public_key())
    anchor = head(public)
    signature = base64.b64encode(private.sign(_signed(anchor))).decode()
    return SignedHead(anchor=anchor, public_key=public, signature=signature)


def check_signature(signed: SignedHead, public_key: str = "") -> None:
    """Raises TamperedError where the signature is not of this head, or not by `public_key` where that is given."""
    _need()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if public_key and signed.public_key != public_key:
        raise TamperedError(
            f"The journal's head is signed by the key {signed.public_key[:16]}….",
            f"Expected {public_key[:16]}…, as [audit] public_key in stepdown.toml says.",
            "Sign with the right key: stepdown audit sign --key FILE",
        )
    try:
        raw = base64.b64decode(signed.public_key, validate=True)
        signature = base64.b64decode(signed.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, _signed(signed.anchor))
    except (InvalidSignature, ValueError, binascii.Error):
        raise TamperedError(
            "The signature of the journal's head is not of this head.",
            "Expected what `stepdown audit sign` wrote.",
            "Sign again, once you know why.",
        ) from None


def read_signed(path: Path) -> SignedHead | None:
    """The signed head in a file; None where there is no file. Raises InputError."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LARGEST_FILE), type=SignedHead)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Expected a signed head.", "") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not a signed head of the journal: {error}.",
            "Expected the JSON that `stepdown audit sign` writes.",
            "Sign again.",
        ) from None


def can_check() -> bool:
    """Whether the library that signatures need is installed."""
    return find_spec("cryptography") is not None


def is_public_key(text: str) -> bool:
    """Whether a text can be a public key: base64 of 32 bytes."""
    try:
        return len(base64.b64decode(text, validate=True)) == _PUBLIC_BYTES
    except (ValueError, binascii.Error):
        return False


def _signed(anchor: Anchor) -> bytes:
    return _DOMAIN + canonical_json(anchor)


def _private_key(path: Path) -> Ed25519PrivateKey:
    _need()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        with path.open("rb") as file:
            private_key = serialization.load_pem_private_key(file.read(_LARGEST_FILE), password=None)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Expected a private key.", "") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private_key = None
    if not isinstance(private_key, Ed25519PrivateKey):
        raise InputError(
            f"{path} holds no private key for Ed25519.",
            "Expected a PEM file without a password.",
            "Make one: stepdown audit keygen FILE",
        )
    return private_key


def _shown(public: Ed25519PublicKey) -> str:
    return base64.b64encode(public.public_bytes_raw()).decode()


def _need() -> None:
    if not can_check():
        raise MissingExtra("cryptography", EXTRA, "A signed journal")
