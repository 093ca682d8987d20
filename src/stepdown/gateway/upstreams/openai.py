"""openai: any server with OpenAI's wire. OpenAI, Azure, vLLM, Ollama, llama.cpp and many more.

Sources: platform.openai.com/docs/api-reference/authentication; for Azure (key header, api-version, deployments in the
path) learn.microsoft.com/azure/ai-foundry/openai/reference.
"""

from __future__ import annotations

from stepdown.core.secret import Secret
from stepdown.gateway.http.client import parse_origin
from stepdown.gateway.upstream import Upstream, UpstreamOptions
from stepdown.gateway.upstreams._over_http import Manner, OverHttp, Pairs

EXTRA = ""
WIRE = "openai"


def open(options: UpstreamOptions) -> Upstream:
    """Raises UsageError for a URL that is none. One without a path is completed by /v1, as every such server has it."""
    origin = parse_origin(options.url)
    path = origin.path or "/v1"
    header = options.key_header.lower().encode()

    def key(text: str) -> Pairs:
        return [(header, text.encode())] if header else [(b"authorization", b"Bearer " + text.encode())]

    models_path = path.partition("/deployments/")[0] + "/models"
    return OverHttp(options, origin, Manner(wire=WIRE, path=path, models_path=models_path, key=key))


def examples() -> list[UpstreamOptions]:
    azure = "http://127.0.0.1:9/openai/deployments/small"
    return [
        UpstreamOptions(url="http://127.0.0.1:9/v1", kind="openai"),
        UpstreamOptions(url=azure, kind="openai", key=Secret("k"), key_header="api-key", api_version="2024-10-21"),
    ]
