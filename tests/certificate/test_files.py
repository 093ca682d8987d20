from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stepdown.certificate.files import read_certificate, write_certificate
from stepdown.core.contract import Contract
from stepdown.core.errors import InputError, TamperedError

AGREEMENT = Contract(against="agreement", margin=0.1, latency_p95_ms=50)


@pytest.fixture
def path(bench: Callable[..., Any], tmp_path: Path) -> Path:
    made = bench(worst=(0.1,), incumbent_error=0.0, reference="agreement")
    write_certificate(tmp_path / "certificate.json", made.issue(AGREEMENT))
    return tmp_path / "certificate.json"


def test_a_certificate_is_read_back_with_its_digest(path: Path, tmp_path: Path) -> None:
    certificate = read_certificate(path)
    write_certificate(tmp_path / "again.json", certificate)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_a_changed_certificate_is_not_read(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"margin":0.1', b'"margin":0.2'))
    with pytest.raises(TamperedError, match="not the one that was written"):
        read_certificate(path)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe\x00", b'{"certificate":{},"digest":""}', b"[" * 5000])
def test_what_is_no_certificate_is_an_input_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(InputError, match="not a certificate"):
        read_certificate(tmp_path / "x.json")
    with pytest.raises(InputError):
        read_certificate(tmp_path / "absent.json")
