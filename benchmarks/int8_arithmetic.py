"""What int8 weights of 7 bits cost, and what those of 8 bits do on a processor that saturates.

    python -m benchmarks.int8_arithmetic [--keep FOLDER] [--teacher-epochs 0] [--epochs 4] [--rows 3000]
    python -m benchmarks.int8_arithmetic --again FOLDER [--rows 300]

One encoder (3 of 6 layers) is trained on banking77 gold, and `frozen`'s base is taken as it is. Each
network is written as float32, with weights within ±127 (8 bits) and within ±64 (7 bits), and answers the 3,080 test
rows. The first rows are answered again by numpy: with exact sums of int8 products, and with two products at a time
saturating at 16 bits, as vpmaddubsw adds them on processors with AVX2 and no VNNI. --again answers the graphs of a kept
folder with this processor's kernels and compares: run it on another machine, or under an emulator (`qemu-x86_64 -cpu
Haswell-v4`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from benchmarks.encoder_banking77 import read_rows, training_data
from stepdown.runtime.encoder import run_outputs, session
from stepdown.runtime.kinds.frozen import SoftmaxHead, unit
from stepdown.runtime.signals import softmax
from stepdown.stats.binomial import wilson_interval
from stepdown.students.encoders.embedding_head import fit_embedding_head

WRITTEN: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "8 bits": {"largest_factor": 127},
    "7 bits": {},
}
"""Options of `quantise` by what the table calls them."""
CLOSE = 1e-3
Floats = NDArray[np.float64]
Sequences = list[NDArray[np.int64]]
Product = Callable[[Any, Any, Any], Any]
"""Values, weight and zero point to sums of products."""


def exact_product(values: Any, weight: Any, zero: Any) -> Any:
    """(values − zero) @ weight in whole numbers."""
    return (values.astype(np.int64) - np.int64(zero)) @ weight.astype(np.int64)


def saturating_product(values: Any, weight: Any, zero: Any) -> Any:
    """The same where the products of two neighbouring rows of weight are added in 16 bits.

    Most pairs of weights cannot saturate; what those that can lose is subtracted from the exact product.
    """
    sums = exact_product(values, weight, zero)
    flat, wide = values.reshape(-1, weight.shape[0]).astype(np.int64), weight.astype(np.int64)
    first, second = wide[0::2], wide[1::2]
    most = 255 * np.maximum(first, 0) + 255 * np.maximum(second, 0)
    least = 255 * np.minimum(first, 0) + 255 * np.minimum(second, 0)
    lost = np.zeros((len(flat), weight.shape[1]), dtype=np.int64)
    for pair, column in zip(*np.nonzero((most > 32767) | (least < -32768)), strict=True):
        both = flat[:, 2 * pair] * first[pair, column] + flat[:, 2 * pair + 1] * second[pair, column]
        lost[:, column] += both - np.clip(both, -32768, 32767)
    return sums - lost.reshape(sums.shape)


class Evaluated:
    """A graph run by onnx's reference evaluator, with the `run` of an onnxruntime session. onnxruntime's own operators
    are written out in `_operators`; product: how theirs multiply."""

    def __init__(self, graph: bytes, product: Product) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        self._evaluator = ReferenceEvaluator(onnx.load_model_from_string(graph), new_ops=_operators(product))

    def run(self, outputs: None, given: dict[str, NDArray[np.int64]]) -> list[Any]:
        return list(self._evaluator.run(outputs, given))


def _operators(product: Product) -> list[Any]:
    from onnx.reference.op_run import OpRun
    from scipy.special import erf

    def scaled(x: Any, weight: Any, step: Any, scale: Any, zero: Any, bias: Any) -> Any:
        return (product(x, weight, zero) * (np.float32(step) * scale) + bias).astype(np.float32)

    class MatMulIntegerToFloat(OpRun):
        op_domain = "com.microsoft"

        def _run(self, x: Any, weight: Any, step: Any, scale: Any, zero: Any, _: Any, bias: Any) -> tuple[Any]:
            return (scaled(x, weight, step, scale, zero, bias),)

    class QAttention(OpRun):
        op_domain = "com.microsoft"

        def _run(self, *inputs: Any, num_heads: int = 1, **_: Any) -> tuple[Any]:
            x, weight, bias, step, scale, _mask, zero = inputs[:7]
            mixed = scaled(x, weight, step, scale, zero, bias).astype(np.float64)
            texts, tokens, width = mixed.shape
            parts = mixed.reshape(texts, tokens, 3, num_heads, width // 3 // num_heads).transpose(2, 0, 3, 1, 4)
            query, key, value = parts
            scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
            shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
            mixed = (shares / shares.sum(axis=-1, keepdims=True)) @ value
            return (mixed.transpose(0, 2, 1, 3).reshape(texts, tokens, width // 3).astype(np.float32),)

    class SkipLayerNormalization(OpRun):
        op_domain = "com.microsoft"

        def _run(self, x: Any, skip: Any, weight: Any, bias: Any, epsilon: float = 1e-12) -> tuple[Any]:
            wide = (x + skip).astype(np.float64)
            centred = wide - wide.mean(axis=-1, keepdims=True)
            spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon)
            return ((centred / spread * weight + bias).astype(np.float32),)

    class Gelu(OpRun):
        op_domain = "com.microsoft"

        def _run(self, x: Any, **_: Any) -> tuple[Any]:
            return ((0.5 * x * (1.0 + erf(x.astype(np.float64) / np.sqrt(2.0)))).astype(np.float32),)

    return [MatMulIntegerToFloat, QAttention, SkipLayerNormalization, Gelu]


def probabilities(opened: Any, sequences: Sequences, head: SoftmaxHead | None) -> Floats:
    """(n, labels)."""
    outputs = np.stack([first for first, *_ in run_outputs(opened, sequences)])
    return softmax(head.logits(unit(outputs)) if head else outputs)


def write_graphs(folder: Path, epochs: tuple[float, float], seed: int) -> None:
    """`KIND-NAME.onnx` for each network and way to write it, `frozen`'s heads, and the test rows as ids."""
    from stepdown.core.students import TrainingContext
    from stepdown.students.encoders.label_objective import LabelObjective
    from stepdown.students.encoders.learning import Plan, learn
    from stepdown.students.encoders.objective import Recipe
    from stepdown.students.encoders.preparing import prepare
    from stepdown.students.encoders.pretrained import resolve
    from stepdown.students.kinds import encoder, frozen
    from stepdown.students.shrink import prune, quantise
    from stepdown.students.targets import read_targets

    data = training_data()
    options = encoder.Options()
    base, pruning = resolve(options.base, options.revision), prune.Options(1, options.vocabulary_general)
    context = TrainingContext(
        folder=folder, home=folder, seed=seed, seconds=3600.0, threads=2, progress=lambda what, share: None
    )
    prepared = prepare(base, data.texts, len(data.labels), options.max_length, pruning)
    objective = LabelObjective(prepared.sequences, read_targets(data, options.incumbent_smoothing))
    plain = prepare(base, data.texts, len(data.labels), options.max_length, pruning).network
    recipe = Recipe(epochs[0], options.learning_rate, options.batch, options.label_smoothing)
    student = replace(recipe, epochs=epochs[1], learning_rate=3.0 * options.learning_rate)
    trained = learn(prepared, objective, Plan(options.layers, recipe, student), context).network
    defaults = frozen.Options()
    for name, how in WRITTEN.items():
        written = quantise.quantise(trained, prepared.sequences, quantise.Options(**how))
        (folder / f"encoder-{name}.onnx").write_bytes(written.graph)
        written = quantise.quantise(plain, prepared.sequences, quantise.Options(**how), head=False)
        (folder / f"frozen-{name}.onnx").write_bytes(written.graph)
        embedded = np.stack([first for first, *_ in run_outputs(session(written.graph, 2), prepared.sequences)])
        targets = read_targets(data, defaults.incumbent_smoothing)
        head = fit_embedding_head(unit(embedded), targets, defaults.penalty, defaults.iterations)
        save_file({"weight": head.weight, "bias": head.bias}, folder / f"frozen-{name}.safetensors")
    texts, labels = read_rows("test")
    sequences, _ = prepared.tokeniser.encode_many(texts)
    bounds = np.cumsum([len(each) for each in sequences])[:-1]
    places = {label: place for place, label in enumerate(data.labels)}
    right = np.array([places[label] for label in labels])
    np.savez(folder / "rows.npz", ids=np.concatenate(sequences), bounds=bounds, right=right)


def graphs(folder: Path) -> Iterator[tuple[str, str, Path, SoftmaxHead | None]]:
    """Kind, how it was written, the graph, the head where it is not in the graph."""
    for kind in ("encoder", "frozen"):
        for name in WRITTEN:
            arrays = load_file(folder / f"frozen-{name}.safetensors") if kind == "frozen" else None
            head = SoftmaxHead(arrays["weight"], arrays["bias"]) if arrays else None
            yield kind, name, folder / f"{kind}-{name}.onnx", head


def rows_of(folder: Path) -> tuple[Sequences, NDArray[np.int64]]:
    held = np.load(folder / "rows.npz")
    return np.split(held["ids"], held["bounds"]), held["right"]


def compared(ours: Floats, theirs: Floats) -> str:
    """Rows with another answer, rows whose confidence moved by more than CLOSE, and the furthest that one moved."""
    other = int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())
    moved = np.abs(ours.max(axis=1) - theirs.max(axis=1))
    return f"{other:,} | {int((moved > CLOSE).sum()):,} | {moved.max():.2g}"


def print_tables(folder: Path, rows: int) -> None:
    sequences, right = rows_of(folder)
    print(f"| student | written as | right, n = {len(right):,} (95 %) | same answer as float32 | KB |")
    print("| --- | --- | --- | --- | --- |")
    served: dict[tuple[str, str], Floats] = {}
    for kind, name, graph, head in graphs(folder):
        found = served[kind, name] = probabilities(session(graph, 2), sequences, head)
        hits = found.argmax(axis=1) == right
        low, high = wilson_interval(int(hits.sum()), len(hits))
        same = (found.argmax(axis=1) == served[kind, "float32"].argmax(axis=1)).mean()
        size = graph.stat().st_size / 1000
        print(
            f"| {kind} | {name} | {hits.mean():.2%} ({low:.1%} to {high:.1%}) | {same:.2%} | {size:,.0f} |", flush=True
        )
    print(
        f"\n| student | weights | beside exact sums, n = {rows:,} | other answer | confidence off > {CLOSE:g} | most |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for kind, name, graph, head in graphs(folder):
        if name == "float32":
            continue
        content = graph.read_bytes()
        sums = probabilities(Evaluated(content, exact_product), sequences[:rows], head)
        print(f"| {kind} | {name} | onnxruntime here | {compared(served[kind, name][:rows], sums)} |", flush=True)
        lost = probabilities(Evaluated(content, saturating_product), sequences[:rows], head)
        print(f"| {kind} | {name} | 16-bit pairs | {compared(lost, sums)} |", flush=True)
    save_file({f"{kind}-{name}": found for (kind, name), found in served.items()}, folder / "served.safetensors")


def print_again(folder: Path, rows: int) -> None:
    sequences, _ = rows_of(folder)
    then = load_file(folder / "served.safetensors")
    print(f"| student | written as | another answer, n = {rows:,} | confidence off by > {CLOSE:g} | most |")
    print("| --- | --- | --- | --- | --- |")
    for kind, name, graph, head in graphs(folder):
        found = probabilities(session(graph), sequences[:rows], head)
        print(f"| {kind} | {name} | {compared(found, then[f'{kind}-{name}'][:rows])} |", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--keep", type=Path, help="a folder for the graphs and what they answered")
    arguments.add_argument("--again", type=Path, help="answer the graphs of this folder again")
    arguments.add_argument("--rows", type=int, default=3000)
    arguments.add_argument("--teacher-epochs", type=float, default=0.0)
    arguments.add_argument("--epochs", type=float, default=4.0)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    if given.again:
        print_again(given.again, given.rows)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_graphs(folder, (given.teacher_epochs, given.epochs), given.seed)
        print_tables(folder, given.rows)


if __name__ == "__main__":
    main()
