"""Who goes with whom: the assignment of least cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def assign(cost: NDArray[np.floating]) -> list[tuple[int, int]]:
    """Pairs of a row and a column, each used once, as many as fit, so that the sum of their costs is least.

    Shortest augmenting paths with potentials (Jonker and Volgenant 1987), one row at a time. Of equal sums always the
    same one is taken.

    Args:
        cost: [rows, columns], finite.

    Returns:
        min(rows, columns) pairs, by row.
    """
    rows, columns = cost.shape
    if rows > columns:
        return sorted((row, column) for column, row in assign(cost.T))
    row_potential, column_potential = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1)
    for row in range(rows):
        shortest, before = np.full(columns, np.inf), np.full(columns, -1)
        done = np.zeros(columns, bool)
        current, reached, at = row, 0.0, -1
        while True:
            through = reached + cost[current] - row_potential[current] - column_potential
            better = ~done & (through < shortest)
            shortest[better], before[better] = through[better], at
            at = int(np.argmin(np.where(done, np.inf, shortest)))
            reached = float(shortest[at])
            done[at] = True
            if row_of[at] < 0:
                break
            current = int(row_of[at])
        # Potentials keep reduced costs non-negative; only what the search has settled moves.
        settled = done & (row_of >= 0)
        row_potential[row] += reached
        row_potential[row_of[settled]] += reached - shortest[settled]
        column_potential[done] -= reached - shortest[done]
        while at >= 0:
            previous = int(before[at])
            row_of[at] = row if previous < 0 else row_of[previous]
            at = previous
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)
