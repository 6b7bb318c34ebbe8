"""Benchmarks, one program each; `python -m benchmarks` runs all of them."""

from __future__ import annotations

import os

# As the command does, before PyTorch is imported; ``mmssl_cli.app.main`` gives the reason.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
