"""Runs that were saved before a setting existed keep the behaviour they were trained with."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmssl_cli.config import SETTINGS, build_settings, settings_to_toml
from mmssl_cli.runs.folder import RunFolder


@pytest.mark.parametrize("model", [name for name, settings in SETTINGS.items() if settings.legacy_defaults])
def test_a_run_without_a_setting_behaves_as_before_it(model: str, tmp_path: Path) -> None:
    settings = build_settings({"model": model})
    provenance = {"manifest_digest": "", "started": ""}
    saved = settings_to_toml(settings, provenance).splitlines()
    lines = [line for line in saved if line.partition(" = ")[0].replace("-", "_") not in settings.legacy_defaults]
    assert len(lines) >= len(saved) - len(settings.legacy_defaults)
    before = RunFolder.create(tmp_path, "before", "\n".join(lines)).settings()
    assert before.model_dump() == {**settings.model_dump(), **settings.legacy_defaults} != settings.model_dump()
    assert RunFolder.create(tmp_path, "now", "\n".join(saved)).settings() == settings
