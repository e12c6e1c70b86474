"""People labelled with left and right exchanged, found by a network's confident disagreement. Needs no torch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_core.files import write_whole
from poseglass_core.geometry import Affine, invert, transform
from poseglass_core.skeleton import Skeleton
from poseglass_runtime.estimator import estimate
from poseglass_runtime.images import decode_image
from poseglass_runtime.outputs import Network
from poseglass_training.annotations import AnnotationError, KeypointData, Person, read_json, require_other_file

MARGIN = 1.0
"""Least margin of a suspicion; under it, most are undecidable by eye."""

NEAR = 1 / 15
"""Of the box's longer side: a fifth of a torso, at the torso's usual third of it. Unlike a torso it needs no labels."""

WINDOW = 5
"""Cells a side over which a heatmap is summed around a label, as where scores are calibrated."""

FLOOR = 0.01
"""Added to that sum: how often the network is wrong for reasons of its own, so that one joint decides nothing."""

NEUTRAL = 4
"""Joints without evidence that every group is given: the fewer joints speak, the louder they must."""

ALL = "all"
"""The group of all joints that have a side."""


@dataclass(frozen=True)
class Group:
    """Joints whose sides are exchanged together.

    Attributes:
        name: its joints without their sides, e.g. "hip, knee, ankle", or "all".
        pairs: positions of left and right in the skeleton's joints.
    """

    name: str
    pairs: tuple[tuple[int, int], ...]

    @property
    def joints(self) -> list[int]:
        """Positions of all its joints."""
        return [joint for pair in self.pairs for joint in pair]


@dataclass(frozen=True)
class Swap:
    """A suspicion.

    Attributes:
        id: the annotation's.
        group: what is exchanged.
        margin: by how much the exchanged labels agree better: the logarithm of the ratio of heatmap mass around them to
            that around the given ones, averaged over the group's joints that can tell and `NEUTRAL` ones that cannot.
    """

    id: int
    group: Group
    margin: float


def flip_groups(skeleton: Skeleton) -> list[Group]:
    """What may be exchanged together: connected parts of the limbs between joints with a side; then all of them.

    A limb between two joints that both have a limb to the middle or to the other side (hip to shoulder) belongs to the
    trunk and connects nothing. Without limbs, or where everything is one part, there is only "all"; none where no joint
    has a side.
    """
    pairs = [(skeleton.index(a), skeleton.index(b)) for a, b in skeleton.flip_pairs]
    if not pairs:
        return []
    of = {joint: number for number, pair in enumerate(pairs) for joint in pair}
    ends = [(of.get(a), of.get(b)) for a, b in skeleton.limb_index]
    rooted = {end for a, b in ends if a is None or b is None or a == b for end in (a, b)}
    part = list(range(len(pairs)))
    for a, b in ends:
        if a is not None and b is not None and not {a, b} <= rooted:
            part = [part[a] if number == part[b] else number for number in part]
    parts = [tuple(pair for pair, number in zip(pairs, part, strict=True) if number == n) for n in dict.fromkeys(part)]
    whole = Group(ALL, tuple(pairs))
    if not skeleton.limbs or len(parts) == 1:
        return [whole]
    return [*(Group(", ".join(_sideless(skeleton.joints[a]) for a, _ in p), p) for p in parts), whole]


def _sideless(joint: str) -> str:
    return re.sub(r"left|right|^[lr]_", "", joint, count=1, flags=re.IGNORECASE).strip(" _-.") or joint


def find_swaps(
    network: Network,
    data: KeypointData,
    margin: float = MARGIN,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Swap]:
    """Compare labels as they are, and with left and right exchanged, with a network's heatmaps (flip test).

    A group is suspected where the exchanged labels agree better by the margin and most of its predicted joints lie near
    the other side's label and far from their own. Pairs that lie close together, or of which one is not labelled, do
    not count; at least half of a group's must.

    Args:
        network: runs the model; joints are matched by name.
        data: labelled people.
        margin: least one of a suspicion.
        on_progress: called with (people done, people).

    Returns:
        In the order of the people; "all" alone, or the parts that are suspected.

    Raises:
        AnnotationError: no joint has a side, the model knows no such pair, or a picture cannot be read.
    """
    groups = flip_groups(data.skeleton)
    if not groups:
        raise AnnotationError(
            f"{data.name}: no joint changes places in a mirror, so no sides can be exchanged; leave out --model, or "
            "list the category's `flip_pairs`"
        )
    names = network.manifest.skeleton.joints
    known = np.array([name in names for name in data.skeleton.joints])
    if not any(known[a] and known[b] for a, b in groups[-1].pairs):
        raise AnnotationError(
            f"{data.name} and the model share no pair of left and right joints: the data has "
            f"{', '.join(data.skeleton.joints)}; the model has {', '.join(names)}"
        )
    columns = [names.index(name) if name in names else 0 for name in data.skeleton.joints]
    swaps: list[Swap] = []
    done = 0
    for path, neighbours in groupby(data.people, key=lambda person: person.image):
        people = list(neighbours)
        boxes = [person.box for person in people]
        found = estimate(network.run, network.manifest, _read(path), boxes, flip_test=True)
        for i, person in enumerate(people):
            maps, joints = found.heatmaps[i, columns], found.joints[i, columns]
            evidence = _weigh(person, known, data.skeleton.flip_index, maps, joints, found.to_image[i])
            swaps += _judge(person.id, groups, evidence, margin)
        done += len(people)
        on_progress(done, len(data.people))
    return swaps


def _read(path: Path) -> NDArray[np.uint8]:
    try:
        return decode_image(path.read_bytes())
    except OSError as error:
        raise AnnotationError(f"{path}: the picture cannot be read ({error.strerror})") from None
    except InvalidInput as error:
        raise AnnotationError(f"{path}: {error.reason}") from None


@dataclass(frozen=True)
class _Evidence:
    """What a person's joints say, [J]: whether one counts, log ratio exchanged : given, whether it fits only so."""

    counts: NDArray[np.bool_]
    ratios: NDArray[np.float64]
    fits: NDArray[np.bool_]


def _weigh(
    person: Person,
    known: NDArray[np.bool_],
    flip: list[int],
    heatmaps: NDArray[np.float32],
    predicted: NDArray[np.float64],
    to_image: Affine,
) -> _Evidence:
    """Heatmaps [J, rows, columns] and predicted joints [J, 2] against a person's labels, both ways round."""
    given = person.joints.astype(np.float64)
    exchanged = given[flip]
    near = NEAR * max(person.box.width, person.box.height)
    usable = person.visible & known

    def away(points: NDArray[np.float64], labels: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray(np.linalg.norm(points - labels, axis=1) > near)

    to_cells = invert(to_image)
    own, other = (_mass(heatmaps, transform(to_cells, labels)) for labels in (given, exchanged))
    return _Evidence(
        counts=usable & usable[flip] & away(given, exchanged),
        ratios=np.log((other + FLOOR) / (own + FLOOR)),
        fits=~away(predicted, exchanged) & away(predicted, given),
    )


def _mass(heatmaps: NDArray[np.float32], cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share [J] of each heatmap within `WINDOW` around a point [J, 2]; what lies outside of the map is 0."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    x, y = (np.round(cells[:, axis, None]).astype(np.int64) + offsets for axis in (0, 1))  # [J, WINDOW]
    rows, columns = heatmaps.shape[1:]
    inside = ((y >= 0) & (y < rows))[:, :, None] & ((x >= 0) & (x < columns))[:, None, :]
    joint = np.arange(len(heatmaps))[:, None, None]
    values = heatmaps[joint, y.clip(0, rows - 1)[:, :, None], x.clip(0, columns - 1)[:, None, :]].astype(np.float64)
    total = heatmaps.sum(axis=(1, 2), dtype=np.float64)
    return np.asarray((values * inside).sum(axis=(1, 2)) / np.maximum(total, np.finfo(np.float64).tiny))


def _judge(number: int, groups: Sequence[Group], evidence: _Evidence, margin: float) -> list[Swap]:
    margins = [_margin(group, evidence) for group in groups]
    suspected = [
        Swap(number, group, value)
        for group, value in zip(groups, margins, strict=True)
        if value is not None and value >= margin and _fits(group, evidence)
    ]
    if not suspected or suspected[-1].group != groups[-1]:
        return suspected
    # All together only where every part speaks for it: strong arms would carry legs that are right, or say nothing.
    together = all(evidence.ratios[group.joints][evidence.counts[group.joints]].sum() > 0 for group in groups)
    return suspected[-1:] if together else suspected[:-1]


def _margin(group: Group, evidence: _Evidence) -> float | None:
    """None where fewer than half of the group's joints count."""
    counts = evidence.counts[group.joints]
    if 2 * counts.sum() < len(counts):
        return None
    return float(evidence.ratios[group.joints][counts].sum() / (counts.sum() + NEUTRAL))


def _fits(group: Group, evidence: _Evidence) -> bool:
    return bool(evidence.fits[group.joints][evidence.counts[group.joints]].mean() > 0.5)


def describe_swaps(swaps: Sequence[Swap]) -> str:
    """Suspicions by group, with their number, the annotations' ids and margins; several lines, or one for none."""
    if not swaps:
        return "nobody seems to have left and right exchanged"
    lines = [f"{len({swap.id for swap in swaps})} people seem to have left and right exchanged: id (margin)"]
    for group in dict.fromkeys(swap.group for swap in swaps):
        ours = [f"{swap.id} ({swap.margin:.1f})" for swap in swaps if swap.group == group]
        lines.append(f"  {group.name}: {len(ours)}: {', '.join(ours)}")
    return "\n".join(lines)


def write_mended(source: Path, out: Path, swaps: Sequence[Swap]) -> None:
    """Copy an annotation file with the suspected groups' keypoints exchanged and everything else as it is.

    Args:
        source: the COCO file that the swaps were found in.
        out: another file; whole or not there.
        swaps: from `find_swaps`.

    Raises:
        AnnotationError: `out` is the input or its folder is missing, or an id to mend belongs to several annotations.
        OSError: it cannot be written.
    """
    require_other_file(source, out, "--mended")
    content = read_json(source)
    uses = Counter(annotation["id"] for annotation in content["annotations"])
    by_id = {annotation["id"]: annotation for annotation in content["annotations"]}
    for swap in swaps:
        if uses[swap.id] > 1:
            raise AnnotationError(
                f"{source}: {uses[swap.id]} annotations have id {swap.id}; give each its own to mend it"
            )
        flat = by_id[swap.id]["keypoints"]
        for a, b in swap.group.pairs:
            left, right = slice(3 * a, 3 * a + 3), slice(3 * b, 3 * b + 3)
            flat[left], flat[right] = flat[right], flat[left]
    write_whole(out, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
