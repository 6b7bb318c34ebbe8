"""Memory of the process: what is freed is kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mmssl_cli.training.device import keep_freed_memory

_FAULTS = """
import resource, torch
from mmssl_cli.training.device import keep_freed_memory
torch.set_num_threads(1)
if {kept}:
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():  # 40 MB in arrays of 2 MB
    arrays = [torch.zeros(2**19) for _ in range(20)]
counts = []
for _ in range(10):
    before = faults()
    step()
    counts.append(faults() - before)
print(min(counts))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of the C library of Linux")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    def faults(kept: bool) -> int:
        script = _FAULTS.format(kept=kept)
        return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)

    assert faults(True) < 200
    if faults(False) < 1000:
        pytest.skip("memory is kept without it, or pages are huge")


def test_a_c_library_without_the_setting_is_none_the_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    keep_freed_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="of the C library of Linux")
def test_an_older_c_library_keeps_arrays_of_up_to_32_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted: dict[int, int] = {}

    class Library:
        def mallopt(self, parameter: int, value: int) -> int:
            if parameter == -3 and value > 32 * 2**20:  # as glibc 2.31 does
                return 0
            accepted[parameter] = value
            return 1

    monkeypatch.setattr("ctypes.CDLL", lambda name: Library())
    keep_freed_memory()
    assert accepted == {-3: 32 * 2**20, -1: 256 * 2**20}
