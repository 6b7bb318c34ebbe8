"""Options of the place of training: refusals, and the sharing of a cluster's processors."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.io.ray_cluster import evidence, processors_each, unseen
from pipelines.version import created_by
from tests.conftest import Answer

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
COMMANDS = [("compare", "mf"), ("ablate",), ("sparsity",), ("sweep",), ("tune", "mf")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_ray_that_is_not_installed_is_named(
    cli: Callable[..., Answer], command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = cli(*command, "--dataset", "demo", "--engine", "ray")
    assert answer.code == 2 and "pip install 'mmssl[ray]'" in answer.words, answer


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--engine", "rai"), "There is no engine 'rai': did you mean ray?"),
        (("--address", "auto"), "--address applies only with --engine ray."),
        (("--gpus-per-run", 0.5), "--gpus-per-run applies only with --engine ray."),
        (("--engine", "ray", "--gpus-per-run", 2), "expected at most 1"),
    ],
)
def test_flags_that_fit_no_engine_are_refused(
    cli: Callable[..., Answer], flags: tuple[object, ...], sentence: str
) -> None:
    answer = cli("compare", "mf", "--dataset", "demo", *flags)
    assert answer.code == 2 and sentence in answer.words, answer


@pytest.mark.parametrize(
    ("nodes", "places", "gpus", "each"),
    [
        ([(8, 0), (4, 0)], 1, 0, 8),
        ([(8, 0), (4, 0)], 2, 0, 4),
        ([(8, 0), (4, 0)], 6, 0, 2),
        ([(8, 0), (4, 0)], 100, 0, 1),
        ([(16, 4), (64, 0)], 1, 1, 4),  # the node without GPUs takes no part, and other GPUs keep their processors
        ([(16, 4)], 8, 0.5, 2),
        ([(16, 4)], 1, 0.5, 2),
        ([(2, 4)], 4, 1, 1),
    ],
)
def test_processors_are_shared_among_the_runs_that_are_to_go_at_once(
    nodes: list[tuple[float, float]], places: int, gpus: float, each: int
) -> None:
    assert processors_each(nodes, places, gpus) == each


def test_more_of_a_gpu_than_any_node_has_is_refused() -> None:
    with pytest.raises(UsageError, match="--gpus-per-run is 1, but no node of the Ray cluster has more than 0 GPUs"):
        processors_each([(8, 0), (4, 0)], 1, 1)


@needs_ray
def test_a_node_must_have_the_same_files_and_program(tmp_path: Path) -> None:
    manifest, runs = tmp_path / "manifest.json", tmp_path / "runs"
    manifest.write_text("{}")
    with evidence([manifest], [runs]) as found:
        assert len(found) == 2 and unseen(found, created_by()) is None
        assert "install the same version on every node" in str(unseen(found, "mmssl 0.0"))
        manifest.write_text("{ }")
        assert f"does not see {manifest} as this machine does" in str(unseen(found, created_by()))
    assert list(runs.iterdir()) == []


@needs_ray
def test_an_address_where_nothing_answers_is_said_at_once(cli: Callable[..., Answer]) -> None:
    with socket.socket() as taken:  # bound, but not listening: nobody else can be there either
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = cli("tune", "mf", "--dataset", "demo", "--engine", "ray", "--address", address)
    assert answer.code == 1 and f"There is no Ray cluster to be reached at {address}" in answer.words, answer
