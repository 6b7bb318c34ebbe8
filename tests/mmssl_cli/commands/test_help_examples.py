"""Every example of every `--help` does what it says, on data and settings of seconds."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer

from mmssl_cli.app import COMMANDS, LazyCommand, LazyGroup, app
from mmssl_cli.config import SETTINGS
from pipelines.sources import demo
from tests.conftest import Answer


def examples() -> list[str]:
    """The command lines, those that prepare and train before those that use their results."""
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    commands = [group.commands[name] for name in sorted(COMMANDS, key=["prep", "train"].__contains__, reverse=True)]
    helps = [command.load().help or "" for command in commands if isinstance(command, LazyCommand)]
    paragraphs = [group.epilog or "", *(part for text in helps for part in text.split("\n\n"))]
    return [part.removeprefix("Example: ") for part in paragraphs if part.startswith("Example: ")]


def _published(folder: Path) -> None:
    """Raw files of the published layout: 30 users and 60 items, a held-out item a user."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    items = {str(user): random.permutation(60)[:6].tolist() for user in range(30)}
    for name, part in (("train", slice(4)), ("val", slice(4, 5)), ("test", slice(5, 6))):
        (folder / f"{name}.json").write_text(json.dumps({user: row[part] for user, row in items.items()}))
    np.save(folder / "image_feat.npy", random.normal(size=(60, 4)).astype(np.float32))


def _tables(folder: Path) -> None:
    """30 users with 8 of 20 items each, and titles and brands of the items."""
    random = np.random.default_rng(1)
    pairs = [f"u{user},i{item}" for user in range(30) for item in random.permutation(20)[:8]]
    (folder / "clicks.csv").write_text("\n".join(["user,item", *pairs]) + "\n")
    items = [f"i{item},{'red' if item % 2 else 'blue'} hat no {item},maker {item % 3}" for item in range(20)]
    (folder / "items.csv").write_text("\n".join(["id,title,brand", *items]) + "\n")


def _quick(words: list[str]) -> list[str]:
    """The same command with fewer runs, trials and epochs."""
    fewer = {"--runs": "1", "--trials": "2", "--epochs": "1"}
    return [fewer.get(before, word) for before, word in zip(["", *words], words, strict=False)]


@pytest.mark.slow
@pytest.mark.usefixtures("inline_runs")
def test_every_example_works(cli: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = demo.generate_shop
    monkeypatch.setattr(demo, "generate_shop", lambda seed: generate(seed, num_users=40, num_items=60))
    monkeypatch.setattr("mmssl_cli.config.presets.SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr("uvicorn.Config.bind_socket", lambda config: None)
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)  # it would serve for ever
    for dataset in ("demo", "tiktok"):
        (tmp_path / "shipped" / dataset).mkdir(parents=True)
        for model in SETTINGS:
            brief = "epochs = 1\n" if "epochs" in SETTINGS[model].model_fields else ""
            (tmp_path / "shipped" / dataset / f"{model}.toml").write_text(brief)
    (tmp_path / "shipped" / "paper").mkdir()
    (tmp_path / "shipped" / "paper" / "mmssl.toml").write_text("epochs = 1\n")
    _published(tmp_path / "downloads" / "tiktok")
    _tables(tmp_path)
    (tmp_path / "my.toml").write_text("embedding-dim = 16\n")

    ran = []
    for example in examples():
        program, *arguments = _quick(shlex.split(example))
        answer = cli(*arguments)
        assert (program, answer.code) == ("mmssl", 0), (example, answer.err)
        assert answer.out, example
        ran.append(arguments[0])

    assert set(ran) == set(COMMANDS)
    assert (tmp_path / "recs.parquet").is_file() and (tmp_path / "per_user.parquet").is_file()
