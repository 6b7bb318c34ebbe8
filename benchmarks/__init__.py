"""What is fast, what is not, and where the time goes: one program a question, all of them by `python -m benchmarks`."""

from __future__ import annotations

import os

# As the command does: it is read when PyTorch is imported (``mmssl_cli.app.main`` tells why).
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
