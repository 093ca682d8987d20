"""Hashes of JSON values with the standard library alone, where modules of the house have `core/canonical.py`."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest_of(value: Any) -> str:
    """The sha256 of a JSON value with sorted keys, in hex."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()
