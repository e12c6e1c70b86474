"""Our server beside mlserver, LitServe, mosec and PyTriton: same ONNX file, same work, same callers, same run.

    python benchmarks/peer_servers.py --peers runs/peers
    python benchmarks/peer_servers.py --peers runs/peers --peer mosec --callers 1,16 --rounds 1 --seconds 3

`peers.md` beside this file says how to make the folder of their environments. Only one server runs at a time; ours
takes its turn before each of the others, and the bare work once a round.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

import poseglass_models
from loading import load, measured
from peer_load import kind_of
from peers.report import levels_of, show
from peers.servers import Layout, Peer, peers_for, running_peer
from peers.summary import OURS, Collected, Steps, run_of
from peers.work import Joints, Work
from poseglass.bench.machine import machine
from poseglass.commands.console import stdout
from poseglass_core.files import write_whole
from poseglass_runtime.engine import ModelError, describe_devices
from poseglass_runtime.threads import available_threads
from saturation import bare
from serving import ServerError, running_server

AGREE = 0.05
"""Pixels that joints may differ by from one server to another; answers are rounded to a hundredth."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long.

    Attributes:
        model: the ONNX file.
        picture: as of `poseglass bench`.
        callers: how many at once, one level after another.
        seconds: that count, of each level.
        warmup: seconds before them.
        rounds: of all servers.
        threads: that each server computes with.
    """

    model: Path
    picture: str
    callers: tuple[int, ...]
    seconds: float
    warmup: float
    rounds: int
    threads: int

    def words(self, callers: Sequence[int]) -> list[str]:
        """Options of a load, which `poseglass bench` and `peer_load.py` share."""
        levels = ",".join(map(str, callers))
        timing = ["--duration", str(self.seconds), "--warmup", str(self.warmup), "--timeout", "30"]
        return ["--callers", levels, "--picture", self.picture, *timing]


def ours_under_load(plan: Plan, options: Sequence[str], callers: Sequence[int]) -> Steps:
    """Our server.

    Args:
        plan: of the measurement.
        options: further words for `poseglass serve`.
        callers: at every level.
    """
    with running_server([str(plan.model)], plan.threads, options) as server:
        return load(server, plan.words(callers))


def peer_under_load(
    plan: Plan, peer: Peer, layout: Layout, folder: Path, callers: Sequence[int]
) -> tuple[Steps, Joints]:
    """Another one, and its joints of the first picture.

    Raises:
        ServerError: it does not start, or does not answer.
    """
    with running_peer(peer, layout, folder, plan.model) as server:
        words = ["--protocol", peer.protocol, *plan.words(callers)]
        try:
            document = measured([str(Path(__file__).with_name("peer_load.py"))], server, words)
        except RuntimeError as error:
            raise ServerError(f"{peer.name}, {layout}: {error}") from None
    answer = document["answer"]
    return document["steps"], Joints(np.array(answer["joints"]), np.array(answer["scores"]))


def bare_cpu(plan: Plan) -> float:
    """Milliseconds of processor time of decoding, cropping and running a picture: the cheaper way of two."""
    ways = ((1, plan.threads), (plan.threads, 1))
    model = str(plan.model)
    return 1e3 / max(float(bare(model, plan.picture, *way, plan.seconds)["per_cpu_s"]) for way in dict.fromkeys(ways))


def expected(plan: Plan) -> Joints:
    """The joints of the first picture, found in this process."""
    (kind, work) = kind_of(plan.picture), Work(str(plan.model), plan.threads)
    picture, size = kind.pictures[0], kind.sizes[0]
    if not isinstance(picture, bytes) or size is None:
        raise ValueError(f"--picture {plan.picture}: must be a file's format, e.g. jpeg:640x480")
    return work.infer([work.cut(picture, (0, 0, size[1], size[0]))])[0]


def check_same(who: str, found: Joints, wanted: Joints) -> None:
    """Refuse a server that does other work.

    Raises:
        ServerError: its joints are elsewhere.
    """
    if found.joints.shape != wanted.joints.shape or np.abs(found.joints - wanted.joints).max() > AGREE:
        raise ServerError(f"{who}: its joints are not those that the same model finds here")


def choose(
    plan: Plan, peer: Peer, folder: Path, among: int, wanted: Joints, say: Console
) -> tuple[Layout, dict[str, Any]]:
    """The layout that does most at so many callers, and what each of them did a second, or why it did nothing.

    Raises:
        ServerError: none of them does it.
    """
    told: dict[str, Any] = {}
    rates: dict[Layout, float] = {}
    for layout in peer.layouts:
        try:
            steps, found = peer_under_load(plan, peer, layout, folder, [among])
            check_same(f"{peer.name}, {layout}", found, wanted)
            told[str(layout)] = tried = _tried(steps, f"{peer.name}, {layout}", say)
            rates[layout] = tried["per_s"]
        except RuntimeError as error:
            told[str(layout)] = str(error)
            say.print(str(error), markup=False)
    if not rates:
        raise ServerError(f"{peer.name} cannot be measured: {'; '.join(map(str, told.values()))}")
    return max(rates, key=lambda layout: rates[layout]), told


def choose_ours(plan: Plan, among: int, say: Console) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The same for ours: one batch at once, as it does by itself, or as many as threads."""
    ways: list[tuple[str, ...]] = [("--parallel", str(count)) for count in dict.fromkeys((1, plan.threads))]
    tried = {way: _tried(ours_under_load(plan, way, [among]), f"{OURS}, {' '.join(way)}", say) for way in ways}
    best = max(ways, key=lambda way: tried[way]["per_s"])
    return best, {" ".join(way): told for way, told in tried.items()}


def _tried(steps: Steps, who: str, say: Console) -> dict[str, float]:
    run = run_of(steps[0], 0.0)
    say.print(f"{who}: {run.throughput:.1f} a second, {run.cpu:.1f} ms of CPU each", markup=False)
    return {"per_s": run.throughput, "cpu_ms": run.cpu}


def measure(plan: Plan, ours: Sequence[str], chosen: dict[Peer, Layout], folder: Path, say: Console) -> Collected:
    """All rounds: the bare work, then ours and another one in turn.

    Args:
        plan: of the measurement.
        ours: further words for `poseglass serve`.
        chosen: the other servers.
        folder: of their environments.
        say: where to tell how far it is.

    Raises:
        ServerError: another one did not come through a single round.
    """
    collected = Collected()
    for number in range(plan.rounds):
        collected.bare.append(bare_cpu(plan))
        for peer, layout in chosen.items():
            say.print(f"round {number + 1} of {plan.rounds}: {OURS} and {peer.name}", markup=False)
            collected.add(OURS, ours_under_load(plan, ours, plan.callers))
            try:
                collected.add(peer.name, peer_under_load(plan, peer, layout, folder, plan.callers)[0])
            except RuntimeError as error:
                collected.failures.append(f"round {number + 1}: {error}")
                say.print(str(error), markup=False)
    if lost := [peer.name for peer in chosen if peer.name not in collected.runs]:
        raise ServerError(f"no round with {', '.join(lost)}: {'; '.join(collected.failures)}")
    return collected


def document_of(plan: Plan, collected: Collected, servers: dict[str, Any]) -> dict[str, Any]:
    """Plain values."""
    return {
        "machine": machine() | {"onnxruntime": describe_devices()["onnxruntime"]},
        "model": plan.model.name,
        "picture": plan.picture,
        "settings": {
            "seconds": plan.seconds,
            "warmup": plan.warmup,
            "rounds": plan.rounds,
            "threads": plan.threads,
        },
        "servers": servers,
        "bare_cpu_ms": collected.bare,
        "failures": collected.failures,
        "levels": levels_of(plan.callers, collected),
    }


def found_peers(folder: Path, wanted: Sequence[str], threads: int, say: Console) -> dict[Peer, str]:
    """The servers to compare with, and their versions.

    Raises:
        ServerError: one that is wanted, or every one, is not installed.
        ValueError: there is none of that name.
    """
    known = peers_for(threads)
    if unknown := set(wanted) - set(known):
        raise ValueError(f"--peer {min(unknown)}: must be one of {', '.join(known)}")
    found = {}
    missing = "--peers: nothing is there"
    for name in wanted or known:
        try:
            found[known[name]] = known[name].version(folder)
        except ServerError as error:
            if wanted:
                raise
            missing = str(error)
            say.print(f"left out: {error}", markup=False)
    if not found:
        raise ServerError(missing)
    return found


def main(
    peers: Annotated[Path, typer.Option(metavar="DIR", help="Their environments: DIR/mosec, DIR/mlserver, ...")],
    peer: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Compare with it; again for more. Default: all there.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME|FILE")] = "hourglass-s",
    picture: Annotated[str, typer.Option(help="As of `poseglass bench`; a file's format.")] = "jpeg:640x480",
    callers: Annotated[str, typer.Option(metavar="N[,N...]", help="At once.")] = "1,4,16,64",
    choose_at: Annotated[int, typer.Option(min=1, metavar="N", help="Callers at which layouts are tried.")] = 16,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each level.")] = 10.0,
    warmup: Annotated[float, typer.Option(min=0.0, help="Seconds under load before them.")] = 2.0,
    option: Annotated[
        list[str] | None, typer.Option(help="A word for `poseglass serve`, repeatable; none: tries --parallel.")
    ] = None,
    as_json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here too.")] = None,
) -> None:
    """Measure, and print a table."""
    say = Console(stderr=True, soft_wrap=True, highlight=False)
    threads = available_threads()[0]
    try:
        levels = tuple(int(part) for part in callers.split(","))
        plan = Plan(poseglass_models.resolve(model), picture, levels, seconds, warmup, rounds, threads)
        found = found_peers(peers, peer or (), threads, say)
        ours, tried = (tuple(option), {}) if option else choose_ours(plan, choose_at, say)
        about: dict[str, Any] = {OURS: {"version": version("poseglass"), "layout": " ".join(ours), "tried": tried}}
        chosen, wanted = {}, expected(plan)
        for one, installed in found.items():
            chosen[one], told = choose(plan, one, peers, choose_at, wanted, say)
            about[one.name] = {"version": installed, "layout": str(chosen[one]), "tried": told}
        collected = measure(plan, ours, chosen, peers, say)
    except (FileNotFoundError, ModelError, RuntimeError, ValueError) as error:
        typer.echo(f"peer_servers: {error}", err=True)
        raise typer.Exit(2) from None
    console = stdout()
    for name, of in about.items():
        console.print(f"{name} {of['version']}: {of['layout']}", markup=False)
    show(console, plan.callers, collected)
    document = document_of(plan, collected, about)
    console.print(f"{document['machine']['processor']}, {threads} threads", markup=False)
    if as_json is not None:
        write_whole(as_json, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    typer.run(main)
