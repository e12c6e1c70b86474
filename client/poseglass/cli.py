"""The command line: a table of commands, each imported only when it is called."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Row:
    """One command.

    Attributes:
        module, function: where it is.
        extra: what installs its dependencies; empty: nothing beyond the base.
        summary: its line in `poseglass --help`.
        bare: options that may stand without their value -> what they mean then.
    """

    module: str
    function: str
    extra: str
    summary: str
    bare: Mapping[str, str] = field(default_factory=dict)


COMMANDS = {
    "predict": Row("poseglass.commands.predict", "predict", "cpu", "Find the poses in pictures."),
    "video": Row(
        "poseglass.commands.video", "video", "video", "Find the poses in videos, to their end.", {"--ray": "local"}
    ),
    "convert": Row("poseglass.commands.convert", "convert", "video", "Write a video's results in another format."),
    "inspect": Row("poseglass.commands.inspection", "inspect", "cpu", "Show what a network sees in a picture."),
    "serve": Row("poseglass_server.commands", "serve", "cpu", "Serve models over gRPC."),
    "models": Row("poseglass.commands.service", "models", "cpu", "List the shipped models, or a server's."),
    "health": Row("poseglass.commands.service", "health", "", "Ask a server whether it is serving."),
    "bench": Row("poseglass.commands.bench", "bench", "", "Put a server under load, and measure it."),
    "import": Row(
        "poseglass_training.commands", "import_annotations", "training", "Other annotation formats to COCO JSON."
    ),
    "check": Row("poseglass_training.commands", "check", "training", "Say what is wrong with annotations."),
    "train": Row("poseglass_training.commands", "train", "training", "Train a network on annotated pictures."),
    "train-detector": Row(
        "poseglass_training.commands", "train_detector", "training", "Train a network that finds people."
    ),
    "calibrate-detector": Row(
        "poseglass_training.commands", "calibrate_detector", "training", "Choose what score of a box is a person."
    ),
    "calibrate": Row(
        "poseglass_training.commands", "calibrate", "training", "Make a checkpoint's scores probabilities."
    ),
    "evaluate": Row("poseglass_training.commands", "evaluate", "cpu", "Measure a model on annotated pictures."),
    "evaluate-detector": Row(
        "poseglass_training.commands", "evaluate_detector", "cpu", "Measure how well a detector finds people."
    ),
    "export": Row("poseglass_export.commands", "export", "export", "Turn a checkpoint into a verified ONNX file."),
    "doctor": Row("poseglass.commands.doctor", "doctor", "", "Check this installation."),
}

_CALLED = "poseglass.command"

USAGE, FAILED = 2, 1
"""Exit codes: asked for wrongly (or not installed); tried and failed."""


class LazyGroup(TyperGroup):
    """Shows every command of the table, imports the one that is called, and turns expected errors into one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, row in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=row.summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The called command, imported."""
        if args[0] not in COMMANDS:
            return super().resolve_command(ctx, args)
        ctx.meta[_CALLED] = args[0]
        return args[0], load(args[0]), filled(args[1:], COMMANDS[args[0]].bare)

    def invoke(self, ctx: Any) -> Any:
        """Run the called command."""
        with one_line_errors(ctx.meta):
            return super().invoke(ctx)


def load(name: str) -> Any:
    """Import a command and make it one that typer can run."""
    row = COMMANDS[name]
    function = getattr(import_module(row.module), row.function)
    if "connection" in signature(function).parameters:
        from poseglass.commands.connection import with_connection

        function = with_connection(function)
    application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    application.command(name)(function)
    return typer.main.get_command(application)


def filled(arguments: Sequence[str], bare: Mapping[str, str]) -> list[str]:
    """Arguments with what an option means that stands without its value, which typer does not know.

    Args:
        arguments: of a command.
        bare: `Row.bare`. Such an option has no value where another option follows, or nothing.
    """
    whole: list[str] = []
    for argument, following in pairwise([*arguments, "-"]):
        whole.append(argument)
        if argument in bare and following.startswith("-") and "--" not in whole:
            whole.append(bare[argument])
    return whole


@contextmanager
def one_line_errors(meta: Mapping[str, Any]) -> Iterator[None]:
    """Expected errors become one line on stderr and an exit code.

    Args:
        meta: of the context: says which command was called.
    """
    try:
        yield
    except ImportError as error:
        command = meta.get(_CALLED, "")
        extra = COMMANDS[command].extra if command else ""
        name = (error.name or "").split(".")[0]
        if name.startswith("poseglass"):
            raise
        if isinstance(error, ModuleNotFoundError) and extra:
            remedy = f'install it with: pip install "poseglass[{extra}]"'
            fail(f"`poseglass {command}` needs {name}, which is not installed; {remedy}", USAGE)
        fail(f"{name or 'a package'} does not load ({error}); `poseglass doctor` says how to mend it", FAILED)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        raise
    except OSError as error:
        fail(explain(error), FAILED)
    except Exception as error:
        if "poseglass.errors" not in sys.modules:  # then it is none of ours
            raise
        from poseglass.errors import FailedPrecondition, InvalidRequest, MissingExtra, ModelNotFound, PoseglassError

        if not isinstance(error, PoseglassError):
            raise
        asked_wrongly = isinstance(error, InvalidRequest | ModelNotFound | FailedPrecondition | MissingExtra)
        fail(str(error), USAGE if asked_wrongly else FAILED)


def fail(message: str, code: int) -> None:
    """Say it in one line, and leave.

    Raises:
        typer.Exit: always.
    """
    complain(message)
    raise typer.Exit(code)


def explain(error: Exception) -> str:
    """An expected error in words."""
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def naming(subject: object, message: str) -> str:
    """The message, with what it is about before it, unless it names that itself."""
    return message if str(subject) in message else f"{subject}: {message}"


def complain(message: str) -> None:
    """One line on stderr."""
    typer.echo(f"poseglass: {printable(' '.join(message.split()))}", err=True)


def printable(text: str) -> str:
    """Text whose control characters are escaped: the name of a file must not steer the terminal, nor break a line."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        from poseglass import __version__

        typer.echo(f"poseglass {__version__}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Poses of people in pictures: predict, serve, train, export."""


def main() -> None:
    """The `poseglass` program."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # else its core writes lines of its own among ours, JSON or not
    # A terminal or pipe that cannot say a character, of a file name for one, gets it escaped.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="poseglass")
