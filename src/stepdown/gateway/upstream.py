"""An upstream: a large model's endpoint. One kind is one file in `upstreams/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from stepdown.core.calls import Call
from stepdown.core.kinds import Kinds
from stepdown.core.options import read_options
from stepdown.core.secret import Secret
from stepdown.gateway.exchange import Exchange, Reply
from stepdown.gateway.http.messages import Request, UpstreamError

NO_KEY = Secret()


@dataclass(frozen=True)
class UpstreamOptions:
    """Where an upstream is and how it is asked. Times in seconds.

    key: "" lets the client's own key go through. key_header: where the key goes if not where the kind has it (Azure:
    "api-key"). api_version: added to every query (Azure). models: those it takes, empty for all. total_s: one exchange
    with all its retries. passes_client_key: whether, without a key of its own, the client's goes through: never to a
    fallback, which may be another provider's. pass_headers: names of the client's headers that go
    upstream beside those that every wire needs. ask_usage: whether a stream's usage is asked for where its client does
    not. calls: recorded calls, for a kind that answers from them. given: of the options of the kind's own `Options`,
    of which `own` is an instance once the upstream is opened.
    """

    url: str
    name: str = "incumbent"
    kind: str = "openai"
    key: Secret = NO_KEY
    key_header: str = ""
    api_version: str = ""
    models: tuple[str, ...] = ()
    connect_s: float = 5.0
    first_byte_s: float = 60.0
    total_s: float = 600.0
    retries: int = 2
    calls: Callable[[], Iterable[Call]] | None = None
    passes_client_key: bool = True
    pass_headers: tuple[str, ...] = ()
    ask_usage: bool = True
    given: Mapping[str, Any] = field(default_factory=dict)
    own: Any = None


class Upstream(Protocol):
    """An opened upstream. Every method raises UpstreamError where it got no whole answer."""

    async def send(self, exchange: Exchange) -> Reply:
        """Ask once. The answer, whatever its status, in the client's wire; a stream's pieces raise UpstreamError.

        An answer with an error's status is whole. Raises CannotBeSaid.
        """

    async def models(self, request: Request | None = None) -> list[dict[str, Any]]:
        """The models it has, as entries of an OpenAI list. request: the client's, whose key goes through if need be."""

    async def forward(self, request: Request) -> Reply:
        """Any other path, untouched both ways. Raises Unsupported where the kind cannot."""

    async def close(self) -> None:
        """Close every connection."""


@runtime_checkable
class DirectUpstream(Protocol):
    """An upstream that can be asked without a task."""

    def begin(self, exchange: Exchange, listener: Callable[[], None]) -> Any | None:
        """Send a request, where a connection is free and it wants no stream; `send` goes on with what is returned, in
        the exchange's `begun`. The listener is told of the answer."""

    def taken(self, sent: Any) -> Reply | None:
        """The answer, whole and good; None for any other, which `send` reads."""

    def abandon(self, sent: Any) -> None:
        """Nobody waits for the answer."""


class UpstreamKind(Protocol):
    """What a kind's module has; `Options` too where it has options of its own, keys of [gateway.upstreams.options]."""

    EXTRA: str
    WIRE: str
    """The name of the wire of wires that it speaks."""

    def open(self, options: UpstreamOptions) -> Upstream:
        """Raises UsageError or InputError where the options name nothing that can be asked. Connects to nothing yet."""

    def examples(self) -> list[UpstreamOptions]:
        """Options that can be opened anywhere, for the battery of tests."""


class Unsupported(Exception):
    """An upstream of this kind has no such path."""


class CannotBeSaid(Exception):
    """A request that the upstream's wire has no words for. The message names what it is."""


class ClientWasTold(UpstreamError):
    """A stream broke, and its last piece was the error as the client's wire says it."""

    kind = "broken"


def upstream_kinds() -> Kinds[UpstreamKind]:
    return Kinds("stepdown.gateway.upstreams", "upstream")


def open_upstream(options: UpstreamOptions) -> Upstream:
    """Raises UnknownKind, UsageError, InputError, MissingExtra."""
    kind = upstream_kinds().load(options.kind)
    given = read_options(f"the upstream {options.name!r}", kind, options.given)
    own = kind.Options(**given) if hasattr(kind, "Options") else None
    return kind.open(replace(options, own=own))
