from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stepdown.core.errors import InputError
from stepdown.runtime.encoder import run_sequences, session
from stepdown.students.encoders.onnx_graph import rounded_rows
from stepdown.students.encoders.pretrained import POOLING, resolve
from stepdown.students.encoders.threads import torch_threads
from stepdown.students.shrink import prune, quantise

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")
from stepdown.students.encoders.network import Dropout, embed_all, load_pretrained, padded  # noqa: E402

ARCHITECTURES = ["bert", "distilbert", "roberta"]


@pytest.fixture
def sequences(rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.integers(5, 40, size=length) for length in rng.integers(3, 30, size=40)]


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_it_computes_what_transformers_computes(tmp_path: Path, write_encoder, sequences, model_type: str) -> None:
    reference = write_encoder(tmp_path, model_type)
    network = load_pretrained(resolve(str(tmp_path)), labels=3)
    ids, lengths = padded(sequences)
    present = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    if model_type == "roberta":
        ids = torch.where(present.bool(), ids, torch.tensor(1))
    with torch.inference_mode():
        vectors = reference(input_ids=ids, attention_mask=present).last_hidden_state
        means = (vectors * present[..., None]).sum(1) / present.sum(1, keepdim=True)
        found = network.embed(ids, lengths)
    np.testing.assert_allclose(found.numpy(), means.numpy(), atol=2e-5)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
@pytest.mark.parametrize("head", [True, False])
def test_the_exact_graph_is_the_network(tmp_path: Path, write_encoder, sequences, model_type: str, head: bool) -> None:
    write_encoder(tmp_path, model_type)
    network = load_pretrained(resolve(str(tmp_path)), labels=3)
    torch.nn.init.normal_(network.head.weight)
    written = quantise.quantise(network, sequences, quantise.Options(precision="float32"), head=head)
    assert written.lineage.parameters["difference"] < 1e-4
    assert written.lineage.parameters["agreement"] == 1.0


@pytest.mark.parametrize("precision", quantise.PRECISIONS)
@pytest.mark.parametrize("head", [True, False])
def test_a_base_that_speaks_by_its_first_token_is_written_so(
    tmp_path: Path, write_encoder, sequences, precision: str, head: bool
) -> None:
    reference = write_encoder(tmp_path)
    (tmp_path / POOLING).parent.mkdir(exist_ok=True)
    (tmp_path / POOLING).write_text('{"pooling_mode_cls_token": true}')
    network = load_pretrained(resolve(str(tmp_path)), labels=3)
    torch.nn.init.normal_(network.head.weight)
    options = quantise.Options(precision=precision, least_agreement=0.0)
    opened = session(quantise.quantise(network, sequences, options, head=head).graph)
    ids, lengths = padded(sequences[:1])
    with torch.inference_mode():
        first = reference(input_ids=ids).last_hidden_state[:, 0]
        np.testing.assert_allclose(network.embed(ids, lengths).numpy(), first.numpy(), atol=2e-5)
        expected = (network.head(first) if head else first).numpy()
    found = run_sequences(opened, sequences[:1], expected.shape[1])
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4 if precision == "float32" else 0.2 * np.abs(expected).max())


def test_the_rounded_graph_is_close_smaller_and_blind_to_its_neighbours(
    tmp_path: Path, write_encoder, sequences
) -> None:
    write_encoder(tmp_path)
    network = load_pretrained(resolve(str(tmp_path)), labels=3)
    exact = quantise.quantise(network, sequences, quantise.Options(precision="float32"), head=False)
    written = quantise.quantise(network, sequences, quantise.Options(), head=False)
    assert len(written.graph) < len(exact.graph)
    opened = session(written.graph)
    together = run_sequences(opened, sequences, 32)
    alone = np.vstack([run_sequences(opened, [sequence], 32) for sequence in sequences])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_rounding_keeps_every_row_within_half_a_step(rng: np.random.Generator) -> None:
    matrix = rng.normal(size=(20, 30)).astype(np.float32)
    matrix[3] = 0.0
    rounded, scales = rounded_rows(matrix)
    assert np.abs(rounded * scales[:, None] - matrix).max() <= scales.max() / 2 + 1e-6


def test_fewer_layers_compute_what_those_layers_compute(tmp_path: Path, write_encoder, sequences) -> None:
    write_encoder(tmp_path)
    base = resolve(str(tmp_path))
    chosen, lineage = prune.layers(load_pretrained(base, labels=3), [0, 3])
    expected = load_pretrained(base, labels=3, layers=[0, 3])
    np.testing.assert_array_equal(embed_all(chosen, sequences), embed_all(expected, sequences))
    assert lineage.parameters == {"layers": [0, 3], "of": 4}


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path: Path, write_encoder) -> None:
    write_encoder(tmp_path)
    config = (tmp_path / "config.json").read_text()
    for wrong in (config.replace('"num_hidden_layers": 4', '"num_hidden_layers": 5'), config.replace("64", "96")):
        (tmp_path / "config.json").write_text(wrong)
        with pytest.raises(InputError, match="do not fit"):
            load_pretrained(resolve(str(tmp_path)), labels=3)


def test_dropout_drops_its_share_and_a_seed_fixes_it() -> None:
    x = torch.ones(200, 300)
    drops = [Dropout(0.2, seed=seed) for seed in (1, 1, 2)]
    for drop in drops:
        drop.renew()
    first, again, other = (drop(x).float() for drop in drops)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert abs(float((first == 0).float().mean()) - 0.2) < 0.01
    assert abs(float(first.mean()) - 1.0) < 0.02


def test_dropout_on_more_than_its_buffer_is_fixed_by_its_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dropout, "SIZE", 1_000)
    x = torch.ones(200, 300)
    dropped = []
    for process_seed in (1, 2):
        drop = Dropout(0.2, seed=5)
        drop.renew()
        torch.manual_seed(process_seed)
        dropped.append(drop(x))
    assert torch.equal(*dropped)
    assert abs(float(dropped[0].mean()) - 1.0) < 0.02


def test_the_graph_does_not_depend_on_the_threads_the_process_is_set_to(
    tmp_path: Path, write_encoder, sequences
) -> None:
    write_encoder(tmp_path)
    network = load_pretrained(resolve(str(tmp_path)), labels=3)
    written = []
    for threads in (1, 2):
        with torch_threads(threads):
            written.append(quantise.quantise(network, sequences, quantise.Options(), head=False).graph)
            assert torch.get_num_threads() == threads
    assert written[0] == written[1]
