"""The vendors' own clients over bytes instead of a network, and real exchanges from recorded cassettes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

httpx2 = pytest.importorskip("httpx2", reason="the vendors' clients (openai, anthropic) are not installed")
anthropic = pytest.importorskip("anthropic", reason="the anthropic package is not installed")
openai = pytest.importorskip("openai", reason="the openai package is not installed")


@dataclass(frozen=True)
class Exchange:
    """One HTTP exchange of a cassette: JSON bodies, or the text of a stream."""

    name: str
    url: str
    status: int
    request: dict[str, Any]
    response: dict[str, Any] | str


def _exchanges(folder: Path) -> Iterator[Exchange]:
    for path in sorted(folder.rglob("*.yaml")):
        if ".xai." in path.name:
            continue
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for interaction in document["interactions"]:
            asked, given = interaction["request"], interaction["response"]
            body = given.get("parsed_body") or (given.get("body") or {}).get("string")
            if isinstance(asked.get("parsed_body"), dict) and isinstance(body, dict | str):
                yield Exchange(path.name, asked["uri"], given["status"]["code"], asked["parsed_body"], body)


@pytest.fixture(scope="session")
def exchanges(shared_data: Path) -> list[Exchange]:
    folder = shared_data / "pydantic_ai_cassettes"
    if not folder.is_dir():
        pytest.skip("the recorded cassettes are not in the shared data")
    return list(_exchanges(folder))


def _answering(body: bytes) -> Any:
    headers = {"content-type": "text/event-stream"}
    return httpx2.Client(
        transport=httpx2.MockTransport(lambda request: httpx2.Response(200, headers=headers, content=body))
    )


@pytest.fixture(scope="session")
def read_chat() -> Callable[[bytes], list[Any]]:
    """The chunks that the openai client reads from a stream's bytes."""

    def read(body: bytes) -> list[Any]:
        client = openai.OpenAI(api_key="none", base_url="http://upstream.invalid/v1", http_client=_answering(body))
        asked = {"model": "m", "messages": [{"role": "user", "content": "q"}], "stream": True}
        return list(client.chat.completions.create(**asked))

    return read


@pytest.fixture(scope="session")
def read_message() -> Callable[[bytes], Any]:
    """The message that the anthropic client puts together from a stream's bytes."""

    def read(body: bytes) -> Any:
        client = anthropic.Anthropic(api_key="none", base_url="http://upstream.invalid", http_client=_answering(body))
        asked = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "q"}]}
        with client.messages.stream(**asked) as stream:
            return stream.get_final_message()

    return read
