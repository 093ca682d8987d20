"""The parts of a chat message and the content blocks of an Anthropic message, each as the other."""

from __future__ import annotations

import re
from typing import Any

from stepdown.wires.loose import mapping, text

_DATA_URL = re.compile(r"data:([\w.+/-]+);base64,", re.ASCII)


def blocks_of(content: Any, where: str) -> list[dict[str, Any]]:
    """A chat message's content as content blocks; empty texts, which the Anthropic wire refuses, are left out.

    Raises ValueError, beginning with `where`, for a part without a counterpart (audio, files kept by their id).
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    if not isinstance(content, list):
        return []
    blocks = [_block(part, f"{where}[{number}]") for number, part in enumerate(content)]
    return [block for block in blocks if block.get("text") != ""]


def parts_of(content: Any) -> Any:
    """A chat message's content with the blocks that `anthropic_messages.request` kept whole made parts, or refused.

    Raises ValueError for a block without a counterpart on the chat wire.
    """
    return [_part(part) for part in content] if isinstance(content, list) else content


def _block(part: Any, where: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    kind = text(mapping(part).get("type"))
    if kind in ("text", "refusal"):
        # An extension of the chat wire that compatible servers and clients know: where the prompt's cache may end.
        kept = {"cache_control": part["cache_control"]} if isinstance(part.get("cache_control"), dict) else {}
        return {"type": "text", "text": text(part.get(kind)), **kept}
    if kind == "image_url":
        given = part.get("image_url")
        return {"type": "image", "source": _source(given.get("url") if isinstance(given, dict) else given, where)}
    file = mapping(mapping(part).get("file"))
    if kind == "file" and file.get("file_data"):
        named = {"title": file["filename"]} if file.get("filename") else {}
        return {"type": "document", "source": _source(file["file_data"], where), **named}
    raise ValueError(f"{where}: a part of type {kind!r} has no counterpart on the Anthropic wire")


def _source(url: Any, where: str) -> dict[str, Any]:
    match = _DATA_URL.match(url) if isinstance(url, str) else None
    if match:
        return {"type": "base64", "media_type": match[1].lower(), "data": url[match.end() :]}
    if isinstance(url, str) and url.startswith(("http://", "https://")):
        return {"type": "url", "url": url}
    raise ValueError(f"{where}: an image or file is a data: URL in base64, or an image at an http(s) URL")


def _part(part: Any) -> Any:
    block = mapping(part).get("block")
    if not isinstance(block, dict):
        return part
    source = mapping(block.get("source"))
    if block.get("type") == "document" and source.get("type") == "text":
        return {"type": "text", "text": text(source.get("data"))}
    if block.get("type") == "document" and source.get("type") == "base64":
        data = f"data:{source.get('media_type')};base64,{source.get('data')}"
        return {"type": "file", "file": {"filename": text(block.get("title")) or "document.pdf", "file_data": data}}
    raise ValueError(f"messages: a block of type {block.get('type')!r} has no counterpart on the chat wire")
