"""Encoding on a Ray cluster: each chunk goes to an encoder on a node, its rows come back to the chunk files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import InputError, MmsslError
from pipelines.features.chunks import ChunkStore, Encoded, Encoder, Item, Progress
from pipelines.io.ray_cluster import joined, nodes_of, processors_each, unseen
from pipelines.version import created_by

_UNSEEN = "{node} does not see the image {path}; images must lie on storage that all nodes share, under one path."


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
    chunks = store.missing()
    if not chunks:
        return store.fill((), progress)
    sent = [(places, store.pick(items, places)) for places in chunks]
    with joined(address) as ray:
        store.fill(_encoded(ray, sent, _encoders(ray, len(sent), make, dict(identity))), progress)


def _encoders(ray: Any, most: int, make: Callable[[], Encoder], identity: dict[str, Any]) -> list[Any]:
    """Return the ``_OnNode`` of the cluster: one a GPU; without GPUs one a node, which computes on its processors."""
    nodes = nodes_of(ray)
    gpus = 1.0 if identity.get("device") == "cuda" else 0.0
    fit = [has for cpus, has in nodes if cpus >= 1 and has >= gpus]
    places = max(1, int(sum(fit)) if gpus else len(fit))
    on_node = ray.remote(num_cpus=processors_each(nodes, places, gpus), num_gpus=gpus)(_OnNode)
    return [on_node.remote(make, identity, created_by()) for _ in range(min(places, most))]


def _encoded(
    ray: Any, sent: Sequence[tuple[range, list[Item]]], encoders: Sequence[Any]
) -> Iterator[tuple[range, Encoded]]:
    """Yield the rows of chunks as they come; a chunk whose encoder is lost goes to another one.

    Raises:
        InputError: a node cannot encode as this machine does, or all encoders are lost.
    """
    waiting, free, missing = deque(sent), deque[Any](), len(sent)
    at_work: dict[Any, tuple[Any, tuple[range, list[Item]] | None]] = {
        encoder.ready.remote(): (encoder, None) for encoder in encoders
    }
    while missing:
        while waiting and free:
            encoder, chunk = free.popleft(), waiting.popleft()
            at_work[encoder.encode.remote(chunk[1])] = (encoder, chunk)
        if not at_work:
            raise InputError(
                "The encoders on the Ray cluster are lost, with their nodes or for want of memory; see `ray status`. "
                "What is encoded is kept: run the same command again."
            )
        answer = ray.wait(list(at_work), num_returns=1)[0][0]
        encoder, asked = at_work.pop(answer)
        try:
            rows = ray.get(answer)
        except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError):
            waiting.extend([asked] if asked else ())
            continue
        if isinstance(rows, str):
            raise InputError(rows)
        free.append(encoder)
        if asked:
            missing -= 1
            yield asked[0], rows


class _OnNode:
    """An encoder on a node. A method returns a sentence where the node cannot encode as the other machine does."""

    def __init__(self, make: Callable[[], Encoder], identity: dict[str, Any], version: str) -> None:
        import ray

        self._node = f"Node {ray.util.get_node_ip_address()} of the Ray cluster"
        self._problem = unseen({}, version)
        if not self._problem:
            try:
                self._encoder = make()
                self._problem = self._difference(identity)
            except MmsslError as problem:
                self._problem = f"{self._node} cannot encode. {problem}"

    def _difference(self, identity: dict[str, Any]) -> str | None:
        ours = self._encoder.identity()
        apart = [name for name in identity if ours.get(name) != identity[name]]
        if not apart:
            return None
        what = ", ".join(f"{name} {ours.get(name)}, not {identity[name]}" for name in apart)
        return f"{self._node} would make other features than this machine: it has {what}."

    def ready(self) -> str | None:
        """Return once the encoder is made."""
        return self._problem

    def encode(self, items: list[Item]) -> Encoded | str:
        """Return the rows of a chunk."""
        lost = next((item for item in items if isinstance(item, Path) and not item.is_file()), None)
        if lost is not None:
            return _UNSEEN.format(node=self._node, path=lost)
        try:
            return self._encoder.encode(items)
        except MmsslError as problem:
            return f"{self._node} cannot encode. {problem}"
