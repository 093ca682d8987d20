"""A block: some hundred calls, packed together. How it is named, written and read."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import zstandard

from stepdown.core.calls import Call
from stepdown.core.errors import StoreError

BLOCK_CALLS = 512
BLOCK_BYTES = 8 << 20
MAX_BLOCK_BYTES = 1 << 30

_encode = msgspec.msgpack.Encoder().encode
_decode_call = msgspec.msgpack.Decoder(Call).decode
_decode_bytes = msgspec.msgpack.Decoder(bytes).decode
_decode_json = msgspec.json.Decoder(Call).decode
_LATER = ("account", "task", "served")
"""Fields that calls got later than their digests, which have them where they say anything."""
_FIRST_FIELDS = tuple(name for name in Call.__struct_fields__ if name not in _LATER)
_BINARY = frozenset({0xC4, 0xC5, 0xC6})
"""How msgpack begins a string of bytes."""
_decode_block = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


def encode_call(call: Call) -> bytes:
    """A call as msgpack."""
    return _encode(call)


def encode_content(call: Call) -> bytes:
    """A call without its source, for its digest: in the first fields, and in later ones where they say anything."""
    later = [name for name in _LATER if getattr(call, name)]
    return _encode({name: getattr(call, name) for name in (*_FIRST_FIELDS, *later)} | {"source": ""})


def decode_call(raw: msgspec.Raw) -> Call:
    """A call as it was encoded, either way. Raises msgspec.DecodeError."""
    return _decode_json(_decode_bytes(raw)) if is_json(raw) else _decode_call(raw)


def is_json(raw: msgspec.Raw) -> bool:
    """Whether a call was encoded as a string of bytes that is the JSON of its fields."""
    return memoryview(raw)[0] in _BINARY


def pack(encoded: Iterable[bytes | msgspec.Raw]) -> bytes:
    """Calls as msgpack, compressed, with a checksum: a damaged block is not read as another."""
    raw = _encode([one if isinstance(one, msgspec.Raw) else msgspec.Raw(one) for one in encoded])
    return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(raw)


def unpack(name: str, data: bytes) -> list[msgspec.Raw]:
    """A block's calls, each still encoded. Raises StoreError for what is no block."""
    try:
        return _decode_block(zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_BLOCK_BYTES))
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise unreadable(name, error) from None


def read_slots(name: str, data: bytes, slots: Sequence[int]) -> Iterator[Call]:
    """The calls at these places of a block. Raises StoreError."""
    encoded = unpack(name, data)
    try:
        for slot in slots:
            yield decode_call(encoded[slot])
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, TypeError) as error:
        raise unreadable(name, error) from None


def unreadable(name: str, error: Exception) -> StoreError:
    return StoreError(
        f"Block {name} of the store cannot be read ({error}).",
        "A block is a compressed list of calls.",
        "Restore the store from a backup, or import the traffic again into a new project folder.",
    )


def block_name(number: int) -> str:
    """Sorts in the order of writing; unique when two processes write at once."""
    return f"{number:012d}-{uuid.uuid4().hex[:8]}"


def block_number(name: str) -> int:
    return int(name.split("-", 1)[0])


def rewritten_name(name: str) -> str:
    """A name never used before, for what takes a block's place: it sorts where that block did."""
    return f"{name.split('.', 1)[0]}.{uuid.uuid4().hex[:8]}"


def batches(calls: Iterable[Call]) -> Iterator[list[tuple[Call, bytes]]]:
    """Calls with their encoding, in blocks bounded in number and in bytes."""
    batch: list[tuple[Call, bytes]] = []
    size = 0
    for call in calls:
        encoded = encode_call(call)
        batch.append((call, encoded))
        size += len(encoded)
        if len(batch) >= BLOCK_CALLS or size >= BLOCK_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
