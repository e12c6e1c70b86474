"""The models and detectors that are served, by name and version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from poseglass_core.poses import ModelRef
from poseglass_server.entries import Entry, State
from poseglass_server.errors import NotReady, UnknownModel
from poseglass_server.served import DetectorModel, PoseModel

NO_PINS: Mapping[str, int] = MappingProxyType({})


class _Named(Protocol):
    """A model of either kind."""

    @property
    def ref(self) -> ModelRef: ...


Kind = TypeVar("Kind", bound=_Named)


class Shelf(Generic[Kind]):
    """Models of one kind.

    Args:
        models: of all names and versions.
        word: what such a model is called in messages.
        default: the name that requests without one mean; empty: that of the first model.
        pins: name -> the version that requests without one mean; the newest where it is not among the models.

    Attributes:
        default_name: the name that requests without one mean, whether it is there or not; empty where there is none.

    Raises:
        ValueError: two have the same name and version.
    """

    def __init__(self, models: Iterable[Kind], word: str, default: str = "", pins: Mapping[str, int] = NO_PINS) -> None:
        self._word = word
        self._loaded: dict[str, dict[int, Kind]] = {}
        for model in models:
            ref = model.ref
            versions = self._loaded.setdefault(ref.name, {})
            if ref.version in versions:
                raise ValueError(f"two {word}s are called {ref.name!r} version {ref.version}; give one another version")
            versions[ref.version] = model
        self.default_name = default or next(iter(self._loaded), "")
        self._serving = {
            name: pins[name] if pins.get(name) in versions else max(versions) for name, versions in self._loaded.items()
        }

    def __iter__(self) -> Iterator[Kind]:
        """All of them: names in the order loaded, the versions of each from the newest."""
        for versions in self._loaded.values():
            for version in sorted(versions, reverse=True):
                yield versions[version]

    def __contains__(self, name: object) -> bool:
        return name in self._loaded

    @property
    def default(self) -> Kind | None:
        """What requests without a name mean; None where it is not there."""
        versions = self._loaded.get(self.default_name)
        return None if versions is None else versions[self._serving[self.default_name]]

    def serving(self, name: str) -> int:
        """The version that requests for a name without a version mean; 0: there is none of that name."""
        return self._serving.get(name, 0)

    def get(self, name: str, version: int, field: str) -> Kind:
        """The model that a request asks for.

        Args:
            name: empty: the default.
            version: 0: the newest, or the one that is pinned.
            field: what the request calls its name.

        Raises:
            UnknownModel: there is none such; the message lists what there is.
        """
        name = name or self.default_name
        versions = self._loaded.get(name)
        if versions is None:
            raise UnknownModel(field, f"no {self._word} is called {name!r}; {self._listing()}")
        chosen = versions.get(version or self._serving[name])
        if chosen is None:
            raise UnknownModel("version", f"there is no version {version} of that {self._word}; {self._listing()}")
        return chosen

    def find(self, name: str, version: int) -> Kind | None:
        """A model of a name; version 0: the one that serves requests without a version."""
        return self._loaded.get(name, {}).get(version or self.serving(name))

    def _listing(self) -> str:
        names = ", ".join(f"{model.ref.name} version {model.ref.version}" for model in self)
        return (
            f"there are: {names}"
            if names
            else f"there is none; start the server with --{self._word} NAME|FILE, or add one to its --models DIR"
        )


class Models:
    """What is loaded at one moment; it never changes.

    Args:
        poses: pose models; the name of the first is the default, unless another is given.
        detectors: likewise; the name of the first is the default.
        entries: models that are known and not ready.
        default: name of the default pose model, whether it is there or not.
        pins: name -> the version that serves requests without one; where it is not loaded, the newest does.

    Raises:
        ValueError: two of a kind have the same name and version, or a detector has a pose model's name.
    """

    def __init__(
        self,
        poses: Sequence[PoseModel],
        detectors: Sequence[DetectorModel] = (),
        entries: Sequence[Entry] = (),
        default: str = "",
        pins: Mapping[str, int] = NO_PINS,
    ) -> None:
        self._poses = Shelf(poses, "model", default, pins)
        self.detectors = Shelf(detectors, "detector", pins=pins)
        self._entries = tuple(entries)
        for detector in detectors:
            if detector.ref.name in self._poses:
                raise ValueError(
                    f"a pose model and a detector are both called {detector.ref.name!r}; give one another name"
                )

    @property
    def default(self) -> PoseModel | None:
        """Serves requests that name no model; None where it is not there, and the server not ready."""
        return self._poses.default

    @property
    def entries(self) -> list[Entry]:
        """The models that are known and not ready, less those that are retired and have answered their last request."""
        return [entry for entry in self._entries if not entry.gone]

    @property
    def default_name(self) -> str:
        """Name of the default pose model, whether it is there or not; empty where there is none."""
        return self._poses.default_name

    def serving(self, name: str) -> int:
        """The version of a model or detector that serves requests without one; 0: there is none of that name."""
        return self._poses.serving(name) or self.detectors.serving(name)

    def find(self, name: str, version: int) -> PoseModel | DetectorModel | None:
        """A model or detector that is ready; version 0: the one that serves requests without a version."""
        return self._poses.find(name, version) or self.detectors.find(name, version)

    def __iter__(self) -> Iterator[PoseModel]:
        """The pose models: names in the order loaded, the versions of each from the newest."""
        return iter(self._poses)

    def get(self, name: str, version: int, field: str = "model") -> PoseModel:
        """The pose model that a request asks for.

        Args:
            name: empty: the default.
            version: 0: the newest, or the one that is pinned.
            field: what the request calls its name.

        Raises:
            UnknownModel: there is none such; the message lists what there is.
            NotReady: it is refused or being loaded; the message says why.
        """
        return self._from(self._poses, name, version, field)

    def of_either_kind(self, name: str, version: int, field: str = "model") -> PoseModel | DetectorModel:
        """The pose model or detector of a name; otherwise as `get`."""
        if name in self.detectors:
            return self._from(self.detectors, name, version, field)
        return self.get(name, version, field)

    def detector(self, name: str) -> DetectorModel | None:
        """The detector that a request asks for, in the version that serves; None where none is named and none loaded.

        Raises:
            UnknownModel: there is none of that name; the message lists what there is.
            NotReady: it is refused or being loaded; the message says why.
        """
        return self._from(self.detectors, name, 0, "detector") if name else self.detectors.default

    def entry(self, name: str, version: int) -> Entry | None:
        """The newest refused or coming model of a name; of one version, where it is not 0."""
        found = [
            entry
            for entry in self.entries
            if entry.name == name and version in (0, entry.version) and entry.state is not State.RETIRING
        ]
        return max(found, key=lambda entry: entry.version, default=None)

    def retired(self, name: str, version: int) -> Entry | None:
        """The last model that was retired from a name and version, while that is remembered."""
        found = (entry for entry in reversed(self._entries) if entry.state is State.RETIRING)
        return next((entry for entry in found if (entry.name, entry.version) == (name, version)), None)

    def _from(self, shelf: Shelf[Kind], name: str, version: int, field: str) -> Kind:
        try:
            return shelf.get(name, version, field)
        except UnknownModel:
            self._check_known(name, version)
            raise

    def _check_known(self, name: str, version: int) -> None:
        """Tell a model that is not ready from one that nobody ever heard of.

        Raises:
            NotReady: it is refused or being loaded, or there is no default model.
        """
        entry = self.entry(name or self.default_name, version)
        if entry is not None:
            raise NotReady(f"{entry.label} is not ready: {entry.reason}")
        if not name and self.default is None:
            reasons = [
                f"{entry.label}: {entry.reason}"
                for entry in self.entries
                if entry.reason and self.default_name in ("", entry.name)
            ]
            what = f"the default model, {self.default_name!r}, is not" if self.default_name else "no pose model is"
            raise NotReady(f"{what} ready; {'; '.join(reasons) or 'the repository has none'}")
