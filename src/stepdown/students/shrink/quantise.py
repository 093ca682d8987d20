"""quantise: round an encoder to int8, write it as the graph that is served, and check that it answers the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import StepdownError, UsageError
from stepdown.core.students import Lineage
from stepdown.runtime.encoder import run_outputs, session
from stepdown.runtime.readings import Outputs
from stepdown.students.encoders.onnx_graph import LARGEST_FACTOR, LINEAR, ActivationRanges, GraphOptions, write_graph
from stepdown.students.encoders.threads import torch_threads

if TYPE_CHECKING:
    from stepdown.students.encoders.network import Encoder

EXTRA = "train"
PRECISIONS = ("int8", "float32")
Agreement = Callable[[Outputs, Outputs], float]
"""How far a graph's outputs for one text say the same as the network's, in [0, 1]."""


@dataclass(frozen=True)
class Options:
    """How an encoder is written."""

    precision: str = "int8"
    """int8, or float32 for machines without fast int8 arithmetic."""
    calibration_texts: int = 256
    """How many training texts the ranges of activations are taken from."""
    outliers: float = 0.0
    """The share of the activations of a layer that may saturate at each end."""
    least_agreement: float = 0.9
    """The share of calibration texts on which the graph must give the network's own answer; less is an error."""
    largest_factor: int = LARGEST_FACTOR
    """The bound of the weights of int8 products. Above 64 they saturate on some processors."""


@dataclass(frozen=True)
class Quantised:
    """A graph as bytes, with how it differs from the network it was written from."""

    graph: bytes
    lineage: Lineage


def quantise(
    network: Encoder,
    sequences: list[NDArray[np.int64]],
    options: Options,
    head: bool = True,
    agree: Agreement | None = None,
) -> Quantised:
    """Write `network` as ONNX. sequences: ids of training texts; a spread of them is used to calibrate and to check.

    head: write logits, else embeddings. agree: when the graph answers a text as the network does; the same best label,
    or a cosine above 0.98, unless given. Raises UsageError for an unknown precision, StepdownError when the graph does
    not answer as the network does, MissingExtra without onnx.
    """
    if options.precision not in PRECISIONS:
        raise UsageError(f"Precision {options.precision!r} was asked for.", f"Known: {', '.join(PRECISIONS)}.", "")
    places = np.unique(np.linspace(0, len(sequences) - 1, options.calibration_texts).astype(int))
    sample = [sequences[place] for place in places]
    reference, ranges = _observe(network, sample, options.outliers, head)
    shape = network.shape
    written = GraphOptions(
        layers=shape.layers,
        heads=shape.heads,
        epsilon=shape.epsilon,
        pooling=shape.pooling,
        ranges=ranges if options.precision == "int8" else None,
        head=head,
        tags=head and shape.tags > 0,
        largest_factor=options.largest_factor,
    )
    weights = {name: tensor.detach().float().numpy() for name, tensor in network.state_dict().items()}
    graph = write_graph(weights, written)
    found = run_outputs(session(graph), sample)
    difference, agreement = _compared(found, reference, agree or (same_label if head else same_direction))
    if agreement < options.least_agreement:
        raise StepdownError(
            f"The {options.precision} graph agrees with the network it was written from on {agreement:.1%} of texts.",
            f"At least {options.least_agreement:.0%} is expected.",
            "Build with precision float32, or give more calibration texts.",
        )
    parameters = {"precision": options.precision, "agreement": agreement, "difference": difference, "bytes": len(graph)}
    return Quantised(graph, Lineage(step="quantise", parameters=parameters))


def _observe(
    network: Encoder, sequences: list[NDArray[np.int64]], outliers: float, head: bool
) -> tuple[list[Outputs], ActivationRanges]:
    """What the network itself answers, float32 and one by one, and the range of what goes into each linear layer."""
    import torch

    seen: dict[str, list[tuple[float, float]]] = {}

    def watch(name: str) -> object:
        def note(_module: object, inputs: tuple[torch.Tensor, ...]) -> None:
            values = inputs[0].flatten()
            if outliers:
                ends = torch.quantile(values, torch.tensor([outliers, 1.0 - outliers]))
                seen.setdefault(name, []).append((float(ends[0]), float(ends[1])))
            else:
                low, high = torch.aminmax(values)
                seen.setdefault(name, []).append((float(low), float(high)))

        return note

    handles = [
        getattr(layer, part).register_forward_pre_hook(watch(f"layers.{place}.{part}"))
        for place, layer in enumerate(network.layers)
        for part in LINEAR
    ]
    outputs: list[Outputs] = []
    # One thread, whatever the process is set to: the last bits of a sum, and so the ranges, depend on the number.
    with torch_threads(1), torch.inference_mode():
        for sequence in sequences:
            said = network(torch.from_numpy(sequence)[None], torch.tensor([len(sequence)]))
            parts = (said.logits, said.tags) if head else (said.embedded,)
            outputs.append(tuple(part[0].numpy() for part in parts if part is not None))
    for handle in handles:
        handle.remove()
    ranges = {name: (min(low for low, _ in ends), max(high for _, high in ends)) for name, ends in seen.items()}
    return outputs, ranges


def same_label(found: Outputs, reference: Outputs) -> float:
    """1.0 where both have the same best label."""
    return float(found[0].argmax() == reference[0].argmax())


def same_direction(found: Outputs, reference: Outputs) -> float:
    """1.0 where both point the same way: a cosine above 0.98."""
    length = np.linalg.norm(found[0]) * np.linalg.norm(reference[0])
    return float((found[0] * reference[0]).sum() > 0.98 * length)


def _compared(found: list[Outputs], reference: list[Outputs], agree: Agreement) -> tuple[float, float]:
    """The largest difference, and the mean agreement."""
    pairs = list(zip(found, reference, strict=True))
    difference = max(float(np.abs(ours - theirs).max()) for pair in pairs for ours, theirs in zip(*pair, strict=True))
    return difference, float(np.mean([agree(*pair) for pair in pairs]))
