"""Least time of a step: its floating-point operations and its bytes at the speeds that the machine attains.

Operations are those of matrix products, by the formulas of ``torch.utils.flop_counter``, and of sparse products: two
for each entry and column. Element by element, reductions, random numbers and sorting are counted by their bytes alone.
A sparse product reads its entries (column and weight), its row starts and, of the dense rows, each at most once.

Two floors come of it. The floor of the step is the longer of its operations and of the bytes that were there before
it: weights, moments, graphs, features, each read once and, where changed, written once, as if all between stayed in
caches. The floor operator by operator adds up the longer of the two for each operator that runs, its operands read
from memory and its results written there; a machine whose caches hold them can be faster than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

#: Side of the square matrices, and float32 numbers of each array of the triad: far more than caches hold.
SIDE, NUMBERS = 2048, 1 << 26
aten = torch.ops.aten
_BAGS = (aten._embedding_bag, aten._embedding_bag_forward_only)
#: Operators that read as many elements of their source as they return.
_GATHERS = (aten.index, aten.index_select, aten.gather, aten.embedding)
#: Operators that change as many elements of their target as they are given.
_SCATTERS = (aten.index_put_, aten.index_add_, aten.scatter_add_)


def matrix_product(device: str) -> tuple[Callable[[], object], float]:
    """Return a product of square float32 matrices to time, and its floating-point operations."""
    left, right = (torch.rand(SIDE, SIDE, device=device) for _ in range(2))
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out), 2.0 * SIDE**3


def triad(device: str) -> tuple[Callable[[], object], float]:
    """Return STREAM's triad a = b + s c to time, and the bytes it moves: two arrays read and one written."""
    one, two = (torch.rand(NUMBERS, device=device) for _ in range(2))
    out = torch.empty_like(one)
    return lambda: torch.add(one, two, alpha=1.5, out=out), 3.0 * 4 * NUMBERS


@dataclass
class _Stored:
    """A piece of memory: allocated outside the block or not, bytes read before any write, and bytes written."""

    outside: bool
    read: int = 0
    written: int = 0


class Counter(TorchDispatchMode):
    """Count the work of every operator run in its ``with`` block.

    Attributes:
        operators: part -> (operations, bytes) of each of its operators; ``part`` returns the current part.
    """

    def __init__(self, part: Callable[[], str] = lambda: "") -> None:
        super().__init__()
        self.part = part
        self.operators: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._stored: dict[int, _Stored] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Run an operator and count it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.namespace == "aten" and not func.is_view:
            self._count(func, args, kwargs, out)
        return out

    def floor(self, flops_a_second: float, bytes_a_second: float) -> float:
        """Return the seconds of all operations or of moving the persistent bytes, whichever are more."""
        return max(self.flops / flops_a_second, self.persistent_bytes / bytes_a_second)

    def operator_floors(self, flops_a_second: float, bytes_a_second: float) -> dict[str, float]:
        """Return the seconds of each part, operator by operator."""
        return {
            part: sum(max(flops / flops_a_second, moved / bytes_a_second) for flops, moved in operators)
            for part, operators in self.operators.items()
        }

    @property
    def flops(self) -> float:
        """Floating-point operations of all products."""
        return sum(flops for operators in self.operators.values() for flops, _ in operators)

    @property
    def operator_bytes(self) -> float:
        """Bytes that all operators read and write."""
        return sum(moved for operators in self.operators.values() for _, moved in operators)

    @property
    def persistent_bytes(self) -> int:
        """Bytes read and written of tensors allocated outside the block."""
        return sum(stored.read + stored.written for stored in self._stored.values() if stored.outside)

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        inputs, results = _tensors([args, kwargs]), _tensors(out)
        known = {_pointer(tensor) for tensor in inputs}
        made = [tensor for tensor in results if _pointer(tensor) not in known]
        if func._overloadpacket.__name__.startswith(("empty", "new_empty")):  # nothing is read, or put there yet
            self._stored.update({_pointer(tensor): _Stored(outside=False) for tensor in made})
            return
        written = made + _changed(func, args, kwargs)
        if not written:  # a view by another name
            return
        reads, writes = _added(inputs), _added(written)
        flops = _of_products(func._overloadpacket, args, kwargs, out, inputs, reads)
        if func._overloadpacket in _GATHERS:
            reads[_pointer(inputs[0])] = _bytes(results[0])
        elif func._overloadpacket in _SCATTERS:
            target = _pointer(inputs[0])
            reads[target] = writes[target] = inputs[-1].numel() * inputs[-1].element_size()
        self.operators[self.part()].append((flops, float(sum(reads.values()) + sum(writes.values()))))
        self._remember(inputs, reads, written, writes)

    def _remember(
        self, inputs: list[Tensor], reads: dict[int, int], outputs: list[Tensor], writes: dict[int, int]
    ) -> None:
        sizes = {_pointer(tensor): tensor.untyped_storage().nbytes() for tensor in (*inputs, *outputs)}
        for place, count in reads.items():
            stored = self._stored.setdefault(place, _Stored(outside=True))
            if not stored.written:
                stored.read = min(sizes[place], stored.read + count)
        for place, count in writes.items():
            stored = self._stored.setdefault(place, _Stored(outside=False))
            stored.written = min(sizes[place], stored.written + count)


def _of_products(
    operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, inputs: list[Tensor], reads: dict[int, int]
) -> float:
    """Operations of a product, 0 of other operators; corrects ``reads`` for sparse products."""
    matrix = next((value for value in args if isinstance(value, Tensor) and value.layout == torch.sparse_csr), None)
    if operator in _BAGS:
        dense, entries = inputs[0], inputs[1].numel()
    elif matrix is not None:
        dense, entries = inputs[-1], matrix.values().numel()
    else:
        return float(flop_registry[operator](*args, **kwargs, out_val=out)) if operator in flop_registry else 0.0
    reads[_pointer(dense)] = min(_bytes(dense), entries * dense.shape[1] * dense.element_size())
    return 2.0 * entries * dense.shape[1]


def _tensors(values: Any) -> list[Tensor]:
    """The strided tensors among the values, and the components of sparse ones."""
    found: list[Tensor] = []
    for leaf in tree_leaves(values):
        if isinstance(leaf, Tensor) and leaf.layout == torch.sparse_csr:
            found += [leaf.crow_indices(), leaf.col_indices(), leaf.values()]
        elif isinstance(leaf, Tensor):
            found.append(leaf)
    return found


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operator writes in place by its schema."""
    found = []
    for at, argument in enumerate(func._schema.arguments):
        # A fused optimiser may scale gradients in place, and is not asked to.
        if argument.alias_info is not None and argument.alias_info.is_write and argument.name != "grads":
            found += _tensors(args[at] if at < len(args) else kwargs.get(argument.name))
    return found


def _added(tensors: list[Tensor]) -> dict[int, int]:
    """Bytes per piece of memory of the tensors, at most its size."""
    found: dict[int, int] = {}
    for tensor in tensors:
        place, size = _pointer(tensor), tensor.untyped_storage().nbytes()
        found[place] = min(size, found.get(place, 0) + _bytes(tensor))
    return found


def _pointer(tensor: Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())


def _bytes(tensor: Tensor) -> int:
    return int(min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()))
