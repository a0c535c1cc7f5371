"""Ends a process that is connected to a cluster when there is no way on: Ray itself would let it hang for minutes.

    with Watch(cluster, serves) as watch:         # serves: asks the cluster whether the service is there
        ...
        watch.expect(Phase.SERVING)               # from now on it has to be
        ...
        watch.expect(Phase.ENDING)                # and now it goes, for which there must be somebody to ask

Not here: what is begun and ended in order (`driving.py`), and who starts the process again (`serving.py`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Self

from ray.exceptions import RayError

from orchestrator.engines.ray.cluster import Cluster, living_nodes

LOOK_S = 1.0
LOST_S = 30.0
AWAY_S = 10.0
"""Without the head, once the service is to end."""

logger = logging.getLogger(__name__)


class Phase(Enum):
    """Of the process that is watched."""

    STARTING = auto()
    SERVING = auto()
    ENDING = auto()


class Watch:
    """serves: whether the service is there; may raise while it can't be told, and not return while the head is away."""

    def __init__(self, cluster: Cluster, serves: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._serves = serves
        self._phase = Phase.STARTING
        self._well_at = time.monotonic()
        self._over, self._left = threading.Event(), threading.Event()
        self._asker = threading.Thread(target=self._ask, name="cluster", daemon=True)
        self._judge = threading.Thread(target=self._look, name="watch", daemon=True)

    def expect(self, phase: Phase) -> None:
        self._well_at = time.monotonic()
        self._phase = phase

    def __enter__(self) -> Self:
        self._asker.start()
        self._judge.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Nobody asks the cluster any more: one that is left amid a question ends the process with an error."""
        self._over.set()
        self._asker.join()
        self._left.set()
        self._judge.join()

    def _ask(self) -> None:
        while not self._over.wait(LOOK_S):
            phase = self._phase
            try:
                is_well = self._serves() if phase is Phase.SERVING else bool(living_nodes())
            except RayError:  # Serve's controller is starting again
                is_well = False
            except Exception as error:  # noqa: BLE001 - whatever Serve raises: who asks no more takes the service for gone
                logger.warning("the cluster could not be asked: %s: %s", type(error).__name__, error)
                is_well = False
            if is_well and phase is self._phase:
                self._well_at = time.monotonic()

    def _look(self) -> None:
        while not self._left.wait(LOOK_S):
            silent_s = time.monotonic() - self._well_at
            if self._cluster.is_lost:
                self._end("the cluster is lost")
            elif silent_s > LOST_S:
                self._end("the service is gone, or its cluster")
            elif self._phase is Phase.ENDING and silent_s > AWAY_S:
                self._end("the cluster's head doesn't answer: what runs there is left as it is")

    def _end(self, why: str) -> None:
        logger.error(why)
        os._exit(1)  # what would end in order has nobody to ask
