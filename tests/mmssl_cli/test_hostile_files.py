"""Hostile and damaged files through the command line: one sentence, an exit code, and nothing raw on the terminal."""

from __future__ import annotations

import json
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmssl_cli.app import main
from tests.conftest import Answer
from tests.helpers.raw_cases import amazon_entry, write_amazon
from tests.helpers.written_runs import write_run

Cli = Callable[..., Answer]


def sentence(answer: Answer) -> str:
    """The one line of an answer that failed as it should."""
    assert answer.code in (1, 2), (answer.out, answer.err)
    lines = answer.err.splitlines()
    assert lines[-1].startswith("Error: ") and sum(line.startswith("Error") for line in lines) == 1, answer.err
    assert "bug in mmssl" not in answer.err and "Traceback" not in answer.err
    return lines[-1]


DEEP_TOML = "lr = " + "[" * 2_000 + "]" * 2_000 + "\n"


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--dataset", "demo", "--config", "deep.toml"),
        ("tune", "mf", "--dataset", "demo", "--ranges", "deep.toml"),
        ("compare", "--dataset", "demo", "--config", "deep.toml"),
    ],
)
def test_deep_settings_are_not_valid_toml(cli: Cli, demo: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "deep.toml").write_text(DEEP_TOML)
    assert "deep.toml is not valid TOML" in sentence(cli(*command, "--data-dir", demo.parent))


def test_a_deep_catalog_is_not_valid_toml(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "datasets.toml").write_text("default" + ".a" * 2_000 + " = 1\n")
    assert "datasets.toml is not valid TOML" in sentence(cli("datasets"))


def test_a_deep_manifest_is_not_json(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "manifest.json").write_text("[" * 100_000)
    assert "manifest.json is truncated or not JSON" in sentence(cli("prep", "deep", "--check"))


@pytest.mark.parametrize("name, content", [("config.toml", DEEP_TOML), ("result.json", '{"a":' * 100_000)])
def test_a_run_with_deep_files_is_listed_as_damaged(cli: Cli, tmp_path: Path, name: str, content: str) -> None:
    run = tmp_path / "runs" / "deep"
    run.mkdir(parents=True)
    provenance = '\n[provenance]\nmanifest_digest = "m"\nstarted = "2026-01-01T10:00:00"\n'
    (run / "config.toml").write_text(f'model = "mf"\ndataset = "demo"{provenance}')
    (run / name).write_text(content)
    answer = cli("runs")
    assert answer.code == 0 and "deep is damaged" in answer.out


def test_a_refused_zip_leaves_nothing_unpacked(cli: Cli, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        for name in ("train", "val", "test"):
            archive.writestr(f"shop/{name}.json", '{"0": ["x"]}')
    told = sentence(cli("prep", "shop", "--from", "shop.zip"))
    assert "expected a list of items" in told
    assert "shop.zip/shop/train.json" in told and "unpacked" not in told  # what was unpacked is removed
    assert not [path for path in (tmp_path / "data").rglob("*") if path.name.endswith(".json") and path.is_dir()]
    assert not list((tmp_path / "data").rglob("train.json"))


RAW = "a\x1b[2Jb\u202ec\nd"


def is_plain(answer: Answer) -> bool:
    """True if every character of both streams is printable or breaks a line."""
    return all(ch.isprintable() or ch == "\n" for ch in answer.out + answer.err)


def test_a_column_name_cannot_control_the_terminal(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("a\x1b[2Jb\u202ec,item\n1,2\n", encoding="utf-8")
    answer = cli("prep", "shop", "--interactions", "clicks.csv")
    assert r"a\x1b[2Jb\u202ec" in sentence(answer) and is_plain(answer)
    assert is_plain(cli("-v", "prep", "shop", "--interactions", "clicks.csv"))


@pytest.mark.parametrize("where", [("--config", f"{RAW}.toml"), ("--model", RAW), ("--dataset", RAW), (f"--{RAW}",)])
def test_a_command_line_cannot_control_the_terminal(cli: Cli, where: tuple[str, ...]) -> None:
    answer = cli("train", *where)
    assert sentence(answer) and is_plain(answer) and answer.err.count("\n") == 1


def test_a_run_cannot_control_the_terminal(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "a\x1b[31m"
    run.mkdir(parents=True)
    (run / "config.toml").write_text(
        'model = "m\\u001b[31m"\ndataset = "d\\u202e"\nvariant = "v\\n"\nselect_on = "r@\\u001b"\n'
        '[provenance]\nmanifest_digest = "m"\nstarted = "2026-01-01T10:00:00"\n'
    )
    answer = cli("runs")
    assert answer.code == 0 and r"m\x1b[31m" in answer.out and is_plain(answer)
    (run / "config.toml").write_text("a = \x1b")
    answer = cli("runs")
    assert r"a\x1b[31m is damaged" in answer.out and is_plain(answer)


def test_a_report_names_damaged_runs_and_leaves_them_out(cli: Cli, tmp_path: Path, demo: Path) -> None:
    settings = {"model": "mf", "dataset": "demo", "ks": (20,)}
    sound = write_run(tmp_path / "runs", settings=settings, scores=[0.1, 0.2], test=0.15)
    result = json.loads((sound.path / "result.json").read_text())
    changes = [
        *({"peak_memory_bytes": [1]}, {"seconds_per_epoch": [0.5]}, {"parameters": "x"}, {"test": {"x": 1}}),
        *({"validation": [1]}, {"device": None, "seconds_to_best": {}}, {"seed": [1]}, {"modalities": [3]}),
    ]
    damaged = []
    for change in changes:
        run = write_run(tmp_path / "runs", settings=settings, scores=[0.1, 0.2], test=0.15)
        run.write_result({**result, **change})
        damaged.append(run.id)
    answer = cli("report", "--data-dir", demo.parent)
    assert answer.code == 0, answer.err
    assert [line.split()[1] for line in answer.err.splitlines()] == damaged[::-1]
    assert "figures of 1 run:" in answer.out
    assert all(line.endswith("is missing or not what it should be.") for line in answer.err.splitlines())


def test_numbers_too_large_for_the_precision_are_a_sentence_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "datasets.toml").write_text(amazon_entry("toys", "http://127.0.0.1:9"))
    features = write_amazon(tmp_path / "raw")["image-features"]
    record = features.read_bytes()[:10] + np.full(4096, 1e38, np.float32).tobytes()
    features.write_bytes(record + features.read_bytes()[len(record) :])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        answer = cli("prep", "toys", "--raw", "raw", "--dtype", "float16")
    assert "has NaN or infinite features for 1 items" in sentence(answer)


def test_warnings_of_numpy_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmssl_cli.app.app", lambda **given: sys.exit(int(np.float64(1e300) * np.float64(1e300) > 0)))
    monkeypatch.setattr("sys.warnoptions", [])
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with pytest.raises(SystemExit):
            main(["models"])
    assert not shown
