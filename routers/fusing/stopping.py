"""Whether one more answer is worth asking for: what it is expected to bring, from how the answers so far look.

    stopping = fit_stopping(played)
    gain, probability = stopping(state.features)        # (n,) reward per call, (n,) of the answer now believed
    curve, _ = Course.of_calls(stopping, played).curve()
    curve.threshold(3.0)                                # ask while the gain is at least this: 3 calls on average

What a further call brings is learned from queries on which all answers are known: by how much the belief in the answer taken grows
from now until 1, 2, 3, 5 or all further calls, per call, the best of which counts: one more answer rarely changes a mind, two or
three may. Beliefs after all answers stand for the rewards themselves, which say the same with more noise. A network with one hidden
layer expects all of these at once. Optimal stopping by regression: Longstaff and Schwartz 2001. Not here: who is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from routers.base import FloatArray
from routers.fusing.playing import Played
from routers.fusing.table import BoolArray, Rows
from routers.parts.network import Network, Parameters, fit_network, squared_error

HORIZONS = (1, 2, 3, 5, 1_000)
"""Further calls that are looked ahead; never more than there are experts left."""
WIDTH, PENALTY = 12, 30.0
THRESHOLDS = 400
"""Points of the curve from a threshold to mean calls or costs."""
MARGIN = 2.0
"""Standard errors that mean calls or costs stay below what is asked for."""
FURTHEST = float(np.finfo(np.float32).max)
"""A threshold that everything, or nothing, is below."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """weights, biases: of a network from standardised features to gains per call at each horizon and the reward of the answer now
    believed. centre, spread: `(n_features,)`. scale: `(n_outputs,)`.
    """

    weights: Parameters
    biases: Parameters
    centre: FloatArray
    spread: FloatArray
    scale: FloatArray

    def __call__(self, features: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The expected gain in reward per further call, and the expected reward of the answer now believed, `(n,)` each."""
        network = Network(self.weights, self.biases)
        outputs = network((features - self.centre) / self.spread) * self.scale
        return outputs[:, :-1].max(axis=1), np.clip(outputs[:, -1], 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """thresholds: `(n,)`, of the expected gain, rising, from everything to one call. spent: `(n,)`, mean calls, or mean cost, that
    they led to. errors: `(n,)`, of those means on as many new queries.
    """

    thresholds: FloatArray
    spent: FloatArray
    errors: FloatArray

    @property
    def surely(self) -> FloatArray:
        """`(n,)`: what is spent on new queries, by a margin."""
        return self.spent + np.float32(MARGIN) * self.errors

    def place(self, mean: float) -> int | None:
        """Of the lowest threshold that keeps to the mean; None where none does."""
        fits = self.surely <= mean
        return int(fits.argmax()) if fits.any() else None

    def threshold(self, mean: float) -> float:
        """The lowest that keeps to the mean; infinity where none does."""
        place = self.place(mean)
        return np.inf if place is None else float(self.thresholds[place])


@dataclass(frozen=True, slots=True)
class Course:
    """Queries after 1..m calls each. gains: `(n, m)`, what is expected of one more. spent: `(n, m)`, calls or costs so far.

    values: `(n, m)`, of the answer believed then (`Played`). known: `(n, m)`, whether so many calls could be made.
    """

    gains: FloatArray
    spent: FloatArray
    values: FloatArray
    known: BoolArray

    @classmethod
    def of(cls, stopping: Stopping, played: Played, spent: FloatArray, price: FloatArray) -> Self:
        """spent: `(n, m)`, by 1..m calls. price: `(n, m)`, what the call after each of them counts for."""
        gains = np.zeros(played.known.shape, dtype=np.float32)
        gains[played.known] = stopping(played.features[played.known])[0] / price[played.known]
        return cls(gains, spent, played.values, played.known)

    @classmethod
    def of_calls(cls, stopping: Stopping, played: Played) -> Self:
        """Each call counts for one."""
        ones = np.ones(played.known.shape, dtype=np.float32)
        return cls.of(stopping, played, ones.cumsum(axis=1), ones)

    def curve(self) -> tuple[Curve, FloatArray]:
        """What each threshold would have led to, and the values that it would have reached, `(n_thresholds, n)`."""
        thresholds = np.quantile(self.gains[self.known], np.linspace(0.0, 1.0, THRESHOLDS)).astype(np.float32)
        thresholds[[0, -1]] = -FURTHEST, FURTHEST
        stops = np.stack([self._stops(threshold) for threshold in thresholds])
        rows = np.arange(len(self.known))
        spent, values = self.spent[rows, stops], self.values[rows, stops]
        errors = spent.std(axis=1) * np.sqrt(2.0 / len(rows))
        return Curve(thresholds, spent.mean(axis=1).astype(np.float32), errors.astype(np.float32)), values

    def _stops(self, threshold: float) -> Rows:
        """`(n,)`: the calls, less one, after which the gain is first below the threshold, or no further one can be made."""
        stops = self.gains < threshold
        stops[np.arange(len(stops)), np.maximum(self.known.sum(axis=1) - 1, 0)] = True
        found: Rows = stops.argmax(axis=1)
        return found


def fit_stopping(played: Played) -> Stopping:
    """From queries that the beliefs were not learned from."""
    known, values = played.known, played.values
    last = np.maximum(known.sum(axis=1) - 1, 0)
    gains = np.stack([_gains(values, last, horizon) for horizon in HORIZONS], axis=2)
    targets = np.concatenate([gains, played.rewards[:, :, None]], axis=2)[known].astype(np.float32)
    inputs = played.features[known]
    centre, spread = inputs.mean(axis=0), inputs.std(axis=0) + np.float32(1e-6)
    scale = targets.std(axis=0) + np.float32(1e-6)
    # After the last call there is nothing to gain, which would only teach the network what the caller knows.
    weights = np.ones_like(targets)
    weights[:, :-1] = (np.arange(known.shape[1]) < last[:, None])[known][:, None]
    scaled = targets / scale
    start = Network.start(inputs.shape[1], WIDTH, scaled.mean(axis=0), 0)
    network = fit_network(start, (inputs - centre) / spread, squared_error(scaled, weights), penalty=PENALTY)
    return Stopping(network.weights, network.biases, centre, spread, scale)


def _gains(values: FloatArray, last: Rows, horizon: int) -> FloatArray:
    """`(n, k)`: what so many further calls bring, per call; the last state is the last there is."""
    now = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    then = np.minimum(now + horizon, last[:, None])
    gained = np.take_along_axis(values, np.maximum(then, 0), axis=1) - values
    rate: FloatArray = (gained / np.maximum(then - now, 1)).astype(np.float32)
    return rate
