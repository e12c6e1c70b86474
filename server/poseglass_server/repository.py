"""A directory of models: what is new in it is loaded, checked and run once, and then takes the place of what served."""

from __future__ import annotations

import hashlib
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from poseglass_runtime.engine import ModelError
from poseglass_server.entries import Entry, State
from poseglass_server.errors import NotReady
from poseglass_server.models import Models
from poseglass_server.scanning import MODEL, PIN, SIDE_CAR, Found, Key, Stamp, printable, scan, stamp
from poseglass_server.served import DetectorModel, PoseModel

REMEMBERED = 16
"""Retired models whose description is kept: a client may ask what its last answer's joints are."""

logger = logging.getLogger("poseglass.server")

Load = Callable[[Path], PoseModel | DetectorModel]
"""Loads a file, checks all that it says of itself, and runs it once; blocking; ModelError where it will not do."""


@dataclass(frozen=True)
class _Place:
    """What came of the files in the directory of a version.

    Attributes:
        stamp: of the files that were judged last; None: they are to be judged again.
        model: what was loaded from here and serves.
        digest: of the files that it was loaded from.
        problem: why the files that lie here now are not what serves.
    """

    stamp: Stamp | None = None
    model: PoseModel | DetectorModel | None = None
    digest: tuple[str, str] = ("", "")
    problem: Entry | None = None


_NOTHING = _Place()


class Repository:
    """The models of a directory `NAME/VERSION/model.onnx`; nothing changes but in `look`.

    Args:
        folder: the directory.
        load: loads a file.
        default: the name that requests without one mean; empty: the first that is ready, in alphabetical order.

    Attributes:
        models: what is loaded; replaced as a whole, from the thread that looks.

    Raises:
        RepositoryError: the directory cannot be read.
    """

    def __init__(self, folder: Path, load: Load, default: str = "") -> None:
        scan(folder)
        self._folder, self._load, self._default = folder, load, default
        self._places: dict[Key, _Place] = {}
        self._pins: dict[str, int] = {}
        self._problems: list[Entry] = []
        self._retiring: list[Entry] = []
        self._missing = ""
        self._closed = False
        self.models = Models([], default=default)

    def close(self) -> None:
        """Load no more; a look that runs ends after the model it is at, and changes nothing. From any thread."""
        self._closed = True

    def look(self) -> list[Entry]:
        """Load what is new, drop what is gone, and replace `models` once, when all is done; blocking.

        Returns:
            What was loaded, all that is refused or not yet written, and what was retired.

        Raises:
            RepositoryError: the directory cannot be read; everything stays as it was.
        """
        found = scan(self._folder)
        places = {key: place for key, place in self._places.items() if found.keeps(key)}
        shrunk = {key.name for key in self._places if key not in places}  # what is gone may have been in another's way
        fresh = [
            key
            for key, seen in sorted(found.stamps.items())
            if key not in places
            or places[key].stamp != seen
            or (places[key].problem is not None and key.name in shrunk)
        ]
        if fresh:
            coming = [Entry(*key, State.LOADING, "is being loaded") for key in fresh]
            self.models = self._models([entry for entry in self._problems if _key(entry) not in fresh] + coming)
        for key in fresh:
            if not self._closed:
                places[key] = self._judge(key, found.stamps[key], places)
        return [] if self._closed else self._replace(places, found)

    def _judge(self, key: Key, seen: Stamp, places: Mapping[Key, _Place]) -> _Place:
        """Load the files in a place, unless they are those that serve from there already."""
        old = places.get(key, _NOTHING)
        folder = self._folder / key.name / str(key.version)
        digest, model, reason = ("", ""), old.model, ""
        try:
            digest = _digest(folder)
            if model is None or digest != old.digest:
                model = self._loaded(key, folder / MODEL, places)
        except ModelError as error:
            reason = str(error).replace(f"{self._folder}/", "")
        except Exception as error:  # whatever lies there, the server goes on
            logger.debug("%s", folder, exc_info=error)
            what = getattr(error, "strerror", None) or type(error).__name__
            reason = f"{key.name}/{key.version}/{MODEL}: cannot be loaded ({what})"
        if _stamp_or_none(folder) != seen:
            reason = f"{key.name}/{key.version} changed while it was read; it is looked at again next time"
            return replace(old, stamp=None, problem=Entry(*key, State.LOADING, reason))
        if reason:
            problem = Entry(*key, State.REFUSED, printable(reason), digest[0], _kind_of(key.name, places))
            return replace(old, stamp=seen, problem=problem)
        return _Place(seen, model, digest)

    def _loaded(self, key: Key, file: Path, places: Mapping[Key, _Place]) -> PoseModel | DetectorModel:
        """The model in a file.

        Raises:
            ModelError: it will not do, or not in this place.
        """
        model = self._load(file)
        ref = model.ref
        if (ref.name, ref.version) != key:
            raise ModelError(
                f"{file}: its manifest says {ref.name!r} version {ref.version}; move it to {ref.name}/{ref.version}/"
                f"{MODEL}, or export it with --name {key.name} --version {key.version}"
            )
        others = {other: place for other, place in places.items() if other != key}
        if _kind_of(key.name, others) not in ("", _kind(model)):
            raise ModelError(
                f"{file}: is a {_kind(model)} model, and the other versions of {key.name} are not; give it another name"
            )
        return model

    def _replace(self, places: dict[Key, _Place], found: Found) -> list[Entry]:
        """Let other models serve from now on."""
        before, old = self.models, self._places
        loaded = [Entry(*key, State.READY, "", model.ref.sha256, _kind(model)) for key, model in _others(places, old)]
        retired = [
            Entry(*key, State.RETIRING, "", model.ref.sha256, _kind(model), model.manifest, weakref.ref(model))
            for key, model in _others(old, places)
        ]
        self._places = places
        names = {key.name for key in places}
        self._pins = {name: pin for name, pin in self._pins.items() if name in names} | found.pins
        working = [entry for entry in self._retiring[:-REMEMBERED] if not entry.gone]
        self._retiring = [*working, *self._retiring[-REMEMBERED:], *retired]
        known, self._problems = self._problems, sorted(self._find_problems(found), key=_key)
        self.models = self._models(self._problems)
        self._tell(before, known, loaded + retired)
        return [*loaded, *self._problems, *retired]

    def _find_problems(self, found: Found) -> Iterator[Entry]:
        yield from found.refusals
        for place in self._places.values():
            if place.problem is not None:
                yield place.problem
        for name, pin in self._pins.items():
            if pin and Key(name, pin) not in self._places:
                reason = f"{name}/{PIN} asks for it, and it is not there; the newest serves instead"
                yield Entry(name, pin, State.REFUSED, reason)

    def _models(self, entries: list[Entry]) -> Models:
        """What the places hold."""
        by_name = sorted(self._places.items(), key=lambda item: (item[0].name != self._default, item[0]))
        held = [place.model for _, place in by_name if place.model is not None]
        return Models(
            [model for model in held if isinstance(model, PoseModel)],
            [model for model in held if isinstance(model, DetectorModel)],
            [*entries, *self._retiring],
            self._default,
            self._pins,
        )

    def _tell(self, before: Models, known: list[Entry], changed: list[Entry]) -> None:
        """Log what has changed."""
        for entry in self._problems:
            if entry not in known:
                level = logging.WARNING if entry.state is State.REFUSED else logging.INFO
                logger.log(level, "%s is %s: %s", entry.label, entry.state.value, entry.reason)
        for entry in changed:
            what = "loaded" if entry.state is State.READY else "retired"
            logger.info("%s %s (sha256 %s)", what, entry.label, entry.sha256[:12])
        for name in sorted({key.name for key in self._places}):
            version = self.models.serving(name)
            if version and version != before.serving(name):
                logger.info("%s: version %d serves requests that name no version", name, version)
        missing = ""
        if self.models.default is None:
            try:
                self.models.get("", 0)
            except NotReady as error:
                missing = str(error)
        if missing and missing != self._missing:
            logger.warning("%s", missing)
        self._missing = missing


def _key(entry: Entry) -> Key:
    return Key(entry.name, entry.version)


def _others(
    places: Mapping[Key, _Place], compared: Mapping[Key, _Place]
) -> list[tuple[Key, PoseModel | DetectorModel]]:
    """The models that are in the one and not, at the same place, in the other."""
    return [
        (key, place.model)
        for key, place in sorted(places.items(), key=lambda item: item[0])
        if place.model is not None and place.model is not compared.get(key, _NOTHING).model
    ]


def _kind(model: PoseModel | DetectorModel) -> str:
    return "detector" if isinstance(model, DetectorModel) else "pose"


def _kind_of(name: str, places: Mapping[Key, _Place]) -> str:
    """The kind of the loaded versions of a name; empty where there are none."""
    held = (place.model for key, place in places.items() if key.name == name)
    return next((_kind(model) for model in held if model is not None), "")


def _stamp_or_none(folder: Path) -> Stamp | None:
    try:
        return stamp(folder)
    except OSError:
        return None


def _digest(folder: Path) -> tuple[str, str]:
    """SHA-256 of a model file and of its side-car; of that, empty where there is none.

    Raises:
        OSError: one cannot be read.
    """
    digests = []
    for file in (folder / MODEL, folder / SIDE_CAR):
        if file == folder / SIDE_CAR and not file.exists():
            digests.append("")
            continue
        with file.open("rb") as opened:
            digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
    return digests[0], digests[1]
