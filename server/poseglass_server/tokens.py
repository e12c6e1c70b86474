"""Bearer tokens: a file that says who may come in, read again when it changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path

from poseglass_core.credentials import is_token, others_may_read, read_file, stamp
from poseglass_core.errors import InvalidInput

TOKENS = "--tokens"
"""What the file is called in errors."""

LEAST_LENGTH = 16
"""Characters of a token: as many as cannot be guessed."""

LOOK_EVERY_S = 1.0
"""Seconds between looks at whether the file has changed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")

logger = logging.getLogger("poseglass.server")


@dataclass(frozen=True)
class Identity:
    """Who holds a token.

    Attributes:
        name: of the caller; several tokens may have the same one, such as an old and a new one for a while.
        admin: whether it is an operator.
    """

    name: str
    admin: bool = False


class Tokens:
    """The tokens of a file: one a line, `NAME TOKEN` or `NAME TOKEN admin`; what follows `#` is not read.

    When the file has changed, what it says then counts: a token that is gone, or whose line is damaged, is refused. A
    file that is gone says nothing, and what was read last still counts.

    Args:
        path: of the file.
        look_every: seconds between looks at whether it has changed.

    Raises:
        InvalidInput: it cannot be read, holds no token, or has a line that says something else.
    """

    def __init__(self, path: str | Path, look_every: float = LOOK_EVERY_S) -> None:
        self._path, self._look_every = Path(path), look_every
        self._looked, self._seen = time.monotonic(), stamp(path)
        self._known, problems = _parse(self._read())
        if problems:
            raise InvalidInput(TOKENS, f"{path}: {problems[0]}")
        if not self._known:
            raise InvalidInput(TOKENS, f"{path}: holds no token; write one a line: NAME TOKEN [admin]")

    @property
    def names(self) -> list[str]:
        """Of the callers."""
        return sorted({identity.name for identity in self._known.values()})

    def find(self, token: str) -> Identity | None:
        """Who holds a token; None: nobody does.

        It is compared with all tokens, in a time that does not tell how much of which one is right.
        """
        self._look()
        digest = _digest(token)
        found = None
        for known, identity in self._known.items():
            if hmac.compare_digest(known, digest):
                found = identity
        return found

    def _look(self) -> None:
        """Read the file again, where it has changed."""
        now = time.monotonic()
        if now < self._looked + self._look_every:
            return
        self._looked = now
        found = stamp(self._path)
        if found == self._seen:
            return
        self._seen = found
        try:
            self._known, problems = _parse(self._read())
        except (InvalidInput, OSError) as error:
            logger.error("%s; the tokens from before stay in use", error)
            return
        for problem in problems:
            logger.error("%s: %s: %s; until then this line lets nobody in", TOKENS, self._path, problem)
        logger.info("%s: read again: tokens of %s", TOKENS, ", ".join(self.names) or "nobody")

    def _read(self) -> str:
        data = read_file(TOKENS, self._path)
        if others_may_read(self._path):
            logger.warning("%s: others than its owner may read it: chmod 600 %s", TOKENS, self._path)
        return data.decode("utf-8", "replace")


def _parse(text: str) -> tuple[dict[bytes, Identity], list[str]]:
    """The holders of tokens, by digest, and what is wrong with lines; nothing of a line is repeated."""
    known: dict[bytes, Identity] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        problem = _problem(words)
        if problem is None:
            digest = _digest(words[1])
            problem = "the token is also on another line; give everybody another one" if digest in known else None
            known.setdefault(digest, Identity(words[0], admin=len(words) == 3))
        if problem is not None:
            problems.append(f"line {number}: {problem}")
    return known, problems


def _problem(words: list[str]) -> str | None:
    if not 2 <= len(words) <= 3 or words[2:] not in ([], ["admin"]):
        return "must be NAME TOKEN, or NAME TOKEN admin"
    if not _NAME.fullmatch(words[0]):
        return "the name must be up to 64 letters, digits and . _ @ -"
    if not is_token(words[1]):
        return "the token holds other characters than letters, digits and . _ ~ + / = -"
    if len(words[1]) < LEAST_LENGTH:
        return f"the token must have at least {LEAST_LENGTH} characters, such as those of: openssl rand -hex 32"
    return None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
