"""The facts that a scan judges. Plain numbers, so that the judging is a pure function and the facts can be kept."""

from __future__ import annotations

import msgspec

from stepdown.core.contract import Contract
from stepdown.core.estimates import Estimate
from stepdown.core.trivial import Trivial
from stepdown.evaluation.cost import MachinePrice

FEWEST_ROWS = 50
"""Below this many answers nothing is said of their kind, and nothing is learned from them."""


class CallStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of the calls, without their answers. None: not recorded.

    parsed_share: of all calls, those whose answer could be read. personal_data_share: of inputs, those in which
    personal data was found. prompt_tokens and completion_tokens: means per call. latencies in s.
    """

    calls: int
    parsed_share: float = 1.0
    calls_per_month: Estimate | None = None
    cost_per_1k: Estimate | None = None
    latency_p50: Estimate | None = None
    latency_p95: Estimate | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    personal_data_share: float | None = None


class AnswerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The incumbent's answers, over `n` rows. entropy_bits: Shannon's, plug-in. top_share: of the commonest answer.

    conflict_share: of the rows whose input occurs more than once, those whose answer is not that input's commonest.
    fields: how many the answers may have; 0 for labels. Of answers that have fields nearly each is new, so that their
    entropy and top_share are those of their slices (a tool, an intent).
    """

    n: int
    distinct: int
    entropy_bits: float
    top_share: float
    conflict_share: float
    fields: int = 0

    @property
    def mostly_new(self) -> bool:
        """Whether this is free text: more than half of the answers, of enough to tell, occur for the first time."""
        return not self.fields and self.n >= FEWEST_ROWS and self.distinct * 2 > self.n

    @property
    def effective(self) -> float:
        """How many equally common answers would have this entropy."""
        return float(2.0**self.entropy_bits)


class InputFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The variable inputs. duplicate_share: rows beyond the first of each text. Lengths in characters."""

    duplicate_share: float
    characters_p50: float
    characters_p95: float


class InstructionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The constant part of the prompt: its words, its lines that start like a rule or list entry, and its messages."""

    words: int
    rules: int
    messages: int


class LabelFact(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to which the cheap student gives answers of one slice (a label, a tool): their share and excess loss."""

    name: str
    n: int
    share: float
    excess: Estimate


class LearningPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The cheap student's cross-validated loss when it had `rows` rows to learn from."""

    rows: int
    loss: Estimate


class CheapStudent(msgspec.Struct, frozen=True, kw_only=True):
    """What the cheapest student reaches, each row answered by one that never saw it (cross-validation).

    taught_by: "gold" or "incumbent". reference: what `excess` and `offload` are held against; "gold" where enough rows
    have it. offload: the share it could answer within the margin, judged as the certificate will judge it.
    worse_rate, better_rate: shares of rows, at that offload, on which only the student and only the incumbent errs.
    differs_rate: the share on which the student gives another answer than the incumbent.
    """

    n: int
    taught_by: str
    reference: str
    disagreement: Estimate
    error: Estimate | None
    incumbent_error: Estimate | None
    offload: Estimate
    worse_rate: float
    better_rate: float
    differs_rate: float = 1.0
    labels: tuple[LabelFact, ...]
    learning: tuple[LearningPoint, ...] = ()


class ScanFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of one task. cheap is None where no student could be tried: `no_student` says why. trivial: what the
    incumbent's commonest answer would reach, None where no answer can be read."""

    task: str
    family: str
    contract: Contract
    machine: MachinePrice
    calls: CallStatistics
    answers: AnswerFacts
    inputs: InputFacts
    instructions: InstructionFacts | None
    gold: int
    cheap: CheapStudent | None
    no_student: str = ""
    trivial: Trivial | None = None
