"""What is served now, and how it becomes something else while requests go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from poseglass_server.allocator import return_all
from poseglass_server.entries import Entry, State
from poseglass_server.errors import ShuttingDown, Unimplemented
from poseglass_server.models import Models
from poseglass_server.repository import Repository
from poseglass_server.scanning import RepositoryError

logger = logging.getLogger("poseglass.server")

Changed = Callable[[], Awaitable[None]]

_CLEAN_UP_EVERY_S = 0.1


class Catalogue:
    """Models that stay as they are.

    Args:
        models: what is served.
    """

    def __init__(self, models: Models | None = None) -> None:
        self._models = models or Models([])

    @property
    def models(self) -> Models:
        """What is served now. A request takes it once, and keeps what it took until its answer is sent."""
        return self._models

    async def open(self, changed: Changed) -> None:
        """Make the models ready.

        Args:
            changed: awaited after each change.
        """

    async def reload(self) -> list[Entry]:
        """Look for new models.

        Returns:
            What was loaded, refused and retired.

        Raises:
            Unimplemented: there is nowhere to look.
        """
        raise Unimplemented(
            "this server has no model repository; start it with --models DIR, or anew to serve other model files"
        )

    async def close(self) -> None:
        """Change no more."""


class RepositoryCatalogue(Catalogue):
    """The models of a directory: looked at one at a time, in a thread, while requests go on with what they took.

    Args:
        repository: of the models.
        watch: seconds between looks; None: only when asked.
    """

    def __init__(self, repository: Repository, watch: float | None = None) -> None:
        super().__init__()
        self._repository, self._watch = repository, watch
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[list[Entry]] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._cleaner: asyncio.Task[None] | None = None
        self._changed: Changed | None = None
        self._trouble = ""
        self._closed = False

    @property
    def models(self) -> Models:
        """What is served now. A request takes it once, and keeps what it took until its answer is sent."""
        return self._repository.models

    async def open(self, changed: Changed) -> None:
        """Look for the first time, and then again and again where the directory is watched.

        Args:
            changed: awaited after each look.
        """
        self._changed = changed
        await self._try_to_reload()
        if self._watch is not None and not self._closed:
            self._watcher = asyncio.create_task(self._look_again_and_again(self._watch))

    async def reload(self) -> list[Entry]:
        """Look for new models; what lies there when this is called is seen.

        A look that has begun may have passed by what is new, so callers wait for the next one, and share it.

        Returns:
            What was loaded, refused and retired.

        Raises:
            RepositoryError: the directory cannot be read; what was served is served on.
            ShuttingDown: it is too late.
        """
        if self._closed:
            raise ShuttingDown("the server is shutting down; it loads no more models")
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        return await asyncio.shield(self._next)  # the others who wait for it need it, when one leaves

    async def close(self) -> None:
        """Look no more; a model that is being loaded is the last one."""
        self._closed = True
        self._repository.close()
        for task in filter(None, [self._watcher, self._cleaner]):
            task.cancel()
        async with self._one_at_a_time:
            pass

    async def _look(self) -> list[Entry]:
        async with self._one_at_a_time:
            self._next = None
            found = await asyncio.to_thread(self._repository.look)
            if self._changed is not None:
                await self._changed()
            if any(entry.state in (State.READY, State.RETIRING) for entry in found):
                if self._cleaner is not None:
                    self._cleaner.cancel()
                self._cleaner = asyncio.create_task(self._clean_up())
            return found

    async def _clean_up(self) -> None:
        """Give back the memory of retired models when their last requests are answered.

        Sessions are freed in small pieces, which the C library would keep, as much as a second model of the size.
        """
        while any(entry.state is State.RETIRING for entry in self.models.entries):
            await asyncio.sleep(_CLEAN_UP_EVERY_S)
        await asyncio.to_thread(return_all)

    async def _look_again_and_again(self, seconds: float) -> None:
        while not self._closed:
            await asyncio.sleep(seconds)
            await self._try_to_reload()

    async def _try_to_reload(self) -> None:
        """Reload for nobody in particular: what goes wrong stands in the log once, and the next look may do better."""
        trouble = ""
        try:
            await self.reload()
        except ShuttingDown:
            return
        except RepositoryError as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            logger.error("%s; what is loaded is served on", trouble)
        self._trouble = trouble
