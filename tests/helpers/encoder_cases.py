"""Shared by the tests of the encoders: pictures good and bad, weights, and a pickle that would run code."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SMALL = "shufflenet_v2_x0_5"
"""A classifier of torchvision with few weights."""


def photo(seed: int, size: tuple[int, int] = (70, 50)) -> Image.Image:
    """Coarse random colours, smoothly enlarged."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BICUBIC)


def saved(name: str, path: Path) -> Path:
    import torch
    from torchvision.models import get_model

    torch.manual_seed(0)
    torch.save(get_model(name, weights=None).state_dict(), path)
    return path


def damaged(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that are no pictures, or none that is safe to decode, and the reasons."""
    photo(0, (300, 200)).save(folder / "whole.jpg")
    cut = folder / "cut.jpg"
    cut.write_bytes((folder / "whole.jpg").read_bytes()[:3000])
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<!doctype html><title>Not found</title>")
    (folder / "program.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n")
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    with (folder / "large.jpg").open("wb") as file:
        file.truncate(2**25 + 1)
    Image.new("1", (9000, 9000)).save(folder / "pixels.png")
    (folder / "bomb.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    Image.new("L", (5000, 3)).save(folder / "thin.png")
    reasons = {
        "cut.jpg": "it is damaged (image file is truncated",
        "empty.jpg": "it is no JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF",
        "page.jpg": "it is no JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF",
        "program.jpg": "it is no JPEG, PNG, WEBP, GIF, BMP, TIFF or AVIF",
        "missing.jpg": "there is no such file",
        "folder.jpg": "it is not a file",
        "pipe.jpg": "it is not a file",
        "large.jpg": "it has 33,554,433 bytes, more than 33,554,432",
        "pixels.png": "it has 9,000 x 9,000 pixels, more than 64,000,000",
        "bomb.png": "it has more than 64,000,000 pixels",
        "thin.png": "it is 5,000 x 3, longer than 100 times its shorter side",
        "a" * 5000: "it cannot be read (File name too long)",
    }
    return {name: (folder / name, reason) for name, reason in reasons.items()}


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


class Payload:
    """A hostile pickle: it runs a function as it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)
