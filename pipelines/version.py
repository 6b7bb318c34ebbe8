"""Name and version of this program, as manifests, requests and the nodes of a cluster state them."""

from __future__ import annotations

__version__ = "0.1.0"


def created_by() -> str:
    """Return the program and its version."""
    import importlib.metadata  # half of what `import mmssl_cli` would cost

    try:
        return f"mmssl {importlib.metadata.version('mmssl')}"
    except importlib.metadata.PackageNotFoundError:
        return "mmssl, not installed"


def user_agent() -> str:
    """Return the name of this program among servers."""
    return created_by().partition(",")[0].replace(" ", "/")
