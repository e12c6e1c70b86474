"""From model files to what is served: those that are named, or a directory of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import poseglass_models
from poseglass_runtime.detector import DetectorEngine, load_detector, load_model
from poseglass_runtime.engine import CPU, Engine, ModelError, load_engine
from poseglass_server.batcher import Runners
from poseglass_server.catalogue import Catalogue, RepositoryCatalogue
from poseglass_server.models import Models
from poseglass_server.repository import Repository
from poseglass_server.served import DetectorModel, PoseModel

Loaded = TypeVar("Loaded", Engine, DetectorEngine)


@dataclass(frozen=True)
class Loader:
    """Loads model files; all that it loads run in the same threads.

    Attributes:
        runners: run them.
        device: as for `poseglass_runtime.engine.load_engine`.
        threads: intra-op threads of a batch that runs alone.
        share: of each of several batches that run at once.
        most: crops a batch.
        delay: seconds that a crop may wait for others.
    """

    runners: Runners
    device: str
    threads: int
    share: int
    most: int
    delay: float

    def __call__(self, path: Path) -> PoseModel | DetectorModel:
        """A model of whichever kind its manifest says, checked and run once.

        Raises:
            ModelError: the file, its manifest or the device will not do.
        """
        engine = load_model(path, self.device, self.threads)
        return self._pose(engine) if isinstance(engine, Engine) else self._detector(engine)

    def poses(self, names: list[str]) -> list[PoseModel]:
        """Pose models, named by shipped name or path.

        Raises:
            ModelError: one cannot be served, or two have the same name and version.
            FileNotFoundError: one is not there.
        """
        return [self._pose(engine) for engine in self._load(load_engine, names)]

    def detectors(self, names: list[str]) -> list[DetectorModel]:
        """Detectors likewise; see `poses`."""
        return [self._detector(engine) for engine in self._load(load_detector, names)]

    def _pose(self, engine: Engine) -> PoseModel:
        return PoseModel(engine, self.runners, self.most, self.delay, self._sharing(engine, load_engine))

    def _detector(self, engine: DetectorEngine) -> DetectorModel:
        return DetectorModel(engine, self.runners, self._sharing(engine, load_detector))

    def _sharing(self, engine: Loaded, load: Callable[[Path, str, int | None], Loaded]) -> Loaded | None:
        """A second session of the same file for batches beside others, where that takes fewer threads.

        Raises:
            ModelError: the file is another one now.
        """
        if self.share >= self.threads or engine.provider != CPU:
            return None
        sharing = load(engine.path, "cpu", self.share)
        if sharing.ref != engine.ref:
            raise ModelError(f"{engine.path}: changed while it was being loaded; load it again")
        return sharing

    def _load(self, load: Callable[[Path, str, int | None], Loaded], names: list[str]) -> list[Loaded]:
        loaded: dict[tuple[str, int], Loaded] = {}
        for name in names:
            engine = load(poseglass_models.resolve(name), self.device, self.threads)
            other = loaded.setdefault((engine.ref.name, engine.ref.version), engine)
            if other is not engine:
                raise ModelError(
                    f"{other.path} and {engine.path} are both {engine.ref.name!r} version {engine.ref.version}; leave "
                    "one out, or export it with another --name or --version"
                )
        return list(loaded.values())


@dataclass(frozen=True)
class Choice:
    """The models that the command line asks for.

    Attributes:
        models, detectors: shipped names or paths; empty: what is shipped.
        no_detector: serve without one.
        folder: a model repository, instead of all that.
        default: in a repository, the name that requests without one mean; empty: the first in alphabetical order.
        watch: seconds between looks at a repository; None: only when asked.

    Raises:
        ModelError: two of these exclude each other; names the options.
    """

    models: list[str]
    detectors: list[str]
    no_detector: bool = False
    folder: Path | None = None
    default: str = ""
    watch: float | None = None

    def __post_init__(self) -> None:
        named = {"--model": self.models, "--detector": self.detectors, "--no-detector": self.no_detector}
        of_a_folder = {"--default": self.default, "--watch": self.watch}
        if self.detectors and self.no_detector:
            raise ModelError("--detector and --no-detector exclude each other; leave one out")
        for option, value in named.items():
            if value and self.folder is not None:
                raise ModelError(f"--models and {option} exclude each other: the directory says what is served")
        for option, value in of_a_folder.items():
            if value and self.folder is None:
                raise ModelError(f"{option} is of a model repository; add --models DIR, or leave it out")

    def catalogue(self, loader: Loader) -> Catalogue:
        """What is to be served; a repository is not looked at before its catalogue is opened.

        Raises:
            ModelError, FileNotFoundError, ValueError: a named model cannot be served.
            RepositoryError: there is no such directory.
        """
        if self.folder is not None:
            return RepositoryCatalogue(Repository(self.folder, loader, self.default), self.watch)
        detectors = self.detectors or list(filter(None, [poseglass_models.detector()]))
        return Catalogue(
            Models(loader.poses(self.models or _shipped()), [] if self.no_detector else loader.detectors(detectors))
        )


def _shipped() -> list[str]:
    names = poseglass_models.names()
    if not names:
        raise FileNotFoundError("this installation has no weights; name a model with --model FILE")
    return names
