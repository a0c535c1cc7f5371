"""The one place where a head on frozen vectors is fitted: linear or with one hidden layer, for any loss that has a gradient.

    start = Network.start(dimensions=384, width=64, constant=table.means, seed=0)
    network = fit_network(start, vectors, squared_error(rewards, weights), split_rows(len(vectors), 0.1, seed=0), penalty=1.0)
    network(vectors)                                # (n_queries, 9)

Full batch, by L-BFGS: no learning rate to choose, and the same result every time. Weights decay and intercepts don't. With rows to
stop by, the fit ends when the loss on those no longer falls, and the best weights are kept (Prechelt 1998, "Early stopping -
but when?"). A loss with parameters of its own (`routers/families/contrastive.py`) calls `minimise`. Not here: encoders that learn
(`routers/training/finetune.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from routers.base import FloatArray

Rows = NDArray[np.intp]
Parameters = tuple[FloatArray, ...]
Objective = Callable[[Parameters], tuple[float, Parameters]]
"""What is minimised, and its gradient in each of the parameters."""
Loss = Callable[[FloatArray, Rows], tuple[float, FloatArray]]
"""(outputs of these rows, the rows) -> the sum of their losses, and its gradient in the outputs."""

MIN_STOPPING = 20
"""With fewer rows than this to stop by, all rows are fitted instead."""
PATIENCE = 10
"""How many iterations the loss on the held-out rows may fail to reach a new low."""
MAX_ITERATIONS = 200
HIDDEN_SCALE = np.float32(0.1)
"""Standard deviation of what enters the hidden units at first: nearly linear, and no more bent than the data ask for."""


@dataclass(frozen=True)
class Network:
    """weights: `(n_in, n_out)` of each layer, one or two; biases: `(n_out,)` of each. `tanh` in between."""

    weights: Parameters
    biases: Parameters

    @classmethod
    def start(cls, dimensions: int, width: int, constant: FloatArray, seed: int) -> Self:
        """One that gives `constant`, `(n_outputs,)`, for every vector. width: of the hidden layer, 0 for none."""
        if not width:
            return cls((_zeros(dimensions, len(constant)),), (constant,))
        hidden = HIDDEN_SCALE * np.random.default_rng(seed).standard_normal((dimensions, width), dtype=np.float32)
        return cls((hidden, _zeros(width, len(constant))), (_zeros(width), constant))

    @classmethod
    def of(cls, parameters: Parameters) -> Self:
        """From what `parameters` gave."""
        half = len(parameters) // 2
        return cls(parameters[:half], parameters[half:])

    @property
    def parameters(self) -> Parameters:
        return self.weights + self.biases

    def __call__(self, vectors: FloatArray) -> FloatArray:
        """`(n, dimensions)` -> `(n, outputs)`."""
        outputs: FloatArray = self._inputs(vectors)[-1] @ self.weights[-1] + self.biases[-1]
        return outputs

    def gradients(self, vectors: FloatArray, outputs: FloatArray) -> Parameters:
        """Gradient in each of `parameters` of a sum whose gradient in this network's outputs is `outputs`, `(n, outputs)`."""
        inputs = self._inputs(vectors)
        weights, biases = [inputs[-1].T @ outputs], [outputs.sum(axis=0)]
        if len(inputs) == 2:
            hidden = (outputs @ self.weights[1].T) * (1.0 - inputs[1] ** 2)
            weights, biases = [vectors.T @ hidden, *weights], [hidden.sum(axis=0), *biases]
        return (*weights, *biases)

    def _inputs(self, vectors: FloatArray) -> list[FloatArray]:
        """What goes into each layer."""
        if len(self.weights) == 1:
            return [vectors]
        return [vectors, np.tanh(vectors @ self.weights[0] + self.biases[0])]


def split_rows(n: int, held_out: float, seed: int) -> tuple[Rows, Rows]:
    """Rows to fit, and a share to stop by: none of the latter when they would be fewer than `MIN_STOPPING`."""
    count = round(held_out * n)
    if count < MIN_STOPPING:
        return np.arange(n), np.arange(0)
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[count:]), np.sort(order[:count])


def fit_network(
    start: Network,
    vectors: FloatArray,
    loss: Loss,
    parts: tuple[Rows, Rows] | None = None,
    *,
    penalty: float,
) -> Network:
    """parts: rows to fit and rows to stop by; None for all of the former.

    penalty: of half the squared weights, against the sum of losses (in rows, then, as in ridge regression).
    """
    fitted, stopping = parts or (np.arange(len(vectors)), np.arange(0))
    inputs, unseen = vectors[fitted], vectors[stopping]

    def objective(parameters: Parameters) -> tuple[float, Parameters]:
        network = Network.of(parameters)
        value, slope = loss(network(inputs), fitted)
        gradients = network.gradients(inputs, slope)
        decayed = [g + np.float32(penalty) * w for g, w in zip(gradients, network.weights, strict=False)]
        squares = sum(float(np.vdot(w, w)) for w in network.weights)
        return value + 0.5 * penalty * squares, (*decayed, *gradients[len(decayed) :])

    def held_out(parameters: Parameters) -> float:
        return loss(Network.of(parameters)(unseen), stopping)[0]

    return Network.of(minimise(objective, start.parameters, held_out if len(stopping) else None))


def minimise(
    objective: Objective,
    start: Parameters,
    held_out: Callable[[Parameters], float] | None = None,
    *,
    tolerance: float = 1e-5,
    memory: int = 20,
) -> Parameters:
    """L-BFGS from `start` (Liu and Nocedal 1989); with `held_out`, the parameters for which that was lowest on the way.

    tolerance: of the gradient's largest element, as a share of the objective at `start`. memory: steps that curvature is told from.
    """
    from scipy.optimize import minimize
    from threadpoolctl import threadpool_limits

    scale, _ = objective(start)
    scale = max(abs(scale), 1e-12)
    watch = _Watch(held_out, start) if held_out else None

    def flat_objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradients = objective(_shaped(point, start))
        return value / scale, _flat(gradients) / scale

    with threadpool_limits(1):  # as in `LearnedRouter.fit_encoded`, which is not the only one that calls this
        result = minimize(
            flat_objective,
            _flat(start),
            jac=True,
            method="L-BFGS-B",
            callback=watch,
            options={"maxiter": MAX_ITERATIONS, "maxcor": memory, "gtol": tolerance},
        )
    return watch.best if watch else _shaped(result.x, start)


class _Watch:
    """Called after each iteration: keeps the best parameters, and stops when it has seen no better ones for a while."""

    def __init__(self, held_out: Callable[[Parameters], float], start: Parameters) -> None:
        self.held_out = held_out
        self.best = start
        self.lowest = held_out(start)
        self.since = 0

    def __call__(self, intermediate_result: Any) -> None:
        """The parameter's name is how scipy is told what to pass."""
        parameters = _shaped(intermediate_result.x, self.best)
        loss = self.held_out(parameters)
        if loss < self.lowest:
            self.best, self.lowest, self.since = parameters, loss, 0
        else:
            self.since += 1
        if self.since >= PATIENCE:
            raise StopIteration


def squared_error(rewards: FloatArray, weights: FloatArray) -> Loss:
    """Half the squared error, each cell times its weight; a NaN reward counts for nothing. Both `(n_queries, n_outputs)`."""
    known, weights = _without_gaps(rewards, weights)

    def loss(outputs: FloatArray, rows: Rows) -> tuple[float, FloatArray]:
        errors = outputs - known[rows]
        slope = weights[rows] * errors
        return 0.5 * float(np.vdot(slope, errors)), slope

    return loss


def cross_entropy(rewards: FloatArray, weights: FloatArray) -> Loss:
    """Of `sigmoid(outputs)` against the rewards themselves, otherwise as `squared_error`."""
    known, weights = _without_gaps(rewards, weights)

    def loss(outputs: FloatArray, rows: Rows) -> tuple[float, FloatArray]:
        soft: FloatArray = np.logaddexp(np.float32(0.0), outputs)
        value = float(np.vdot(weights[rows], soft - known[rows] * outputs))
        slope: FloatArray = weights[rows] * (np.exp(outputs - soft) - known[rows])
        return value, slope

    return loss


def sigmoid(outputs: FloatArray) -> FloatArray:
    """1 / (1 + exp(-x)), without overflow."""
    shares: FloatArray = np.exp(-np.logaddexp(np.float32(0.0), -outputs))
    return shares


def logit(shares: FloatArray) -> FloatArray:
    """The inverse of `sigmoid`, for shares no closer to 0 and 1 than one in a thousand."""
    kept = np.clip(shares, 1e-3, 1.0 - 1e-3)
    outputs: FloatArray = np.log(kept / (1.0 - kept)).astype(np.float32)
    return outputs


def _without_gaps(rewards: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    tried = ~np.isnan(rewards)
    return np.where(tried, rewards, np.float32(0.0)), np.where(tried, weights, np.float32(0.0))


def _flat(parameters: Parameters) -> NDArray[np.float64]:
    return np.concatenate([each.ravel() for each in parameters]).astype(np.float64)


def _shaped(point: NDArray[np.float64], like: Parameters) -> Parameters:
    parts = np.split(point.astype(np.float32), np.cumsum([each.size for each in like])[:-1])
    return tuple(part.reshape(each.shape) for part, each in zip(parts, like, strict=True))


def _zeros(*shape: int) -> FloatArray:
    return np.zeros(shape, dtype=np.float32)
