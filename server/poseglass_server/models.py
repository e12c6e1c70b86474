"""The models and detectors that are served, by name and version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from poseglass_core.poses import ModelRef
from poseglass_server.errors import UnknownModel
from poseglass_server.served import DetectorModel, PoseModel


class _Named(Protocol):
    """A model of either kind."""

    @property
    def ref(self) -> ModelRef: ...


Kind = TypeVar("Kind", bound=_Named)


class Shelf(Generic[Kind]):
    """Models of one kind.

    Args:
        models: the name of the first is the default.
        word: what such a model is called in messages.

    Raises:
        ValueError: two have the same name and version.
    """

    def __init__(self, models: Iterable[Kind], word: str) -> None:
        self._word = word
        self._loaded: dict[str, dict[int, Kind]] = {}
        for model in models:
            ref = model.ref
            versions = self._loaded.setdefault(ref.name, {})
            if ref.version in versions:
                raise ValueError(f"two {word}s are called {ref.name!r} version {ref.version}; give one another version")
            versions[ref.version] = model

    def __iter__(self) -> Iterator[Kind]:
        """All of them: names in the order loaded, the versions of each from the newest."""
        for versions in self._loaded.values():
            for version in sorted(versions, reverse=True):
                yield versions[version]

    def __contains__(self, name: object) -> bool:
        return name in self._loaded

    @property
    def default(self) -> Kind | None:
        """The newest version of the first model's name; None where there is no model."""
        return next(iter(self), None)

    def get(self, name: str, version: int, field: str) -> Kind:
        """The model that a request asks for.

        Args:
            name: empty: the default.
            version: 0: the newest.
            field: what the request calls its name.

        Raises:
            UnknownModel: there is none such; the message lists what there is.
        """
        versions = self._loaded.get(name or next(iter(self._loaded), ""))
        if versions is None:
            raise UnknownModel(field, f"no {self._word} is called {name!r}; {self._listing()}")
        chosen = versions.get(version or max(versions))
        if chosen is None:
            raise UnknownModel("version", f"there is no version {version} of that {self._word}; {self._listing()}")
        return chosen

    def _listing(self) -> str:
        names = ", ".join(f"{model.ref.name} version {model.ref.version}" for model in self)
        return f"there are: {names}" if names else f"there is none; start the server with --{self._word} NAME|FILE"


class Models:
    """Loaded models.

    Args:
        poses: pose models, at least one; the name of the first is the default.
        detectors: likewise; may be empty.

    Raises:
        ValueError: there is no pose model, two of a kind have the same name and version, or a detector has a pose
            model's name.
    """

    def __init__(self, poses: Sequence[PoseModel], detectors: Sequence[DetectorModel] = ()) -> None:
        if not poses:
            raise ValueError("there is no model to serve")
        self._poses, self.detectors = Shelf(poses, "model"), Shelf(detectors, "detector")
        for detector in detectors:
            if detector.ref.name in self._poses:
                raise ValueError(
                    f"a pose model and a detector are both called {detector.ref.name!r}; give one another name"
                )

    @property
    def default(self) -> PoseModel:
        """Serves requests that name no model: the newest version of the first model's name."""
        return self.get("", 0)

    def __iter__(self) -> Iterator[PoseModel]:
        """The pose models: names in the order loaded, the versions of each from the newest."""
        return iter(self._poses)

    def get(self, name: str, version: int, field: str = "model") -> PoseModel:
        """The pose model that a request asks for.

        Args:
            name: empty: the default.
            version: 0: the newest.
            field: what the request calls its name.

        Raises:
            UnknownModel: there is none such; the message lists what there is.
        """
        return self._poses.get(name, version, field)

    def detector(self, name: str) -> DetectorModel | None:
        """The detector that a request asks for, in its newest version; None where it names none and none is loaded.

        Raises:
            UnknownModel: there is none of that name; the message lists what there is.
        """
        return self.detectors.get(name, 0, "detector") if name else self.detectors.default
