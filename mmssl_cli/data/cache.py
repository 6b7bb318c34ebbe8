"""Results that the runs on a data set share, such as singular vectors: computed once, and kept in a folder on disk.

A file is named by its function and a hash of all that the result depends on, the data themselves included, so that one
of other data is never read. Files are safetensors with a digest, appear whole, and give the numbers that were computed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import scipy
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mmssl_cli.console.lines import warn
from pipelines.errors import InputError
from pipelines.io.files import write_bytes
from pipelines.version import __version__

#: Folder of the files, beside the data sets.
FOLDER = ".cache"
#: Bytes that the files may take together; those unused for the longest are removed.
LIMIT_BYTES = 2 * 2**30
#: Results that take less processor time are not kept.
LEAST_SECONDS = 0.5
_DIGEST = "sha256"


def cached(
    folder: Path, name: str, inputs: Sequence[Tensor | int], compute: Callable[[], Sequence[Tensor]]
) -> list[Tensor]:
    """Return the tensors of ``compute()``, from a file where they have been computed before.

    Args:
        folder: the prepared data set; ``Path()`` for data without one, whose results are not kept.
        name: of the function, with a version that changes when its results do.
        inputs: all that the results depend on. They are on the device of the first tensor, and so are the results.
        compute: takes nothing from a random generator that others use.
    """
    device = next(each.device for each in inputs if isinstance(each, Tensor))
    path = None if folder == Path() else folder.parent / FOLDER / f"{name}-{_hash(inputs, device)}.safetensors"
    found = None if path is None else _read(path)
    if found is not None:
        return [each.to(device) for each in found]
    start = time.process_time()
    results = [each.contiguous() for each in compute()]
    if path is not None and time.process_time() - start >= LEAST_SECONDS:
        _write(path, results)
    return results


def _hash(inputs: Sequence[Tensor | int], device: torch.device) -> str:
    numbers = [each for each in inputs if not isinstance(each, Tensor)]
    of_tensors = _digest_of([each for each in inputs if isinstance(each, Tensor)])
    return hashlib.sha256(repr((numbers, of_tensors, _circumstances(device))).encode()).hexdigest()


def _circumstances(device: torch.device) -> tuple[object, ...]:
    """Return what the last bits of a result may depend on beside its inputs."""
    libraries = __version__, torch.__version__, np.__version__, scipy.__version__
    threads = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    processor = torch.backends.cpu.get_cpu_capability()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return *libraries, *threads, processor, gpu, torch.get_float32_matmul_precision()


def _digest_of(tensors: Sequence[Tensor]) -> list[int]:
    digest = hashlib.sha256()
    for each in tensors:
        digest.update(f"{each.dtype} {tuple(each.shape)}:".encode())
        digest.update(each.detach().cpu().contiguous().numpy().reshape(-1).data)
    return list(digest.digest())


def _read(path: Path) -> list[Tensor] | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    try:
        stored = load(content)
        digest = stored.pop(_DIGEST)
        tensors = [stored[str(number)] for number in range(len(stored))]
        if digest.tolist() != _digest_of(tensors):
            raise ValueError("another digest")
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        warn(f"{path} is damaged; what it holds is computed again.")
        return None
    with suppress(OSError):
        os.utime(path)  # the last use
    return tensors


def _write(path: Path, results: Sequence[Tensor]) -> None:
    """Write results, and remove those unused for the longest; where nothing can be written, keep nothing."""
    tensors = [each.detach().cpu().clone() for each in results]
    if sum(each.nbytes for each in tensors) > LIMIT_BYTES:
        return
    named = {str(number): each for number, each in enumerate(tensors)}
    with suppress(InputError, OSError):
        write_bytes(path, save({**named, _DIGEST: torch.tensor(_digest_of(tensors), dtype=torch.uint8)}))
        _trim(path.parent)


def _trim(folder: Path) -> None:
    files = [(path.stat(), path) for path in folder.iterdir() if path.is_file()]
    room = LIMIT_BYTES
    for state, path in sorted(files, key=lambda file: file[0].st_mtime, reverse=True):
        room -= state.st_size
        if room < 0:
            path.unlink(missing_ok=True)
