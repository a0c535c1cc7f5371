"""Mean pooling: token vectors to one unit vector per text, as sentence encoders of the MiniLM family want it.

    mean_pool(hidden, mask)         # hidden (2, 9, 384), mask (2, 9) of 0 and 1 -> (2, 384), rows of length 1

The mean's divisor vanishes in the normalisation, so only the masked sum is computed, as one batched matrix product. Plain
version: `kernels.reference.mean_pool`. Not here: other poolings, which are a slice and not worth a kernel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_pool(hidden: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Unit means of `hidden (n, t, d)` over the tokens where `mask (n, t)` is 1; a row of zeros where none is."""
    sums: NDArray[np.float32] = np.matmul(mask.astype(np.float32)[:, None, :], hidden)[:, 0, :]
    lengths = np.sqrt(np.einsum("nd,nd->n", sums, sums))
    lengths[lengths == 0.0] = 1.0
    sums /= lengths[:, None]
    return sums
