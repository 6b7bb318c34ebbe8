"""Encoding on a Ray cluster: chunks go out to encoders on its nodes through Ray Data, their rows to the chunk files."""

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
    """Encode what ``store`` is missing; this process alone writes it, in the order in which chunks come back.

    Args:
        address: of the cluster; None as ``ray_cluster.joined`` has it.
        items: texts, or absolute paths of pictures.
        make: makes an encoder on a node.
        identity: that of the encoder here, which the others must share, or their rows would differ.

    Raises:
        InputError: there is no cluster, or a node cannot encode as this machine does.
    """
    missing = store.missing()
    done = store.num_rows - sum(map(len, missing))
    progress(done, store.num_rows)
    if not missing:
        return
    # Ray finds fault with how Ray Data makes its actors, in words that are no use to whoever encodes.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    chunks = {places.start: places for places in missing}
    sent = [{"start": start, "items": _items_as_json(store.pick(items, places))} for start, places in chunks.items()]
    with joined(address) as ray:
        for row in _rows(ray, sent, make, dict(identity)):
            if row["problem"]:
                raise InputError(row["problem"])
            places = chunks[row["start"]]
            store.write(places, *_rows_of(row["rows"]))
            done += len(places)
            progress(done, store.num_rows)


def _rows(
    ray: Any, sent: list[dict[str, Any]], make: Callable[[], Encoder], identity: dict[str, Any]
) -> Iterable[Mapping[str, Any]]:
    """What ``_OnNode`` makes of what is sent, as it comes."""
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
    """An encoder on a node: a chunk in, its rows out, or a sentence on why there are none."""

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
    """Texts, paths (as lists of one) and None: nothing that Ray would have to guess the type of."""
    return json.dumps([[str(item)] if isinstance(item, Path) else item for item in items])


def _items_of(written: str) -> list[Any]:
    return [Path(item[0]) if isinstance(item, list) else item for item in json.loads(written)]


def _rows_as_bytes(encoded: Encoded) -> bytes:
    values, present = encoded
    file = io.BytesIO()
    np.savez(file, values=values, present=present)
    return file.getvalue()


def _rows_of(written: bytes) -> Encoded:
    with np.load(io.BytesIO(written), allow_pickle=False) as archive:
        return archive["values"], archive["present"]
