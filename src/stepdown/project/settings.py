"""The project's settings: stepdown.toml, read once and checked whole."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from stepdown.core.canonical import digest
from stepdown.core.contract import TaskSettings, check_keys, parse_task_settings
from stepdown.core.errors import ContractError, UsageError, nearest
from stepdown.core.gateway import GatewaySettings, parse_gateway
from stepdown.project.signing import is_public_key

FILE_NAME = "stepdown.toml"


class MachineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price of the serving machine in USD per hour, and the share of its time that is used.

    device: where students compute whose runtime supports it; the others compute on the CPU.
    """

    usd_per_hour: float | None = None
    utilisation: float | None = None
    vcpus: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"


class RoiSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs of the ROI that traffic does not show. None: the documented default, marked as an assumption."""

    calls_per_month: float | None = None
    licence_usd_per_month: float | None = None
    infrastructure_usd_per_month: float | None = None
    usd_per_label: float | None = None
    labels_bought: int | None = None
    engineer_hours: float | None = None
    engineer_usd_per_hour: float | None = None
    monitoring_share: float | None = None


class AuditSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """public_key: base64 of an Ed25519 key. Where it is set, a certificate is in force only once the journal that
    issued it is signed by its holder."""

    public_key: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in stepdown.toml. store: an address (see stores). prices: by model, USD per million tokens.

    network: may a base model be fetched from a hub? training_permission: what the incumbent's terms say of training on
    its answers, in the user's words; it goes into the dataset manifest.
    """

    store: str = ""
    network: bool = False
    training_permission: str = ""
    machine: MachineSettings = MachineSettings()
    roi: RoiSettings = RoiSettings()
    gateway: GatewaySettings = GatewaySettings()
    audit: AuditSettings = AuditSettings()
    prices: dict[str, dict[str, float]] = {}
    tasks: dict[str, TaskSettings] = {}

    def task(self, name: str) -> TaskSettings:
        """A task's settings; the defaults where the file does not name it."""
        return self.tasks.get(name, TaskSettings())


def read_settings(folder: Path) -> Settings:
    """The settings of a project folder; the defaults when it has no stepdown.toml. Raises ContractError, UsageError."""
    path = folder / FILE_NAME
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContractError(
            f"{FILE_NAME} cannot be read: {error}.", "Expected TOML in UTF-8.", "Correct that line."
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Expected a readable file.", "") from None
    return parse_settings(table)


def settings_digest(folder: Path) -> str:
    """The sha256 of stepdown.toml; "" where there is none."""
    try:
        return digest((folder / FILE_NAME).read_bytes())
    except OSError:
        return ""


def parse_settings(table: dict[str, Any]) -> Settings:
    """Settings from a table. Raises ContractError naming the key and the nearest known one."""
    allowed = [field.name for field in msgspec.structs.fields(Settings)]
    for key in table:
        if key not in allowed:
            close = nearest(key, allowed)
            raise ContractError(
                f"{FILE_NAME} has the unknown key {key!r}.",
                f"Known: {', '.join(allowed)}.",
                f"Did you mean {close!r}?" if close else "Remove it.",
            )
    for key, kind in (("machine", MachineSettings), ("roi", RoiSettings), ("audit", AuditSettings)):
        if isinstance(table.get(key), dict):
            check_keys(table[key], kind, key)
    tasks = table.get("tasks", {})
    if not isinstance(tasks, dict) or not all(isinstance(task, dict) for task in tasks.values()):
        raise ContractError(f"{FILE_NAME} has tasks = {tasks!r}.", "Expected tables [tasks.NAME].", "Write it so.")
    parsed = {name: parse_task_settings(name, task) for name, task in tasks.items()}
    try:
        rest = msgspec.convert({key: table[key] for key in table if key not in ("tasks", "gateway")}, Settings)
    except msgspec.ValidationError as error:
        raise ContractError(
            f"{FILE_NAME} cannot be read: {error}.", "docs/contract.md lists every key.", "Correct that key."
        ) from None
    if rest.audit.public_key and not is_public_key(rest.audit.public_key):
        raise ContractError(
            f"{FILE_NAME} has audit.public_key = {rest.audit.public_key[:60]!r}.",
            "Expected the line that `stepdown audit keygen` printed.",
            "Correct it.",
        )
    return msgspec.structs.replace(rest, tasks=parsed, gateway=parse_gateway(table.get("gateway", {})))


TEMPLATE = """\
# stepdown.toml: what stepdown may do here, and the contract of each task. Every key: docs/contract.md.

# store = "postgresql://user@host/db"     # default: SQLite in .stepdown/
# training_permission = "our contract with the provider allows it"

# [machine]                               # what the machine that will serve costs
# usd_per_hour = 0.10

# [gateway]                               # `stepdown serve`; every key: docs/gateway.md
# upstream  = "https://api.openai.com/v1" # its key: STEPDOWN_UPSTREAM_KEY
# port      = 8080
# retention = "90d"                       # older calls are forgotten, but for those with gold

# [tasks.my-task.contract]
# margin         = 0.02                   # at most 2 points more error than the incumbent ...
# confidence     = 0.95                   # ... with 95 % confidence
# against        = "gold"                 # gold | judged | agreement
# latency_p95_ms = 20
# cost_per_1k    = 0.05
# privacy        = "any"                  # any | redact | local-only
# slices         = ["label"]
# slice_margin   = 0.10
# expires_after  = "30d"
"""
