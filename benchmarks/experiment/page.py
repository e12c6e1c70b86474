"""The page: the budget, a reading of the figures that a person writes, and a table and a picture a question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from experiment.plots import group_picture
from experiment.rows import BASELINE, Budget, Group, rows_of
from experiment.runs import Data, Result
from poseglass_core.files import write_whole

BEGIN, END = "<!-- reading -->", "<!-- /reading -->"
EMPTY = "<!-- What the figures say, and what they do not: written by hand, kept when the page is written anew. -->"

Results = Mapping[str, Mapping[int, Result]]
"""Row name -> seed -> result."""


def write_page(folder: Path, groups: Sequence[Group], budget: Budget, data: Data, results: Results) -> Path:
    """Write `experiments.md` and, in `images/`, a picture a group.

    Args:
        folder: made where missing. What stands between the marks of the page that is there is kept.
        groups: of the page; one without results has an empty table and no picture.
        budget, data: said on the page.
        results: what there is.

    Returns:
        The page.
    """
    page, images = folder / "experiments.md", folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for group in groups:
        if any(results.get(row.name) for row in group.rows):
            group_picture(group, results, images / _picture(group))
    text = "\n\n".join(
        [
            _introduction(groups, budget, data, results),
            f"{BEGIN}\n{_kept(page)}\n{END}",
            *(_section(group, results) for group in groups),
        ]
    )
    write_whole(page, (text + "\n").encode())
    return page


def _introduction(groups: Sequence[Group], budget: Budget, data: Data, results: Results) -> str:
    there = [result for by_seed in results.values() for result in by_seed.values()]
    counts = [len(results.get(row.name, {})) for row in rows_of(groups)]
    seeds = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    machines = "; ".join(sorted({result.machine for result in there})) or "nothing yet"
    hours = sum(result.seconds for result in there) / 3600
    size = data.to_json()
    return f"""# Experiments

What is each part worth? Small networks, trained from scratch under one budget, differ from a common baseline in one \
thing at a time. The figures compare rows with each other; how good the shipped weights are is in \
[accuracy.md](accuracy.md).

```
python benchmarks/experiments.py --data lspet/train.json --out runs/experiments --write
```

**Budget of every run:** {size["people"]:,} people of {size["name"]}, {budget.epochs} epochs, crops of {budget.size} × \
{budget.size} pixels, batches of {budget.batch_size}, AdamW with a one-cycle learning rate of at most \
{budget.learning_rate:g}, the presets' augmentation, and a running mean of the weights (decay {budget.ema:g}), which \
is what is measured. Nothing was tuned for any row, the baseline included: a row that needs another learning rate or \
more time is at a disadvantage here.

**Measured:** PCK@0.2 on `dev` ({size["dev_people"]} people, id % 17 == 0), box given, no flip test, after the last \
epoch: no epoch is selected. People without both ends of the torso in the crop, or with a torso under 8 of its pixels, \
are left out. The seed decides the first weights, the order and the augmentation. ± is one standard deviation over \
seeds; the difference from the baseline has a 95 % interval (Welch's). Both speak of chance in training alone: every \
row is measured on the same people, and other people would give other figures.

**There:** {seeds} seeds a row, {len(there)} runs, {hours:.1f} hours in all ({machines}). GMAC counts the \
multiplications of convolutions and fully connected layers for one crop."""


def _kept(page: Path) -> str:
    """What somebody wrote between the marks of the page that is there."""
    old = page.read_text("utf-8") if page.exists() else ""
    _, begin, rest = old.partition(BEGIN)
    text, end, _ = rest.partition(END)
    return text.strip() if begin and end else EMPTY


def _section(group: Group, results: Results) -> str:
    lines = [
        f"## {group.question}",
        "",
        group.text,
        "",
        "| | GMAC | weights | seeds | PCK@0.2 | from the baseline |",
        "|---|---|---|---|---|---|",
    ]
    baseline = _finals(results, BASELINE)
    for row in group.rows:
        finals = _finals(results, row.name)
        if not finals:
            lines.append(f"| {row.label} | – | – | 0 | – | – |")
            continue
        one = next(iter(results[row.name].values()))
        size = f"{one.gmac:.3f} | {one.parameters / 1e6:.2f} M | {len(finals)}"
        gap = "" if row.name == BASELINE else difference(finals, baseline)
        lines.append(f"| {row.label} | {size} | {mean_and_spread(finals)} | {gap} |")
    if any(results.get(row.name) for row in group.rows):
        lines += ["", f"![{group.question} Bars and learning curves](images/{_picture(group)})"]
    return "\n".join(lines)


def mean_and_spread(values: Sequence[float]) -> str:
    """The mean and, from two values on, their standard deviation."""
    mean = f"{np.mean(values):.1f}"
    return f"{mean} ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else mean


def difference(values: Sequence[float], baseline: Sequence[float]) -> str:
    """Of the means, with Welch's 95 % interval where both have a spread."""
    if not baseline:
        return "–"
    gap = f"{np.mean(values) - np.mean(baseline):+.1f}"
    if min(len(values), len(baseline)) < 2 or np.ptp(values) == 0 == np.ptp(baseline):
        return gap
    low, high = stats.ttest_ind(values, baseline, equal_var=False).confidence_interval(0.95)
    return f"{gap} ({low:+.1f} to {high:+.1f})" if math.isfinite(low) else gap


def _finals(results: Results, name: str) -> list[float]:
    return [result.dev_pck[-1] for result in results.get(name, {}).values()]


def _picture(group: Group) -> str:
    return f"experiments-{group.name}.png"
