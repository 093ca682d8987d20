from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stepdown.core.errors import InputError, TamperedError, UsageError
from stepdown.students.encoders.pretrained import DEFAULT, PACKAGES, resolve


@pytest.fixture
def tiny(tmp_path: Path, write_encoder) -> Path:
    write_encoder(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return tmp_path / "cache" / "hub"


def test_a_path_comes_first_and_is_described_by_its_hashes(tiny: Path) -> None:
    found = resolve(str(tiny))
    assert (found.source, found.folder) == ("path", tiny.resolve())
    assert (found.architecture.model_type, found.architecture.num_hidden_layers) == ("bert", 4)
    assert found.described()["hashes"] == found.hashes
    assert {len(digest) for digest in found.hashes.values()} == {64}
    assert resolve(str(tiny), sha256=found.hashes["model.safetensors"]) == found


def test_the_local_hub_cache_is_found_by_name_and_revision(tiny: Path, cache: Path) -> None:
    repository = cache / "models--someone--small"
    shutil.copytree(tiny, repository / "snapshots" / "abc123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc123")
    for revision in ("main", "abc123"):
        found = resolve("someone/small", revision)
        assert (found.source, found.revision) == ("hub cache", "abc123")
    with pytest.raises(InputError, match="not on this machine"):
        resolve("someone/small", "v2")


@pytest.mark.usefixtures("cache")
def test_the_default_comes_from_its_package_with_the_known_hash() -> None:
    pytest.importorskip(PACKAGES[DEFAULT].module, reason="the weights come with the extra 'train'")
    found = resolve()
    assert found.source == "package"
    assert found.hashes["model.safetensors"] == PACKAGES[DEFAULT].sha256
    assert found.architecture.hidden_size == 384


@pytest.mark.usefixtures("cache")
def test_what_is_nowhere_is_said_with_where_it_was_looked_for() -> None:
    with pytest.raises(InputError, match=r"someone/absent.*hub cache.*stepdown\[train\]"):
        resolve("someone/absent")
    with pytest.raises(UsageError, match="owner/name"):
        resolve("no such thing", network=True)


def test_other_weights_than_expected_are_refused(tiny: Path) -> None:
    with pytest.raises(TamperedError, match=r"model\.safetensors"):
        resolve(str(tiny), sha256="0" * 64)


def test_pickled_weights_are_refused(tiny: Path) -> None:
    (tiny / "model.safetensors").rename(tiny / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin.*pickle"):
        resolve(str(tiny))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_an_incomplete_folder_is_refused_by_name(tiny: Path, missing: str) -> None:
    (tiny / missing).unlink()
    with pytest.raises(InputError, match=missing.replace("model.safetensors", "no weights")):
        resolve(str(tiny))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "modernbert"}, "modernbert"),
        ({"hidden_act": "relu"}, "relu"),
        ({"num_attention_heads": 5}, "5 heads"),
        ({"hidden_size": "wide"}, "cannot be read"),
    ],
)
def test_other_architectures_are_refused_by_name(tiny: Path, change: dict[str, object], named: str) -> None:
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=named):
        resolve(str(tiny))
    (tiny / "config.json").write_text("not json")
    with pytest.raises(InputError, match="not JSON"):
        resolve(str(tiny))
