"""Next-token distributions of several models to one: weighted, steered by small specialists, or contrasted with a weak model.

    mixture(logprobs, weights)                 # (b, m, v), (b, m) -> (b, v)
    steer(large, base, specialists)            # (b, v), (b, v), (b, k, v) -> (b, v), and the weights it found, (b, k)
    contrast(strong, weak, beta=0.5)           # (b, v), (b, v) -> (b, v)

Everything is a log-probability in float64, normalised over the last axis, in and out. `mixture` is the ensemble of DEMix (arXiv
2108.05036) and Branch-Train-Merge (arXiv 2208.03306); `steer` follows Dynamic Logits Fusion (arXiv 2406.15480); `contrast` is
SCMoE's (arXiv 2405.14507). Plain versions: `kernels.reference`. Not here: where the weights of a mixture come from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AT_MOST = 2.0
MAX_STEPS = 60
TOLERANCE = 1e-10

_Floats = NDArray[np.float64]


def mixture(logprobs: _Floats, weights: _Floats) -> _Floats:
    """`log sum_i weights_i p_i`, `(b, v)`, from `logprobs (b, m, v)` and `weights (b, m)` that sum to 1 in each row."""
    mixed = np.matmul(weights[:, None, :], np.exp(logprobs))[:, 0, :]
    with np.errstate(divide="ignore"):
        logs: _Floats = np.log(mixed)
    return logs


def steer(large: _Floats, base: _Floats, specialists: _Floats, at_most: float = AT_MOST) -> tuple[_Floats, _Floats]:
    """The large model's distribution `(b, v)` moved as its small kin were by their training, and the weights `(b, k)`.

    The fused distribution is `softmax(large + sum_k a_k (specialist_k - base))`, from `large (b, v)`, `base (b, v)` and
    `specialists (b, k, v)`, all finite. The weights a minimise `sum_k (KL(fused || large) - KL(specialist_k || base))^2`: fused
    lies as far from large as the specialists from base on average. With several specialists that leaves all but the sum of the
    weights open; here each has a share in proportion to its own distance. The sum is found by Newton's method within a
    bracket, as the distance grows with it, and ends at `at_most`, where no weight may bring the models as far apart.
    """
    shifts = specialists - base[:, None, :]
    distances = np.einsum("bkv,bkv->bk", np.exp(specialists), shifts).clip(min=0.0)
    totals = distances.sum(axis=1, keepdims=True)
    shares = distances / np.where(totals > 0.0, totals, 1.0)
    direction = np.einsum("bk,bkv->bv", shares, shifts)
    size = _size(large, direction, distances.mean(axis=1), at_most)
    fused = _normalised(large + size[:, None] * direction)
    return fused, size[:, None] * shares


def contrast(strong: _Floats, weak: _Floats, beta: float, alpha: float = 0.0) -> _Floats:
    """`(1 + beta) strong - beta weak`, normalised, `(b, v)`: what the strong model likes better than the weak one does.

    Tokens with less than `alpha` of the probability of the strong model's likeliest have none. Both `(b, v)`, weak finite.
    """
    scores = (1.0 + beta) * strong - beta * weak
    if alpha > 0.0:
        plausible = strong >= strong.max(axis=1, keepdims=True) + np.log(alpha)
        scores = np.where(plausible, scores, -np.inf)
    return _normalised(scores)


def _size(large: _Floats, direction: _Floats, targets: _Floats, at_most: float) -> _Floats:
    """How far to go in `direction` until `KL(fused || large)` is `targets (b,)`: `(b,)`, in 0..`at_most`."""
    low, high = np.zeros_like(targets), np.full_like(targets, at_most)
    size = high.copy()
    for _ in range(MAX_STEPS):
        distance, slope = _distance(large, direction, size)
        gap = distance - targets
        found = (np.abs(gap) <= TOLERANCE) | ((gap < 0.0) & (size == at_most))
        if found.all():
            break
        low, high = np.where(gap < 0.0, size, low), np.where(gap < 0.0, high, size)
        newton = size - gap / np.where(slope > 0.0, slope, 1.0)
        inside = (newton > low) & (newton < high)
        size = np.where(found, size, np.where(inside, newton, (low + high) / 2.0))
    return size


def _distance(large: _Floats, direction: _Floats, size: _Floats) -> tuple[_Floats, _Floats]:
    """`KL(fused || large)` at `size (b,)`, and its derivative there: `size` times the variance of `direction` under fused."""
    scores = large + size[:, None] * direction
    peaks = scores.max(axis=1, keepdims=True)
    masses = np.exp(scores - peaks)
    totals = masses.sum(axis=1)
    means = np.einsum("bv,bv->b", masses, direction) / totals
    squares = np.einsum("bv,bv,bv->b", masses, direction, direction) / totals
    distance: _Floats = size * means - np.log(totals) - peaks[:, 0]
    slope: _Floats = size * (squares - means**2)
    return distance, slope


def _normalised(scores: _Floats) -> _Floats:
    peaks = scores.max(axis=1, keepdims=True)
    normalised: _Floats = scores - peaks - np.log(np.exp(scores - peaks).sum(axis=1, keepdims=True))
    return normalised
