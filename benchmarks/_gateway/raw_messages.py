"""Bytes that no client and no upstream should send: a catalogue by name, and a grammar that makes more from a seed.

What is ENDLESS is a beginning and what follows it again and again.
"""

from __future__ import annotations

import json
import random

MEBI = 1 << 20
PLACE = b"/v1/chat/completions"
JSON_TYPE = b"content-type: application/json\r\n"
BODY = json.dumps({"model": "fixed", "messages": [{"role": "user", "content": "hello"}]}).encode()
HIDDEN = b"GET /healthz?hidden HTTP/1.1\r\nhost: localhost\r\n\r\n"


def get(path: bytes = b"/healthz", more: bytes = b"", host: bytes = b"localhost", version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\nhost: %b\r\n%b\r\n" % (path, version, host, more)


def post(body: bytes = BODY, more: bytes = b"", path: bytes = PLACE, length: bytes | None = None) -> bytes:
    size = b"%d" % len(body) if length is None else length
    return b"POST %b HTTP/1.1\r\nhost: localhost\r\n%bcontent-length: %b\r\n%b\r\n%b" % (
        path,
        JSON_TYPE,
        size,
        more,
        body,
    )


def chunked(chunks: bytes, more: bytes = b"", coding: bytes = b"chunked", version: bytes = b"1.1") -> bytes:
    head = b"POST %b HTTP/%b\r\nhost: localhost\r\n%b" % (PLACE, version, JSON_TYPE)
    return head + b"transfer-encoding: %b\r\n%b\r\n%b" % (coding, more, chunks)


def chunk(content: bytes, extension: bytes = b"") -> bytes:
    return b"%x%b\r\n%b\r\n" % (len(content), extension, content)


END = b"0\r\n\r\n"
WHOLE = chunk(BODY) + END
OFFER = b"connection: upgrade\r\nupgrade: h2c\r\n"

CATALOGUE: dict[str, bytes] = {
    "plain": post(),
    "chunked": chunked(WHOLE),
    "pipelined": get() * 20,
    "3,000 pipelined": get() * 3000,
    "60,000 pipelined": get(b"/") * 60_000,
    "3,000 upgrades": get(more=OFFER) * 3000,
    "upgrades with bodies": post(more=OFFER) * 50,
    "upgrade to a web socket": get(more=b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n"),
    "a tunnel": b"CONNECT evil:443 HTTP/1.1\r\nhost: localhost\r\n\r\n" + HIDDEN,
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "zeros": bytes(100_000),
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "HTTP/1.0": get(version=b"1.0"),
    "HTTP/1.0 chunked": chunked(WHOLE, version=b"1.0") + HIDDEN,
    "HTTP/2.0": get(version=b"2.0") + HIDDEN,
    "HTTP/9.9": get(version=b"9.9"),
    "HTTP/1.1 and words": b"GET /healthz HTTP/1.1 x\r\nhost: localhost\r\n\r\n",
    "lower case method": b"get /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "unknown method": b"BREW /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "RTSP": b"DESCRIBE /healthz RTSP/1.0\r\nhost: localhost\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil\r\n\r\n",
    "another host": get(host=b"evil.example"),
    "a host with a user": get(host=b"evil@localhost"),
    "a host's list": get(host=b"localhost, evil"),
    "length and chunks": post(END + HIDDEN, b"transfer-encoding: chunked\r\n", length=b"5"),
    "chunks and length": chunked(END + HIDDEN, b"content-length: 5\r\n"),
    "two lengths": post(b"", b"content-length: 51\r\n", length=b"0") + HIDDEN,
    "two lengths alike": post(more=b"content-length: %d\r\n" % len(BODY)) + HIDDEN,
    "a list of lengths": post(length=b"%d, 0" % len(BODY)) + HIDDEN,
    "a signed length": post(length=b"+%d" % len(BODY)) + HIDDEN,
    "a negative length": post(length=b"-1") + HIDDEN,
    "a hexadecimal length": post(length=b"0x10") + HIDDEN,
    "a length of 10^30": post(length=b"1" + b"0" * 30) + HIDDEN,
    "a length beyond 64 bits": post(length=b"18446744073709551665") + HIDDEN,
    "an empty length": post(length=b"") + HIDDEN,
    "a length with a space": post(length=b"5 1") + HIDDEN,
    "a length with zeros": post(length=b"000%d" % len(BODY)) + HIDDEN,
    "a length of a terabyte": post(b"", length=b"1099511627776"),
    "a short body": post(length=b"%d" % (len(BODY) - 5)) + HIDDEN,
    "chunked twice": chunked(WHOLE, coding=b"chunked, chunked") + HIDDEN,
    "chunked, identity": chunked(WHOLE, coding=b"chunked, identity") + HIDDEN,
    "identity": chunked(WHOLE, coding=b"identity") + HIDDEN,
    "gzip, chunked": chunked(WHOLE, coding=b"gzip, chunked") + HIDDEN,
    "xchunked": chunked(WHOLE, coding=b"xchunked") + HIDDEN,
    "chunked in two headers": chunked(WHOLE, b"transfer-encoding: identity\r\n") + HIDDEN,
    "Chunked": chunked(WHOLE, coding=b"ChUnKeD") + HIDDEN,
    "chunked and a tab": chunked(WHOLE, coding=b"\tchunked\t") + HIDDEN,
    "chunked and a vertical tab": chunked(WHOLE, coding=b"\x0bchunked") + HIDDEN,
    "a space before the colon": post(b"", b"transfer-encoding : chunked\r\n") + HIDDEN,
    "an underscore": post(b"", b"transfer_encoding: chunked\r\n") + HIDDEN,
    "a folded header": post(b"", b"x: y\r\n transfer-encoding: chunked\r\n") + HIDDEN,
    "a folded first header": b"GET /healthz HTTP/1.1\r\n host: localhost\r\n\r\n" + HIDDEN,
    "bare line feeds": get().replace(b"\r\n", b"\n") + HIDDEN,
    "a bare line feed in a value": post(b"", b"x: y\ntransfer-encoding: chunked\r\n") + HIDDEN,
    "a bare carriage return": post(b"", b"x: y\rtransfer-encoding: chunked\r\n") + HIDDEN,
    "a NUL in a value": get(more=b"x: \0\r\n") + HIDDEN,
    "a NUL in a name": get(more=b"x\0: y\r\n") + HIDDEN,
    "no name": get(more=b": y\r\n") + HIDDEN,
    "no colon": get(more=b"xy\r\n") + HIDDEN,
    "bytes beyond ASCII in a name": get(more=b"x\xff: y\r\n") + HIDDEN,
    "bytes beyond ASCII in a value": get(more=b"x: \xff\xfe\r\n") + HIDDEN,
    "empty values": get(more=b"x:\r\n" * 50) + HIDDEN,
    "empty lines before": b"\r\n" * 20 + get() + HIDDEN,
    "a size in words": chunked(b"0x5\r\nhello\r\n" + END) + HIDDEN,
    "a negative chunk": chunked(b"-1\r\n\r\n" + END) + HIDDEN,
    "a chunk beyond 64 bits": chunked(b"10000000000000005\r\nhello\r\n" + END) + HIDDEN,
    "a chunk longer than its size": chunked(b"1\r\nabc\r\n" + END) + HIDDEN,
    "a chunk with line feeds": chunked(b"5\nhello\n0\n\n") + HIDDEN,
    "a chunk size and a space": chunked(b"5 \r\nhello\r\n" + END) + HIDDEN,
    "chunks of a byte": chunked(b"1\r\n \r\n" * 100_000 + WHOLE),
    "extensions": chunked(chunk(BODY, b';a="b;c\\"";d') + b"0;last=1\r\n\r\n") + HIDDEN,
    "an extension with a line feed": chunked(chunk(BODY, b";a\nb") + END) + HIDDEN,
    "trailers": chunked(chunk(BODY) + b"0\r\nx-stepdown-route: students\r\nauthorization: Bearer x\r\n\r\n") + HIDDEN,
    "trailers that frame": chunked(chunk(BODY) + b"0\r\ncontent-length: 5\r\ntransfer-encoding: x\r\n\r\n") + HIDDEN,
    "an escaped slash": post(path=b"/v1/..%2fadmin"),
    "an escaped backslash": post(path=b"/v1/..%5cadmin"),
    "escaped dots": get(b"/v1/%2e%2e/admin"),
    "dots": get(b"/v1/../admin"),
    "a parameter": get(b"/v1/..;/admin"),
    "two slashes": get(b"//evil/v1/models"),
    "a backslash": get(b"/v1\\..\\admin"),
    "a NUL in a path": get(b"/v1/x%00"),
    "a fragment": get(b"/healthz#x"),
    "an absolute target": get(b"http://localhost/healthz"),
    "an absolute target elsewhere": get(b"http://evil/v1/models"),
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a target of 100 KB": get(b"/" + b"a" * 100_000),
    "a header of 100 KB": get(more=b"x: %b\r\n" % (b"a" * 100_000)),
    "10,000 headers": get(more=b"x: y\r\n" * 10_000),
    "10,000 headers that differ": get(more=b"".join(b"x%d: y\r\n" % n for n in range(10_000))),
    "expects": post(more=b"expect: 100-continue\r\n"),
    "expects the unknown": post(more=b"expect: 200-ok\r\n"),
    "numbers without end": post(b'{"model": "fixed", "messages": [], "x": [1e999, -1e999, NaN]}'),
    "a number of a megabyte": post(b'{"model": "fixed", "messages": [], "x": %b}' % (b"9" * MEBI)),
    "a number of a megabyte's digits": post(b'{"model": "fixed", "messages": [], "x": 0.%b}' % (b"9" * MEBI)),
    "deep JSON": post(b'{"model": "fixed", "messages": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"),
    "3 million lists": post(b'{"model": "fixed", "messages": [' + b"[]," * 3_000_000 + b"[]]}"),
    "8 million numbers": post(b'{"model": "fixed", "messages": [], "x": [' + b"0," * 7_900_000 + b"0]}"),
    "2 million names": post(b'{"model": "fixed", "messages": [{%b"z":0}]}' % (b'"a":0,' * 2_000_000)),
    "a text of 15 MB": post(BODY.replace(b"hello", b"h" * (15 * MEBI))),
    "2 million escapes": post(BODY.replace(b"hello", b"\\u00e9" * 2_000_000)),
}

ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "a trailer": (chunked(b"0\r\nx: "), b"a" * 65536),
    "a trailer's name": (chunked(b"0\r\nx"), b"a" * 65536),
    "trailers": (chunked(b"0\r\n"), b"x: y\r\n" * 10_000),
    "an extension": (chunked(b"1;a="), b"a" * 65536),
    "extensions of small chunks": (chunked(b""), b"1;%b\r\n \r\n" % (b"a" * 8000)),
    "a size": (chunked(b""), b"0" * 65536),
    "chunks of a byte": (chunked(b""), b"1\r\n \r\n" * 10_000),
    "a header": (get()[:-2] + b"x: ", b"a" * 65536),
    "headers": (get()[:-2], b"x: y\r\n" * 10_000),
    "a target": (b"GET /", b"a" * 65536),
    "empty lines": (b"", b"\r\n" * 30_000),
    "requests": (b"", get(b"/") * 2000),
    "upgrades": (b"", get(more=OFFER) * 1000),
    "a chunked body": (chunked(b""), chunk(b" " * 65536)),
}

ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "fixed",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    }
).encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": null}]}\n\n'
TE = b"transfer-encoding: chunked\r\n\r\n"

REPLIES: dict[str, bytes] = {
    "trailers": OK + TE + chunk(ANSWER) + b"0\r\nx-stepdown-rung: students\r\ncontent-length: 5\r\n\r\n",
    "two answers": (OK + b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER) * 2,
    "length and chunks": OK + b"content-length: 5\r\n" + TE + chunk(ANSWER) + END,
    "two lengths": OK + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "a huge length": OK + b"content-length: 99999999999999999999\r\n\r\n",
    "a cut answer": OK + b"content-length: 5000\r\n\r\n{",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": ANSWER,
    "a switch": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "status 999": b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 What\r\ncontent-length: 0\r\n\r\n",
    "status 204 with a body": b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
    "bare line feeds": OK.replace(b"\r\n", b"\n") + b"content-length: 2\n\n{}",
    "folded headers": OK + b"x: y\r\n z\r\ncontent-length: 2\r\n\r\n{}",
    "header injection": OK + b"x: y\rset-cookie: z\r\ncontent-length: 2\r\n\r\n{}",
    "chunks of a byte": OK + TE + b"1\r\n \r\n" * 200_000 + chunk(ANSWER) + END,
    "events of a byte": STREAM + b"1\r\n\n\r\n" * 300_000 + chunk(b"data: [DONE]\n\n") + END,
    "small events": STREAM + chunk(EVENT) * 20_000 + chunk(b"data: [DONE]\n\n") + END,
    "small events in one": STREAM + chunk(EVENT * 20_000 + b"data: [DONE]\n\n") + END,
    "an event without end": STREAM + chunk(b"data: " + b"x" * (8 * MEBI)) + END,
    "60 MB": OK + b"content-length: %d\r\n\r\n" % (60 * MEBI) + b'{"x": "' + b"a" * (60 * MEBI - 9) + b'"}',
    "15 MB": OK + b"content-length: %d\r\n\r\n" % (15 * MEBI) + b'{"x": "' + b"a" * (15 * MEBI - 9) + b'"}',
    "3 million lists": OK + TE + chunk(b'{"choices": [' + b"[]," * 3_000_000 + b"[]]}") + END,
    "deep JSON": OK + TE + chunk(b'{"choices": ' + b"[" * 500_000 + b"]" * 500_000 + b"}") + END,
}

ENDLESS_REPLIES: dict[str, tuple[bytes, bytes]] = {
    "a trailer": (OK + TE + chunk(ANSWER) + b"0\r\nx: ", b"a" * 65536),
    "trailers": (OK + TE + chunk(ANSWER) + b"0\r\n", b"x: y\r\n" * 10_000),
    "an extension": (OK + TE + b"1;a=", b"a" * 65536),
    "a header": (OK + b"x: ", b"a" * 65536),
    "headers": (OK, b"x: y\r\n" * 10_000),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
    "hints": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 2000),
    "a reason": (b"HTTP/1.1 200 ", b"O" * 65536),
    "a body": (OK + b"\r\n", b" " * 65536),
    "a body in chunks of a byte": (OK + TE, b"1\r\n \r\n" * 10_000),
    "a stream": (STREAM, chunk(EVENT) * 500),
    "a stream of empty lines": (STREAM, b"1\r\n\n\r\n" * 10_000),
}


def random_request(dice: random.Random) -> bytes:
    """One to four requests by a grammar, then perhaps damaged."""
    raw = b"".join(_request(dice) for _ in range(dice.choice((1, 1, 2, 4))))
    return _damaged(dice, raw) if dice.random() < 0.5 else raw


def random_reply(dice: random.Random) -> bytes:
    """An upstream's answer by a grammar, then perhaps damaged."""
    status = dice.choice(
        (b"200 OK", b"200 OK", b"200", b"404 No", b"500 Oh", b"100 Go", b"204 None", b"304 Same", b"999 X")
    )
    kind = dice.choice((JSON_TYPE, JSON_TYPE, b"content-type: text/event-stream\r\n", b""))
    body = dice.choice((ANSWER, ANSWER, EVENT + b"data: [DONE]\n\n", EVENT * 3, b"{", b"", b"\xff" * 99))
    version = dice.choice((b"1.1",) * 6 + (b"1.0", b"2.0"))
    raw = b"HTTP/%b %b\r\n%b%b" % (version, status, kind, _headers(dice)) + _framed(dice, body)
    if dice.random() < 0.1:
        raw = b"HTTP/1.1 103 Early\r\nlink: <x>\r\n\r\n" * dice.randrange(1, 4) + raw
    if dice.random() < 0.1:
        raw += raw
    return _damaged(dice, raw) if dice.random() < 0.5 else raw


def _request(dice: random.Random) -> bytes:
    method = dice.choice(
        (b"GET", b"POST", b"POST", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"FOO")
    )
    targets = (PLACE, PLACE, b"/v1/messages", b"/healthz", b"/v1/models", b"/v1/files/x", b"/v1/..%2fx", b"*", b"//x")
    target = dice.choice(
        (*targets, b"/v1/models?a=b#c", b"http://localhost/healthz", b"http://evil/", b"/%00", b"/\xff")
    )
    version = dice.choice((b"1.1",) * 8 + (b"1.0", b"1.2", b"2.0"))
    host = dice.choice(
        (b"host: localhost\r\n",) * 12 + (b"", b"host: evil\r\n", b"host: localhost\r\nhost: x\r\n", b"host:\r\n")
    )
    head = b"%b %b HTTP/%b\r\n%b%b" % (method, target, version, host, _headers(dice))
    if method in {b"GET", b"HEAD"} and dice.random() < 0.8:
        return head + b"\r\n"
    return head + JSON_TYPE + _framed(dice, dice.choice((BODY, BODY, b"", b"{", HIDDEN, b"\xff" * 50, b" " * 5000)))


_ODD_HEADERS = (
    b"x: y\r\n",
    b"x:\r\n",
    b"x:y\r\n",
    b"x : y\r\n",
    b" x: y\r\n",
    b"x: y\r\n z\r\n",
    b"x: y\n",
    b"x: \xff\r\n",
    b"x\x00: y\r\n",
    b"connection: close\r\n",
    b"connection: keep-alive, x\r\n",
    b"connection: upgrade\r\nupgrade: h2c\r\n",
    b"expect: 100-continue\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: identity\r\n",
    b"content-length: 0\r\n",
    b"content-length: 5\r\n",
    b"te: trailers\r\n",
    b"x-stepdown-route: students\r\n",
    b"authorization: Bearer x\r\n",
)


def _headers(dice: random.Random) -> bytes:
    return b"".join(dice.choices(_ODD_HEADERS, k=dice.choice((0, 0, 0, 1, 2, 5))))


def _framed(dice: random.Random, body: bytes) -> bytes:
    """A body with the header that says where it ends, or says something else."""
    if dice.random() < 0.5:
        length = dice.choice((b"%d",) * 8 + (b"+%d", b"0%d", b"%d ", b"%d, %%d", b"1%d", b"-%d", b"0x%x"))
        said = (length % len(body)).replace(b"%d", b"%d" % len(body))
        return b"content-length: %b\r\n\r\n%b" % (said, body)
    extensions = (b"",) * 6 + (b";a", b";a=b", b' ; a="b"', b" ", b"\t", b";" + b"a" * 3000)
    pieces = []
    while body:
        size = dice.choice((1, 3, 16, 1000))
        pieces.append(chunk(body[:size], dice.choice(extensions)))
        body = body[size:]
    trailers = dice.choice(
        (b"",) * 6 + (b"x: y\r\n", b"content-length: 5\r\n", b"host: evil\r\n", b"x: %b\r\n" % (b"a" * 9000))
    )
    coding = dice.choice(
        (b"chunked",) * 8 + (b"Chunked", b"gzip, chunked", b"chunked, chunked", b"xchunked", b" chunked ")
    )
    return b"transfer-encoding: %b\r\n\r\n%b0\r\n%b\r\n" % (coding, b"".join(pieces), trailers)


def _damaged(dice: random.Random, raw: bytes) -> bytes:
    data = bytearray(raw)
    for _ in range(dice.choice((1, 1, 2, 5))):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0 if at < len(data):
                data[at] = dice.randrange(256)
            case 1:
                del data[at : at + dice.randrange(1, 20)]
            case 2:
                data[at:at] = data[at : at + dice.randrange(1, 40)]
            case 3:
                data[at:at] = dice.choice(
                    (b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b"0\r\n\r\n", b"\xff")
                )
            case 4:
                data[at:] = data[at:].replace(b"\r\n", b"\n", 1)
            case _:
                del data[at:]
        if not data:
            return b"\r\n"
    return bytes(data)
