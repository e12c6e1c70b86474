"""Models as the wire contract lists them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_server.convert import to_detector, to_entry, to_model
from poseglass_server.entries import Entry, State
from poseglass_server.models import Models
from poseglass_server.served import DetectorModel, PoseModel


def list_models(models: Models) -> list[pb.Model]:
    """What serves, pose models first and then detectors; after it what is coming, refused, or on its way out."""
    ready = [*models, *models.detectors]
    return [*(_ready(models, model) for model in ready), *map(to_entry, models.entries)]


def describe(models: Models, name: str, version: int) -> pb.Model:
    """One model or detector.

    Args:
        models: those there are.
        name: empty: the default pose model.
        version: 0: the one that serves requests without a version; where none does, the newest that is refused or
            being loaded. One that was retired lately is told of too.

    Raises:
        UnknownModel: there is none such; the message lists what there is.
        NotReady: no name is given, and there is no default model.
    """
    name = name or models.default_name
    found, entry = models.find(name, version), models.entry(name, version)
    if found is None:
        former = models.retired(name, version)
        entry = entry or former
        if entry is not None:
            # What comes has no manifest yet; whoever was answered by the one before it asks for that one's joints.
            if entry.manifest is None and former is not None:
                entry = replace(entry, manifest=former.manifest, kind=former.kind)
            return to_entry(entry)
        return _ready(models, models.of_either_kind(name, version, "name"))  # says what is wrong
    described = _ready(models, found)
    newer = models.entry(found.ref.name, found.ref.version)
    if newer is not None:
        described.reason = f"another file lies there now, which is {newer.state.value}: {newer.reason}"
    return described


def described(models: Models, entries: Iterable[Entry]) -> list[pb.Model]:
    """What became of some models, the ready ones with all that is known of them."""
    answers = []
    for entry in entries:
        ready = models.find(entry.name, entry.version) if entry.state is State.READY else None
        answers.append(to_entry(entry) if ready is None else _ready(models, ready))
    return answers


def _ready(models: Models, found: PoseModel | DetectorModel) -> pb.Model:
    if isinstance(found, DetectorModel):
        return to_detector(found, found is models.detectors.default)
    return to_model(found, found is models.default)
