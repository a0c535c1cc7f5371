"""Connections to PostgreSQL that end when their server has stopped, which nobody else notices.

    sa.event.listen(engine, "do_connect", connect)

A machine that is gone, or a network, makes itself known to the operating system. A process that stands still does not: its sockets
look alive, and no limit of its own ends what it was asked. So one that has said nothing for `SILENT_S` is asked for a connection
more, within the URL's `connect_timeout`. Who gets one has a slow query, and waits on; the server itself ends that in time
(`statement_timeout`). Not here: which limits those are (`database.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

SILENT_S = 3.0
LONGEST_S = 90.0
"""For which a server may be silent whatever it says to others: longer than any statement may take there."""

T = TypeVar("T")


class Watched(psycopg.Connection[Any]):
    """again: makes another connection to the same server, or raises `psycopg.Error`."""

    again: Callable[[], psycopg.Connection[Any]]

    def wait(self, gen: PQGen[T], *limits: Any, **named_limits: Any) -> T:
        """All that is asked of the server waits for it here. Raises `psycopg.OperationalError` when it has stopped."""
        return super().wait(self._watched(gen), *limits, **named_limits)

    def _watched(self, gen: PQGen[T]) -> PQGen[T]:
        """The generator, and a look at the clock each time it is told that there is nothing yet."""
        heard_at = asked_at = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now = time.monotonic()
                if ready:
                    heard_at = asked_at = now
                elif now - asked_at >= SILENT_S:
                    self._require_life(silent_s=now - heard_at)
                    asked_at = time.monotonic()
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result

    def _require_life(self, *, silent_s: float) -> None:
        try:
            if silent_s >= LONGEST_S:
                raise psycopg.OperationalError(f"the server has said nothing for {silent_s:.0f} s")
            self.again().close()
        except psycopg.Error as error:
            self.close()  # what has become of the statement is not known, and nothing more can be asked here
            raise psycopg.OperationalError(f"the server does not answer any more ({error})") from error


def connect(dialect: object, record: object, arguments: list[Any], options: dict[str, Any]) -> Watched:
    """What SQLAlchemy calls for every connection of an engine, as its event `do_connect`."""
    connection = Watched.connect(*arguments, **options)
    connection.again = partial(psycopg.Connection.connect, *arguments, **options)
    return connection
