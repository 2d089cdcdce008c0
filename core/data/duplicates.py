"""Pictures that are there twice: exactly, by a hash of their pixels, or nearly, by distance at 16 × 16 cells."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from core.seeding import derive

SIDE = 16  # pictures are squeezed to SIDE × SIDE grey for the near search
NEAR_RMS = 4.0  # of 255, root mean square over the squeezed pixels: what counts as nearly the same
MOST = 100_000  # pictures in the near search; of more, a random choice
COMPONENTS = 16
ROWS = 256
EACH = 8  # nearest candidates of a picture that are looked at exactly
LUMA = np.array([19595, 38470, 7471], dtype=np.float32) / 65536
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Counts of pictures. within_*: repeat an earlier picture of the split. across: held-out pictures that are also in
    train. conflicts: pictures whose exact copy has another label. searched: pictures in the near search.

    near_* count those with a near but no exact counterpart there. pairs (P, 2): a few examples, indices into train then
    held-out, exact ones first; pair_kinds: 'across', 'conflict', 'within', 'near across' or 'near' of each.
    """

    within_train: int
    within_heldout: int
    across: int
    conflicts: int
    near_train: int
    near_across: int
    searched: int
    pairs: np.ndarray
    pair_kinds: tuple[str, ...]


def digests_of(block: np.ndarray) -> list[bytes]:
    """One hash a picture of uint8 (n, h, w, C), over size and pixels."""
    head = repr(block.shape[1:]).encode()
    return [hashlib.blake2b(picture.tobytes(), digest_size=16, key=head).digest() for picture in block]


def squeezed(block: np.ndarray) -> np.ndarray:
    """uint8 (n, h, w, C) → float32 (n, 256): grey, each of 16 × 16 cells the mean of what it covers."""
    grey = block[..., 0].astype(np.float32) if block.shape[3] == 1 else block.astype(np.float32) @ LUMA
    rows, columns = _cells(block.shape[1]), _cells(block.shape[2])
    return np.matmul(np.matmul(rows, grey), columns.T).reshape(len(block), SIDE * SIDE)


def find_duplicates(
    digests: list[bytes], vectors: np.ndarray, labels: np.ndarray, num_train: int, seed: int = 0
) -> Duplicates:
    """digests (N), vectors (N, 256) of `squeezed`, labels (N,): train pictures first, then the held-out ones."""
    _, group = np.unique(np.array(digests, dtype="S16"), return_inverse=True)
    count = len(digests)
    is_train = np.arange(count) < num_train
    exact = _exact_pairs(group, labels, is_train)
    chosen = np.arange(count)
    if count > MOST:
        chosen = np.sort(np.random.default_rng(derive(seed, "near duplicates")).permutation(count)[:MOST])
    near = near_pairs(vectors[chosen])
    near = chosen[near]
    near = near[group[near[:, 0]] != group[near[:, 1]]]
    crosses = is_train[near[:, 0]] != is_train[near[:, 1]]
    inside = near[~crosses & is_train[near[:, 0]]]
    across = near[crosses]
    leaked = np.unique(across[~is_train[across]])
    kinds = [(kind, pairs) for kind, pairs in (*exact.pairs, ("near across", across), ("near", inside)) if len(pairs)]
    shown = [(kind, pair) for kind, pairs in kinds for pair in pairs[: max(2, SHOWN // len(kinds))]][:SHOWN]
    return Duplicates(
        within_train=exact.within_train,
        within_heldout=exact.within_heldout,
        across=exact.across,
        conflicts=exact.conflicts,
        near_train=len(np.unique(inside)),
        near_across=len(leaked),
        searched=len(chosen),
        pairs=np.array([pair for _, pair in shown], dtype=np.int64).reshape(-1, 2),
        pair_kinds=tuple(kind for kind, _ in shown),
    )


def near_pairs(vectors: np.ndarray, limit: float = NEAR_RMS) -> np.ndarray:
    """(P, 2) indices i < j of rows whose root mean square difference is at most `limit`.

    Sorted along the first principal component, so that only neighbours there are compared, first in 16 components:
    a projection never makes a distance longer. Of a row with many candidates the EACH nearest are looked at.
    """
    count = len(vectors)
    if count < 2:
        return np.empty((0, 2), dtype=np.int64)
    radius = limit * np.sqrt(vectors.shape[1])
    centred = vectors - vectors.mean(axis=0)
    step = max(1, count // 5000)
    _, axes = np.linalg.eigh(np.cov(centred[::step].T) if count > step else np.eye(vectors.shape[1]))
    few = centred @ axes[:, -COMPONENTS:].astype(np.float32)
    order = np.argsort(few[:, -1], kind="stable")
    few, along = few[order], few[order, -1]
    norms = np.einsum("nd,nd->n", few, few)
    found = []
    for first in range(0, count - 1, ROWS):
        last = min(first + ROWS, count)
        end = int(np.searchsorted(along, along[last - 1] + radius, side="right"))
        squares = norms[first:last, None] + norms[None, first:end] - 2 * (few[first:last] @ few[first:end].T)
        squares[np.tril_indices(last - first)] = np.inf  # each pair once, and nobody with itself
        close = squares <= radius**2 * 1.001 + 1
        for row in np.flatnonzero(close.any(axis=1)):
            others = np.flatnonzero(close[row])
            if len(others) > EACH:
                others = others[np.argpartition(squares[row, others], EACH)[:EACH]]
            difference = centred[order[first + others]] - centred[order[first + row]]
            for other in others[np.sqrt((difference**2).sum(axis=1)) <= radius]:
                found.append(sorted((order[first + row], order[first + other])))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True, kw_only=True)
class _Exact:
    within_train: int
    within_heldout: int
    across: int
    conflicts: int
    pairs: tuple[tuple[str, np.ndarray], ...]


def _exact_pairs(group: np.ndarray, labels: np.ndarray, is_train: np.ndarray) -> _Exact:
    """Counts by group, and for every later copy the pair with the first of its group."""
    _, first = np.unique(group, return_index=True)
    copies = np.flatnonzero(first[group] != np.arange(len(group)))
    pairs = np.stack([first[group[copies]], copies], axis=1)
    in_train = np.unique(group[is_train])
    differs = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    mixed = np.unique(group[pairs[differs].ravel()])
    crosses = is_train[pairs[:, 0]] & ~is_train[pairs[:, 1]]
    return _Exact(
        within_train=int(is_train.sum()) - len(in_train),
        within_heldout=int((~is_train).sum()) - len(np.unique(group[~is_train])),
        across=int((~is_train & np.isin(group, in_train)).sum()),
        conflicts=int(np.isin(group, mixed).sum()),
        pairs=(
            ("across", pairs[crosses & ~differs]),
            ("conflict", pairs[differs]),
            ("within", pairs[~crosses & ~differs]),
        ),
    )


def _cells(length: int) -> np.ndarray:
    """(16, length) float32: how much of each pixel lies in each of 16 equal cells; rows sum to 1."""
    edges = np.linspace(0, length, SIDE + 1)
    starts = np.arange(length)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    weights = np.clip(overlap, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
