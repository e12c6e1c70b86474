"""What is said of a model besides what serves: it is coming, refused, or on its way out."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from enum import Enum

from poseglass_core.detector_manifest import DetectorManifest
from poseglass_core.manifest import Manifest


class State(Enum):
    """Of a model; the names are the wire contract's."""

    LOADING = "loading"
    READY = "ready"
    RETIRING = "retiring"
    REFUSED = "refused"


@dataclass(frozen=True)
class Entry:
    """A model of the repository in some state; it does not keep the model in memory.

    Attributes:
        name: of the model, which is that of its directory.
        version: 0 where there is none, or none that can be used.
        state: what became of it.
        reason: why it is not ready.
        sha256: of the file's bytes; empty where they were not read.
        kind: "pose" or "detector"; empty where it is not known.
        manifest: of a retired model: whoever has its answers may still ask what they mean.
        holders: refers to a retired model as long as requests use it.
    """

    name: str
    version: int
    state: State
    reason: str = ""
    sha256: str = ""
    kind: str = ""
    manifest: Manifest | DetectorManifest | None = None
    holders: weakref.ref[object] | None = None

    @property
    def gone(self) -> bool:
        """Whether it is a retired model that has answered its last request."""
        return self.holders is not None and self.holders() is None

    @property
    def label(self) -> str:
        """Name and version, for messages."""
        return f"{self.name} version {self.version}" if self.version else self.name
