"""Device and versions for the provenance of a run, and the most memory that it held."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mmssl_cli.distributed.collectives import world_size
from mmssl_cli.text import pluralize
from pipelines.errors import UsageError
from pipelines.version import __version__

_PROCESS = Path("/proc/self")
#: Parameters of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def environment(device: torch.device) -> dict[str, Any]:
    """Versions, device and threads, as config.toml keeps them."""
    return {
        "mmssl": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
    }


def device_name(device: torch.device) -> str:
    """Name of the device, with the number of them where several processes train together."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"cpu ({platform.processor() or platform.machine()}, {pluralize(torch.get_num_threads(), 'thread')})"
    return name if world_size() == 1 else f"{world_size()} x {name}"


def local_gpu() -> torch.device:
    """Make the GPU of this process, by its local rank, the current one and return it.

    Raises:
        UsageError: there are fewer GPUs than processes.
    """
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", world_size())), torch.cuda.device_count()
    if here > gpus:
        raise UsageError(
            f"torchrun started {here} processes on this machine, and PyTorch finds {gpus} CUDA GPUs; "
            "start one process a GPU, or add --device cpu."
        )
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cuda", torch.cuda.current_device())


def keep_freed_memory() -> None:
    """Let the C library of Linux keep freed memory for the next step, up to 256 MB, instead of giving it back.

    It would come again as new pages, filled with zeros, some thousand a step.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # not every C library has it
            libc = ctypes.CDLL(None)
            # Older versions refuse more than 32 MB (glibc 2.31, of Ubuntu 20.04).
            _ = libc.mallopt(_M_MMAP_THRESHOLD, 64 * 2**20) or libc.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
            libc.mallopt(_M_TRIM_THRESHOLD, 256 * 2**20)


def reset_peak_memory(device: torch.device) -> None:
    """Restart the count of ``peak_memory``, on CUDA and on Linux; elsewhere it runs from the start of the process."""
    if device.type == "cuda":
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # 5: the peak resident set size, see proc_pid_clear_refs(5)
        (_PROCESS / "clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Bytes of the most memory held since ``reset_peak_memory``: by tensors on CUDA, else by the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        for line in (_PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024  # in kB
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB on Linux
