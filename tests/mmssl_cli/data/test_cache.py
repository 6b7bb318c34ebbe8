"""Results that runs share: the same numbers, computed once, and nothing that goes wrong with a file stops a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmssl_cli.config import build_settings
from mmssl_cli.data import cache
from mmssl_cli.data.cache import FOLDER, cached
from mmssl_cli.data.interactions import load_interactions
from mmssl_cli.models.registry import build_model
from tests.conftest import Answer

Cli = Callable[..., Answer]
Files = Callable[[], list[Path]]


@pytest.fixture(autouse=True)
def _keep_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LEAST_SECONDS", 0.0)


@pytest.fixture
def shop(demo: Path, tmp_path: Path) -> Path:
    """A copy of the demo, alone in its data folder."""
    return shutil.copytree(demo, tmp_path / "data" / "demo")


@pytest.fixture
def files(shop: Path) -> Files:
    """The files of the cache beside the copy."""
    return lambda: sorted(path for path in (shop.parent / FOLDER).glob("**/*") if path.is_file())


class _Counted:
    """Two tensors of an input, and how often they were computed."""

    def __init__(self, values: Tensor) -> None:
        self.values, self.calls = values, 0

    def __call__(self) -> list[Tensor]:
        self.calls += 1
        return [self.values.T * 3, (self.values > 0).long()]


@pytest.fixture
def counted() -> _Counted:
    return _Counted(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))


def test_what_is_read_is_what_was_computed(shop: Path, files: Files, counted: _Counted) -> None:
    first = cached(shop, "tripled-1", (counted.values, 2), counted)
    second = cached(shop, "tripled-1", (counted.values, 2), counted)
    assert counted.calls == 1 and len(files()) == 1
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other) and one.dtype == other.dtype and one.stride() == other.stride()


@pytest.mark.parametrize("change", ["name", "number", "values", "shape", "threads", "version"])
def test_another_input_is_computed_anew(
    shop: Path, files: Files, counted: _Counted, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(shop, "tripled-1", (counted.values, 2), counted)
    name, inputs = "tripled-1", [counted.values, 2]
    if change == "name":
        name = "tripled-2"
    elif change == "number":
        inputs[1] = 3
    elif change == "values":
        inputs[0] = counted.values + torch.eye(4, 3) * 1e-6
    elif change == "shape":
        inputs[0] = counted.values.reshape(3, 4)
    elif change == "threads":
        monkeypatch.setenv("OMP_NUM_THREADS", "1234")
    else:
        monkeypatch.setattr(torch, "__version__", "0.0")
    cached(shop, name, inputs, counted)
    assert counted.calls == 2 and len(files()) == 2


def test_data_without_a_folder_and_quick_results_are_not_kept(
    shop: Path, files: Files, counted: _Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    cached(Path(), "tripled-1", (counted.values,), counted)
    monkeypatch.setattr(cache, "LEAST_SECONDS", 60.0)
    cached(shop, "tripled-1", (counted.values,), counted)
    assert counted.calls == 2 and files() == [] and not (shop.parent / FOLDER).exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "no digest", "text"])
def test_a_damaged_file_is_said_once_and_written_again(
    shop: Path, files: Files, counted: _Counted, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import save

    expected = cached(shop, "tripled-1", (counted.values,), counted)
    [path] = files()
    content = path.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    damaged = {
        "empty": b"",
        "cut": content[:-5],
        "flipped": flipped,
        "no digest": save({"0": torch.zeros(3, 4), "1": torch.zeros(4, 3)}),
        "text": b'{"not": "tensors"}',
    }
    path.write_bytes(damaged[damage])
    for _ in range(2):
        found = cached(shop, "tripled-1", (counted.values,), counted)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert counted.calls == 2 and path.read_bytes() == content
    assert capsys.readouterr().err.count("is damaged; what it holds is computed again") == 1


def test_a_folder_that_cannot_be_written_stops_nothing(shop: Path, counted: _Counted) -> None:
    (shop.parent / FOLDER).write_text("a file in the way")
    for calls in (1, 2):
        cached(shop, "tripled-1", (counted.values,), counted)
        assert counted.calls == calls


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_data_folder_stops_nothing(shop: Path, files: Files, counted: _Counted) -> None:
    shop.parent.chmod(0o500)
    try:
        cached(shop, "tripled-1", (counted.values,), counted)
    finally:
        shop.parent.chmod(0o700)
    assert files() == []


def test_files_unused_for_the_longest_are_removed(
    shop: Path, files: Files, counted: _Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[Path] = []
    for number in range(3):
        cached(shop, "tripled-1", (counted.values, number), counted)
        paths += [path for path in files() if path not in paths]
        os.utime(paths[-1], (number, number))
    monkeypatch.setattr(cache, "LIMIT_BYTES", 3 * paths[0].stat().st_size)
    cached(shop, "tripled-1", (counted.values, 0), counted)  # used now: the second is the one unused for the longest
    assert counted.calls == 3

    cached(shop, "tripled-1", (counted.values, 3), counted)
    assert len(files()) == 3 and set(paths) - set(files()) == {paths[1]}

    monkeypatch.setattr(cache, "LIMIT_BYTES", 10)
    cached(shop, "tripled-1", (counted.values, 4), counted)
    assert len(files()) == 3 and counted.calls == 5  # larger than all that may be kept


@pytest.fixture
def computed_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that is kept may be computed again."""
    import mmssl_cli.data.interactions as data
    from mmssl_cli.models import content, damrs, spectral

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    for module, name in [
        (spectral, "svds"),
        (content, "nearest_items"),
        (damrs, "_denoised"),
        (data, "scale_features"),
    ]:
        monkeypatch.setattr(module, name, refuse)
    yield


def _weights(runs: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    [path] = runs.glob("*/model.safetensors")
    return load_file(path)


def test_training_gives_the_same_numbers_with_and_without(
    cli: Cli, shop: Path, files: Files, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    line = ["train", "--dataset", "demo", "--epochs", 1, "--device", "cpu", "--data-dir", shop.parent]
    line += ["--feature-scaling", "whiten", "--spectral-weight", 0.3, "--spectral-rank", 8, "--interaction-topk", 4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "LEAST_SECONDS", 3600.0)
        assert cli(*line, "--runs-dir", tmp_path / "without").code == 0
    assert files() == []
    assert cli(*line, "--runs-dir", tmp_path / "first").code == 0
    kept = {path.name.rpartition("-")[0] for path in files()}
    assert kept == {"whitened-2", "strongest-directions-1", "first-items-1"}
    request.getfixturevalue("computed_once")
    assert cli(*line, "--runs-dir", tmp_path / "second").code == 0

    expected = _weights(tmp_path / "without")
    for runs in (tmp_path / "first", tmp_path / "second"):
        found = _weights(runs)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("freedom", "nearest-items-1"),
        ("mgcn", "nearest-items-1"),
        ("mmhcl", "nearest-items-1"),
        ("damrs", "denoised-graphs-1"),
        ("lightgcn", "strongest-directions-1"),
        ("gfcf", "strongest-directions-1"),
    ],
)
def test_models_rank_the_same_with_and_without(
    shop: Path, files: Files, model: str, kept: str, request: pytest.FixtureRequest
) -> None:
    own = {"lightgcn": {"spectral_weight": 0.5, "spectral_rank": 8}, "gfcf": {"directions": 8}}
    settings, data = build_settings({"model": model, **own.get(model, {})}), load_interactions(shop)

    def scores(folder: Path) -> Tensor:
        torch.manual_seed(0)
        of_folder = replace(data, folder=folder)
        built = build_model(of_folder, settings).eval()
        built.fit(of_folder) if built.has_fit() else built.begin_epoch(1)
        return built.score(torch.arange(5)).detach()

    expected = scores(Path())
    assert files() == []
    assert torch.equal(scores(shop), expected)
    assert {path.name.rpartition("-")[0] for path in files()} == {kept}
    request.getfixturevalue("computed_once")
    assert torch.equal(scores(shop), expected)


def test_a_data_set_can_be_prepared_again_beside_the_cache(cli: Cli, shop: Path, files: Files) -> None:
    line = ["train", "--model", "gfcf", "--dataset", "demo", "--data-dir", shop.parent]
    assert cli(*line).code == 0
    kept = files()
    assert len(kept) == 1
    assert cli("prep", "demo", "--data-dir", shop.parent, "--force").code == 0
    assert cli("prep", "demo", "--data-dir", shop.parent, "--check").code == 0
    assert FOLDER not in cli("datasets", "--json", "--data-dir", shop.parent).out
    assert cli(*line).code == 0
    assert files() == kept
