"""Keys, tokens, private keys and passwords: by the prefixes their issuers document, or by a label before them."""

from __future__ import annotations

import re

PLACEHOLDER = "SECRET"
RANK = 0
TRIGGER = ""
_ISSUED = (
    r"sk-(?:ant-|proj-|or-)?[A-Za-z0-9_-]{20,200}",
    r"(?:AKIA|ASIA)[A-Z0-9]{16}",
    r"gh[pousr]_[A-Za-z0-9]{36,255}",
    r"github_pat_[A-Za-z0-9_]{22,255}",
    r"glpat-[A-Za-z0-9_-]{20,64}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,250}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,128}",
    r"hf_[A-Za-z0-9]{30,64}",
    r"npm_[A-Za-z0-9]{36}",
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    r"eyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{10,4096}\.[A-Za-z0-9_-]{10,1024}",
)
PATTERN = re.compile(
    r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----[\s\S]{0,8192}?"
    r"(?:-----END (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----|\Z)"
    rf"|(?<![\w-])(?:{'|'.join(_ISSUED)})(?![\w-])"
    r"|(?i:\b(?:password|passwd|passphrase|pwd|secret|api[ _-]?key|access[ _-]?token|auth[ _-]?token|bearer)\b[\"']?"
    r"(?:\s{0,3}[:=]\s{0,3}|\s{1,3}is:?\s{1,3}|\s{1,3}))[\"']?(?P<labelled>[^\s\"',;]{6,256})"
)


def locate(match: re.Match[str]) -> tuple[int, int] | None:
    if not match["labelled"]:
        return match.span()
    value = match["labelled"].rstrip(".!?)")
    # "my password is incorrect" names no password: one has a digit or a symbol among its letters.
    mixed = re.search(r"\d", value) and re.search(r"[^\W\d_]", value)
    return (match.start("labelled"), match.start("labelled") + len(value)) if mixed and len(value) > 5 else None


def examples() -> list[tuple[str, list[str]]]:
    openai = "sk-proj-" + "aB3" * 12
    return [
        (f"the key {openai} leaked", [openai]),
        ("aws AKIAIOSFODNN7EXAMPLE", ["AKIAIOSFODNN7EXAMPLE"]),
        ("my password is hunter22!", ["hunter22"]),
        ("api_key=9f8e7d6c5b4a", ["9f8e7d6c5b4a"]),
        ('{"password": "hunter22"}', ["hunter22"]),
        ("my password is incorrect, and I forgot the secret answer", []),
        ("ask-me-anything-about-this-very-long-slug", []),
    ]
