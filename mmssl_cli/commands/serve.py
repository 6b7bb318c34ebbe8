"""`mmssl serve`: a run over HTTP."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import Annotated

import typer

from mmssl_cli.commands.options import (
    DEFAULT_DATA_DIR,
    DEFAULT_RUNS_DIR,
    DataDir,
    RunName,
    RunsDir,
    say_if_unfinished,
)
from mmssl_cli.console.lines import say, warn
from mmssl_cli.runs.listing import resolve_run
from pipelines.errors import InputError, UsageError


def serve(
    run: RunName,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for every one.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, metavar="N", help="Port to listen on.")] = 8000,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
) -> None:
    """Serve a run over HTTP as JSON: /recommend/USER?k=20 and /similar/ITEM?k=20, by the ids of the data.

    It listens on localhost unless --host says otherwise, without authentication: where others can reach it, put it
    behind a proxy. Needs pip install 'mmssl\\[serve]'.

    Example: mmssl serve latest --port 8000
    """
    folder = resolve_run(run, runs_dir)
    from mmssl_cli.api.runs import Run  # PyTorch, once the command line is right
    from mmssl_cli.api.serving import make_app

    try:
        import uvicorn
    except ImportError as problem:
        raise UsageError("mmssl serve needs fastapi and uvicorn: pip install 'mmssl[serve]'.") from problem
    app = make_app(Run(folder, data_dir))
    say_if_unfinished(folder)
    if not _is_loopback(host):
        warn(f"Everybody who reaches {host}:{port} can ask for recommendations; there is no login.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as problem:
        raise InputError(f"Cannot listen on {host}:{port}; choose another --port or --host.") from problem
    say(f"Serving run {folder.id} on http://{host}:{port}: /recommend/USER?k=20, /similar/ITEM?k=20. Ctrl-C ends it.")
    with suppress(KeyboardInterrupt):  # uvicorn raises the signal that ended it again
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
