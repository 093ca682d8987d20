"""The description of the HTTP surface and the surface are the same thing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepdown.core.gateway import GatewaySettings
from stepdown.gateway.errors import Refused, error_response
from stepdown.gateway.http.messages import Request
from stepdown.gateway.openapi import describe
from stepdown.project.home import open_home
from stepdown.serve.worker import Gateway
from stepdown.wires import anthropic_messages, openai_chat


async def _surface(folder: Path) -> tuple[dict[str, list[str]], dict[str, Any]]:
    gateway = Gateway(open_home(folder), GatewaySettings(), folder / "run")
    await gateway.start()
    try:
        answer = await gateway.app(Request("GET", "/openapi.json"))
        assert isinstance(answer.body, bytes)
        assert (b"content-type", b"application/json") in answer.headers
        return gateway.app.paths, msgspec.json.decode(answer.body)
    finally:
        await gateway.stop(5.0)


def test_every_path_and_method_is_described_and_nothing_else(tmp_path: Path) -> None:
    paths, said = asyncio.run(_surface(tmp_path))
    described = {path: sorted(method.upper() for method in methods) for path, methods in said["paths"].items()}
    assert described == paths


def test_every_reference_leads_somewhere() -> None:
    said = describe("0")
    known = {f"#/components/schemas/{name}" for name in said["components"]["schemas"]}
    found = set(_references(said))
    assert found == known


def test_it_is_a_valid_document() -> None:
    """As far as another reader of such documents can tell."""
    import schemathesis

    schemathesis.openapi.from_dict(describe("0")).validate()


@pytest.mark.parametrize("path", [openai_chat.PATH, anthropic_messages.PATH])
def test_a_refusal_has_the_described_shape_of_its_wire(path: str) -> None:
    import jsonschema_rs

    said = describe("0")
    wire = openai_chat if path == openai_chat.PATH else anthropic_messages
    responses = said["paths"]["/v1" + path]["post"]["responses"]
    for status in (int(each) for each in responses if each not in ("200", "default")):
        refusal = error_response(wire, Refused(status, "no", "some_code", 1.5))
        assert isinstance(refusal.body, bytes)
        schema = responses[str(status)]["content"]["application/json"]["schema"]
        whole = {"components": said["components"], **schema}
        jsonschema_rs.validator_for(whole).validate(msgspec.json.decode(refusal.body))
        if status == 401:
            assert (b"www-authenticate", b"Bearer") in refusal.headers


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for each in value.values() for found in _references(each)]
    return [found for each in value for found in _references(each)] if isinstance(value, list) else []
