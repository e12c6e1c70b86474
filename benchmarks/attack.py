"""A server under attack: malformed and hostile requests, by the thousand; whether it fails, hangs or grows.

    python benchmarks/attack.py --requests 20000 --keep failures.jsonl

Mutated messages and picture files, values out of all bounds, streams with bad pictures among good ones, calls given up
at once, bytes that are no HTTP/2. An answer INTERNAL or UNKNOWN, a call of more than 20 seconds (and half a second a
person answered), a stream that leaves out a picture, or a good request that is not answered as at first is a failure,
and kept with the seed that makes it.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import grpc
import numpy as np
import typer

from hostile import PREDICT, SOCKET, STREAM, Attack, generated, good
from machine import processor
from poseglass.bench.usage import process_cost
from poseglass_core.files import write_whole
from poseglass_proto.v1 import pose_pb2 as pb
from poseglass_runtime.threads import available_threads
from serving import Server, running_server

LONGEST_S = 20.0
PERSON_S = 0.5
"""More for each person of an answer: a hundred boxes are allowed, and take turns with all others' pictures."""

GOOD_EVERY = 1000
KEPT_BYTES = 100_000
FAILURES = {"INTERNAL", "UNKNOWN"}


def connect(address: str) -> grpc.Channel:
    """A connection of its own, which sends messages of any size."""
    unbounded = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    return grpc.insecure_channel(address, [*unbounded, ("grpc.use_local_subchannel_pool", 1)])


def answered(channel: Any, address: str, attack: Attack) -> tuple[str, str, list[bytes]]:
    """Send a call, and wait for its end.

    Returns:
        Its code, what it says, and the answers.
    """
    if attack.method == SOCKET:
        return _poke(address, attack.messages[0]), "", []
    options: dict[str, Any] = {"timeout": attack.timeout_s, "metadata": attack.metadata}
    if attack.compress:
        options["compression"] = grpc.Compression.Gzip
    answers: list[bytes] = []
    call: Any = None
    try:
        if attack.stream:
            call = channel.stream_stream(attack.method)(iter(attack.messages), **options)
        else:
            call = channel.unary_unary(attack.method).future(attack.messages[0], **options)
        if attack.cancel:
            call.cancel()
        if attack.stream:
            answers += call
        else:
            answers.append(call.result())
    except grpc.FutureCancelledError:
        return "CANCELLED", "", answers
    except grpc.RpcError as error:
        failed: Any = error
        return failed.code().name, failed.details() or "", answers
    return call.code().name, "", answers


def _poke(address: str, data: bytes) -> str:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.sendall(data)
            connection.settimeout(0.2)
            connection.recv(4096)
    except OSError:
        pass  # closed, or it waits for more
    return "closed"


@dataclass
class Attackers:
    """Threads that send what seeds stand for.

    Attributes:
        server: is attacked.
        seed: of the first request.
        requests: how many.
        kept: a file that failures are added to.
        codes: kind -> code -> how many.
        failures: what must not happen, with the seed.
        memory: (requests sent, MiB) over time.
    """

    server: Server
    seed: int
    requests: int
    kept: Path | None = None
    codes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[dict[str, Any]] = field(default_factory=list)
    memory: list[tuple[int, float]] = field(default_factory=list)
    slowest_s: float = 0.0
    sent: int = 0
    _numbers: Any = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, threads: int) -> None:
        """Send everything."""
        expected = self.good_answer()
        callers = [threading.Thread(target=self._send, args=(expected,), daemon=True) for _ in range(threads)]
        for caller in callers:
            caller.start()
        while any(caller.is_alive() for caller in callers):
            cost = process_cost(self.server.process.pid)
            if cost is None or self.server.process.poll() is not None:
                self._keep({"failure": "the server ended", "sent": self.sent})
                return
            self.memory.append((self.sent, cost[1] / 2**20))
            time.sleep(0.2)
        self._check_good(expected, self.seed + self.requests)

    def good_answer(self) -> np.ndarray[Any, Any]:
        """The joints of a good request, which comes again while the queue is full."""
        request = good().SerializeToString()
        end = time.monotonic() + LONGEST_S
        with connect(self.server.address) as channel:
            while True:
                code, said, answers = answered(channel, "", Attack(PREDICT, (request,)))
                if code == "OK":
                    people = pb.PredictResponse.FromString(answers[0]).persons
                    return np.array([(joint.x, joint.y, joint.score) for joint in people[0].joints])
                if code != "RESOURCE_EXHAUSTED" or time.monotonic() > end:
                    raise RuntimeError(f"{code}: {said}")
                time.sleep(0.05)

    def _send(self, expected: np.ndarray[Any, Any]) -> None:
        while True:
            with connect(self.server.address) as channel:  # a new connection now and then
                for _ in range(200):
                    number = next(self._numbers)
                    if number >= self.requests:
                        return
                    self.attack(channel, self.seed + number)
                    if number % GOOD_EVERY == GOOD_EVERY - 1:
                        self._check_good(expected, self.seed + number)

    def attack(self, channel: grpc.Channel, seed: int) -> None:
        """Send one, and keep what came of it."""
        kind, attack = generated(seed)
        began = time.monotonic()
        code, said, answers = answered(channel, self.server.address, attack)
        seconds = time.monotonic() - began
        wrong = _failure(attack, code, answers, seconds)
        with self._lock:
            self.sent += 1
            self.slowest_s = max(self.slowest_s, seconds)
            self.codes[kind][code] += 1
            if attack.method == STREAM:
                self.codes["pictures of streams"].update(_codes(answers))
            if wrong:
                self._fail(wrong, seed, kind, attack, f"{code}: {said}", seconds)

    def _fail(self, wrong: str, seed: int, kind: str, attack: Attack, said: str, seconds: float) -> None:
        data = [base64.b64encode(message[:KEPT_BYTES]).decode() for message in attack.messages]
        self._keep(
            {"failure": wrong, "seed": seed, "kind": kind, "method": attack.method, "said": said, "seconds": seconds}
            | {"messages": data}
        )

    def _keep(self, failure: dict[str, Any]) -> None:
        self.failures.append(failure)
        if self.kept is not None:
            with self.kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(failure) + "\n")

    def _check_good(self, expected: np.ndarray[Any, Any], seed: int) -> None:
        try:
            right = np.allclose(self.good_answer(), expected, atol=0.01)
            wrong = "" if right else "other joints than at first"
        except RuntimeError as error:
            wrong = str(error)
        with self._lock:
            self.codes["good"]["wrong" if wrong else "OK"] += 1
            if wrong:
                self._keep({"failure": f"a good request: {wrong}", "seed": seed})
            print(f"{self.sent:,} requests, {len(self.failures):,} failures", file=sys.stderr, flush=True)


def _codes(answers: Sequence[bytes]) -> list[str]:
    names = {code.value[0]: code.name for code in grpc.StatusCode}
    return [names[pb.PredictResponse.FromString(answer).error.code] for answer in answers]


def _people(attack: Attack, answers: Sequence[bytes]) -> int:
    if attack.method not in {PREDICT, STREAM}:
        return 0
    return sum(len(pb.PredictResponse.FromString(answer).persons) for answer in answers)


def _failure(attack: Attack, code: str, answers: Sequence[bytes], seconds: float) -> str:
    """Why an answer must not be; empty where it may."""
    if seconds > LONGEST_S + PERSON_S * _people(attack, answers):
        return "slow"
    if code in FAILURES:
        return code
    if attack.method == STREAM:
        if code == "OK" and len(answers) != len(attack.messages):
            return f"{len(answers)} answers to {len(attack.messages)} pictures"
        return next((f"{name} of a picture" for name in _codes(answers) if name in FAILURES), "")
    return ""


def growth(memory: Sequence[tuple[int, float]], requests: int) -> dict[str, float]:
    """MiB that the server held in the second and in the last fifth of the requests: medians of both."""
    second = [held for sent, held in memory if requests / 5 <= sent < requests * 2 / 5]
    last = [held for sent, held in memory if sent >= requests * 4 / 5]
    before, after = float(np.median(second)), float(np.median(last))
    return {"second_fifth": before, "last_fifth": after, "growth": after / before - 1}


def main(
    requests: Annotated[int, typer.Option(min=100)] = 20_000,
    threads: Annotated[int, typer.Option(min=1, help="Connections, each with one call at a time.")] = 12,
    seed: Annotated[int, typer.Option(help="Of the first request; each takes the next.")] = 0,
    repeat: Annotated[int | None, typer.Option(help="Send only the request of this seed.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Add what failed to this file, a JSON object a line.")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here.")] = None,
) -> None:
    """Attack, and print what came of it."""
    with running_server(["cnn"], available_threads()[0]) as server:
        attackers = Attackers(server, seed, requests, keep)
        began = time.monotonic()
        if repeat is not None:
            with connect(server.address) as channel:
                attackers.attack(channel, repeat)
        else:
            with suppress(KeyboardInterrupt):  # what came of those that were sent is told all the same
                attackers.run(threads)
        result = {
            "machine": processor(),
            "requests": attackers.sent,
            "seconds": time.monotonic() - began,
            "alive": server.process.poll() is None,
            "codes": {kind: dict(codes.most_common()) for kind, codes in sorted(attackers.codes.items())},
            "slowest_s": attackers.slowest_s,
            "memory_mib": growth(attackers.memory, attackers.sent) if len(attackers.memory) > 10 else None,
            "failures": len(attackers.failures),
        }
    print(json.dumps(result, indent=2))
    if out is not None:
        write_whole(out, (json.dumps(result, indent=2) + "\n").encode())
    if attackers.failures or not result["alive"] or attackers.sent < (requests if repeat is None else 1):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
