"""Encoding on a Ray cluster: Ray Data sends chunks to encoders on its nodes, their rows go to the chunk files."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import InputError, MmsslError
from pipelines.features.chunks import ChunkStore, Encoded, Encoder, Item, Progress
from pipelines.io.ray_cluster import joined, nodes_of, processors_each, unseen
from pipelines.version import created_by

_UNSEEN = "{node} does not see the picture {path}; pictures must lie on storage that all nodes share, under one path."


def encode_on_ray(
    address: str | None,
    store: ChunkStore,
    items: Sequence[Item],
    make: Callable[[], Encoder],
    identity: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Encode the missing chunks of ``store``, which this process alone writes, in the order in which they come back.

    Args:
        address: of the cluster; None as in ``ray_cluster.joined``.
        items: texts, or absolute paths of pictures.
        make: makes the encoder of a node.
        identity: that of the encoder of this machine, which those of the nodes must share.

    Raises:
        InputError: there is no cluster, or a node cannot encode as this machine does.
    """
    chunks = {places.start: places for places in store.missing()}
    if not chunks:
        return store.fill((), progress)
    # Ray finds fault with how Ray Data makes its actors, in words that are no use to whoever encodes.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    sent = [{"start": start, "items": _items_as_json(store.pick(items, places))} for start, places in chunks.items()]
    with joined(address) as ray:
        rows = _rows(ray, sent, make, dict(identity))
        store.fill(((chunks[row["start"]], _rows_of(row)) for row in rows), progress)


def _rows(
    ray: Any, sent: list[dict[str, Any]], make: Callable[[], Encoder], identity: dict[str, Any]
) -> Iterable[Mapping[str, Any]]:
    """The answers of ``_OnNode``, as they come."""
    import ray.data

    nodes = nodes_of(ray)
    gpus = 1.0 if identity.get("device") == "cuda" else 0.0
    fit = [(cpus, has) for cpus, has in nodes if cpus >= 1 and has >= gpus]
    # One encoder a GPU; without GPUs one a node, which computes on all of its processors.
    most = max(1, int(sum(has for _, has in fit)) if gpus else len(fit))
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    encoded = ray.data.from_items(sent, override_num_blocks=len(sent)).map(
        _OnNode,
        fn_constructor_args=(make, identity, created_by()),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(most, len(sent))),
        num_cpus=processors_each(nodes, most, gpus),
        num_gpus=gpus,
    )
    return encoded.iter_rows()


class _OnNode:
    """An encoder on a node: a chunk in, its rows or a problem out."""

    def __init__(self, make: Callable[[], Encoder], identity: dict[str, Any], version: str) -> None:
        import ray

        self._node = f"Node {ray.util.get_node_ip_address()} of the Ray cluster"
        self._problem = unseen({}, version) or ""
        if not self._problem:
            try:
                self._encoder = make()
                self._problem = self._difference(identity)
            except MmsslError as problem:
                self._problem = f"{self._node} cannot encode. {problem}"

    def _difference(self, identity: dict[str, Any]) -> str:
        ours = self._encoder.identity()
        apart = [name for name in identity if ours.get(name) != identity[name]]
        if not apart:
            return ""
        what = ", ".join(f"{name} {ours.get(name)}, not {identity[name]}" for name in apart)
        return f"{self._node} would make other features than this machine: it has {what}."

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """``start``, ``items`` as JSON -> ``start``, ``rows`` as an npz, ``problem``."""
        problem, rows = self._problem, b""
        items = _items_of(row["items"])
        lost = next((item for item in items if isinstance(item, Path) and not item.is_file()), None)
        if not problem and lost is not None:
            problem = _UNSEEN.format(node=self._node, path=lost)
        if not problem:
            try:
                rows = _rows_as_bytes(self._encoder.encode(items))
            except MmsslError as reason:
                problem = f"{self._node} cannot encode. {reason}"
        return {"start": row["start"], "rows": rows, "problem": problem}


def _items_as_json(items: Sequence[Any]) -> str:
    """Texts, paths (as lists of one) and None, as one text, so that Ray has no type to guess."""
    return json.dumps([[str(item)] if isinstance(item, Path) else item for item in items])


def _items_of(written: str) -> list[Any]:
    return [Path(item[0]) if isinstance(item, list) else item for item in json.loads(written)]


def _rows_as_bytes(encoded: Encoded) -> bytes:
    values, present = encoded
    file = io.BytesIO()
    np.savez(file, values=values, present=present)
    return file.getvalue()


def _rows_of(answer: Mapping[str, Any]) -> Encoded:
    if answer["problem"]:
        raise InputError(answer["problem"])
    with np.load(io.BytesIO(answer["rows"]), allow_pickle=False) as archive:
        return archive["values"], archive["present"]
