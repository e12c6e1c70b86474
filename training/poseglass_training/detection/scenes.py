"""Pictures to learn finding people from: labelled scenes, and scenes put together from several. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poseglass_core.errors import InvalidInput
from poseglass_runtime.images import decode_image
from poseglass_training.annotations import AnnotationError, KeypointData
from poseglass_training.crops import Augmentation, change_look, coarsen
from poseglass_training.detection.canvas import Canvas, Example, Picture, area
from poseglass_training.scenes import Scene, read_picture

PEOPLED = 0.7
"""Of the labelled scenes that are shown, those with people in them."""

SMALL = 0.045
"""Least longer side of people who are pasted, as a share of the picture's: 14 pixels of 320."""

CLEAR = 0.15
"""Most that people who are pasted may overlap, as intersection over union."""


class DetectionScenes:
    """Training pictures, each a function of (seed, epoch, index).

    Three in ten show a picture of everybody labelled, or four of them; as many a labelled person's own picture, of
    which only the person is known; the rest shows people cut out of such pictures on pictures without anybody, among
    pieces of other pictures without anybody, so that an edge alone is no sign of a person.

    Args:
        scenes: pictures in which everybody is labelled; some of them without people.
        people: pictures in which one person is; `None` for none.
        length: pictures an epoch.
        augmentation: of colours and detail.
        seed: of what is random.

    Raises:
        AnnotationError: there are no scenes, or none without people, or nobody at all, or a picture is missing.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        people: KeypointData | None,
        length: int,
        augmentation: Augmentation,
        seed: int = 0,
    ) -> None:
        self.scenes, self.length, self.augmentation, self.seed = list(scenes), length, augmentation, seed
        self.people = list(people.people) if people else []
        self.peopled = [i for i, scene in enumerate(self.scenes) if scene.people] or list(range(len(self.scenes)))
        self.empty = [i for i, scene in enumerate(self.scenes) if scene.empty]
        if not self.empty:
            raise AnnotationError(
                "finding people is learned from pictures without people too: the scenes that are learned from have "
                "none; add some"
            )
        if not self.people and not any(scene.people for scene in self.scenes):
            raise AnnotationError("nobody is in the scenes that are learned from, nor are there other people: add some")
        paths = {scene.image for scene in self.scenes} | {person.image for person in self.people}
        self._encoded = {str(path): read_picture(path) for path in sorted(paths)}

    def __len__(self) -> int:
        return self.length

    def sample(self, epoch: int, index: int, size: int) -> Example:
        """Training picture `index` of an epoch, `size` pixels a side."""
        rng = np.random.default_rng((self.seed, epoch, index))
        canvas = Canvas(size)
        kind = rng.random()
        if kind < 0.2:
            self._scene(rng, canvas)
        elif kind < 0.3:
            self._mosaic(rng, canvas)
        elif kind < 0.6 and self.people:
            self._portrait(rng, canvas)
        else:
            self._pasted(rng, canvas)
        example = canvas.example()
        image = change_look(rng, example.image, self.augmentation)
        return example._replace(image=coarsen(rng, image) if rng.random() < 0.05 else image)

    def _scene(self, rng: np.random.Generator, canvas: Canvas) -> None:
        picture = self._any_scene(rng)
        scale = canvas.size / max(picture.image.shape[:2]) * float(np.exp(rng.uniform(np.log(0.5), np.log(2.2))))
        canvas.place(picture, scale, _somewhere(rng, picture, scale, (0, 0, canvas.size, canvas.size)))

    def _mosaic(self, rng: np.random.Generator, canvas: Canvas) -> None:
        x, y = (int(v) for v in rng.uniform(0.3, 0.7, 2) * canvas.size)
        end = canvas.size
        for part in ((0, 0, x, y), (x, 0, end, y), (0, y, x, end), (x, y, end, end)):
            picture = self._any_scene(rng)
            cover = max((part[2] - part[0]) / picture.image.shape[1], (part[3] - part[1]) / picture.image.shape[0])
            scale = cover * float(np.exp(rng.uniform(np.log(0.7), np.log(1.5))))
            canvas.place(picture, scale, _somewhere(rng, picture, scale, part), part)

    def _portrait(self, rng: np.random.Generator, canvas: Canvas) -> None:
        picture = self._person(rng)
        scale = canvas.size / max(picture.image.shape[:2]) * rng.uniform(0.4, 1.2)
        canvas.place(picture, scale, _somewhere(rng, picture, scale, (0, 0, canvas.size, canvas.size)))

    def _pasted(self, rng: np.random.Generator, canvas: Canvas) -> None:
        background = self._without_people(rng)
        whole = (0, 0, canvas.size, canvas.size)
        scale = canvas.size / min(background.image.shape[:2]) * float(np.exp(rng.uniform(np.log(0.8), np.log(2))))
        canvas.place(background, scale, _somewhere(rng, background, scale, whole))
        for _ in range(rng.integers(0, 4)):
            other = self._without_people(rng)
            piece = _piece(rng, other)
            scale = canvas.size * float(np.exp(rng.uniform(np.log(0.1), np.log(0.6)))) / max(piece.image.shape[:2])
            canvas.place(piece, scale, _somewhere(rng, piece, scale, whole), soft=_softness(rng))
        for _ in range(rng.integers(0, 8) if self.people else 0):
            picture = self._close(rng, self._person(rng))
            tall = max(picture.boxes[0, 2] - picture.boxes[0, 0], picture.boxes[0, 3] - picture.boxes[0, 1])
            scale = canvas.size * float(np.exp(rng.uniform(np.log(SMALL), np.log(0.7)))) / tall
            corner = _somewhere(rng, picture, scale, whole)
            placed = picture.boxes[0] * scale + np.array([*corner, *corner])
            if all(_iou(placed, box) < CLEAR for box in canvas.boxes):
                canvas.place(picture, scale, corner, soft=_softness(rng))

    def _close(self, rng: np.random.Generator, picture: Picture) -> Picture:
        """Cut closer around the person, mostly: less of the picture is then unknown."""
        if rng.random() < 0.3:
            return picture
        height, width = picture.image.shape[:2]
        x1, y1, x2, y2 = picture.boxes[0]
        margins = rng.uniform(0.02, 0.35, 4) * max(x2 - x1, y2 - y1)
        return picture.cut(
            int(max(x1 - margins[0], 0)),
            int(max(y1 - margins[1], 0)),
            int(min(np.ceil(x2 + margins[2]), width)),
            int(min(np.ceil(y2 + margins[3]), height)),
        )

    def _any_scene(self, rng: np.random.Generator) -> Picture:
        """Mostly one with people, who are few enough."""
        return self._load(rng, self.peopled if rng.random() < PEOPLED else self.empty)

    def _without_people(self, rng: np.random.Generator) -> Picture:
        return self._load(rng, self.empty)

    def _load(self, rng: np.random.Generator, among: Sequence[int]) -> Picture:
        scene = self.scenes[among[int(rng.integers(len(among)))]]
        boxes, unknown = (
            np.array([[b.x, b.y, b.x + b.width, b.y + b.height] for b in group], np.float64).reshape(-1, 4)
            for group in (scene.people, scene.avoid)
        )
        picture = Picture(self._decode(str(scene.image)), boxes, unknown, complete=True)
        return picture.mirrored() if rng.random() < 0.5 else picture

    def _person(self, rng: np.random.Generator) -> Picture:
        person = self.people[int(rng.integers(len(self.people)))]
        b = person.box
        box = np.array([[b.x, b.y, b.x + b.width, b.y + b.height]])
        picture = Picture(self._decode(str(person.image)), box, np.zeros((0, 4)), complete=False)
        return picture.mirrored() if rng.random() < 0.5 else picture

    def _decode(self, path: str) -> NDArray[np.uint8]:
        try:
            return decode_image(self._encoded[path])
        except InvalidInput as error:
            raise AnnotationError(f"{path}: {error.reason}") from None


def _somewhere(
    rng: np.random.Generator, picture: Picture, scale: float, part: tuple[int, int, int, int]
) -> tuple[float, float]:
    """A corner for the scaled picture: inside the part where it fits, else so that it covers the part."""
    corner = []
    for low, high, side in ((part[0], part[2], picture.image.shape[1]), (part[1], part[3], picture.image.shape[0])):
        room = (high - low) - side * scale
        corner.append(low + float(rng.uniform(min(room, 0), max(room, 0))))
    return corner[0], corner[1]


def _piece(rng: np.random.Generator, picture: Picture) -> Picture:
    height, width = picture.image.shape[:2]
    h, w = (max(8, int(side * rng.uniform(0.2, 0.7))) for side in (height, width))
    x, y = int(rng.integers(max(width - w, 0) + 1)), int(rng.integers(max(height - h, 0) + 1))
    return picture.cut(x, y, min(x + w, width), min(y + h, height))


def _softness(rng: np.random.Generator) -> int:
    return int(rng.integers(2, 9)) if rng.random() < 0.5 else 0


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    shared = area(np.array([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])]))
    return shared / max(area(a) + area(b) - shared, 1e-9)
