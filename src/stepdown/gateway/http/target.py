"""Request targets and hosts: the one form of a path that is taken, and the names under which the server answers.

Source of the rules: RFC 9112, section 3.2 (forms of a target); RFC 3986, section 3.3 (characters of a path). Servers
differ in how they read escaped separators, dot segments and parameters: a path that another server could read in
another way is refused, so that what is forwarded is what was checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from stepdown.gateway.http.messages import HttpError

_PATH = re.compile(rb"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})*)+")
_QUERY = re.compile(rb"[!\"$-~]*")
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*)", re.IGNORECASE)
_DEFAULT_PORT = {b"http": b":80", b"https": b":443"}
_MODEL = re.compile(rb"(?:/v1)?/models/.+")
_AMBIGUOUS = re.compile(rb"[\x00-\x1f\x7f/\\;?#%]")
"""What may not hide behind an escape."""


@lru_cache(512)
def read_target(method: str, target: bytes, host: bytes) -> tuple[str, str]:
    """(path, query) of a target in origin or absolute form. host: the Host header. Raises HttpError 400."""
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        port = _DEFAULT_PORT[absolute[1].lower()]
        if absolute[2].lower().removesuffix(port) != host.lower().removesuffix(port):
            raise HttpError(400, "The request's target names another host than its Host header: send the path alone.")
        rest = target[absolute.end() :]
        target = rest if rest.startswith(b"/") else b"/" + rest
    path, _, query = target.partition(b"?")
    # A model's name may hold a slash. Such a path is answered here and goes no further.
    is_model = method in {"GET", "HEAD"} and _MODEL.fullmatch(path) is not None
    if not _is_plain(path, is_model) or not _QUERY.fullmatch(query):
        raise HttpError(
            400,
            "The request's path or query has characters or segments that servers read differently. Expected a path of "
            "printable ASCII without empty or dot segments, ';', '\\', fragments and escaped separators.",
        )
    return path.decode("ascii"), query.decode("ascii")


def _is_plain(path: bytes, is_model: bool) -> bool:
    if _PATH.fullmatch(path) is None:
        return False
    for place, segment in enumerate(segments := path.split(b"/")[1:]):
        if not segment and place < len(segments) - 1:
            return False
        said = unquote_to_bytes(segment) if b"%" in segment else segment
        if said in {b".", b".."} or _AMBIGUOUS.search(said.replace(b"/", b"") if is_model else said):
            return False
        if not said.isascii():
            try:
                said.decode("utf-8")
            except UnicodeDecodeError:
                return False
    return True


def allowed_hosts(names: Iterable[str], loopback: bool) -> Callable[[bytes], bool]:
    """Whether a Host header, with any port, is one of `names`, or, where `loopback`, names this machine.

    A page in a browser can reach a server on loopback under a name of its own (DNS rebinding): its Host header tells.
    """
    known = frozenset(name.lower().strip("[]") for name in names)

    @lru_cache(256)
    def is_allowed(host: bytes) -> bool:
        name = re.sub(r":\d*$", "", host.decode("latin-1")).lower().strip("[]").removesuffix(".")
        return name in known or (loopback and is_loopback(name))

    return is_allowed


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
