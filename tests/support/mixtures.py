"""A small mixture of prompts on disk: sums and capitals, each with its instruction and demonstrations.

folder = saved_mixture(tmp_path / "mix")
"""

from pathlib import Path

import numpy as np

from orchestrator.mixtures.artifact import Region, save_mixture
from orchestrator.mixtures.mixture import Demonstration, Mixture
from routers.encoders import HashedEncoder

ENCODER = HashedEncoder(256)
SUMS = tuple(Demonstration(f"What is {a} + {a}?", str(2 * a)) for a in range(1, 7))
CAPITALS = tuple(
    Demonstration(f"Name the capital city of {country}", capital)
    for country, capital in (("Peru", "Lima"), ("France", "Paris"), ("Kenya", "Nairobi"), ("Japan", "Tokyo"))
)
INSTRUCTIONS = ("Reply with the number alone.", "Reply with the city alone.")


def mixture() -> Mixture:
    demonstrations = (*SUMS, *CAPITALS)
    vectors = ENCODER.encode([each.query for each in demonstrations])
    regions = np.array([0] * len(SUMS) + [1] * len(CAPITALS), dtype=np.intp)
    centres = np.stack([vectors[regions == region].mean(axis=0) for region in (0, 1)])
    return Mixture(INSTRUCTIONS, centres, demonstrations, vectors, regions)


def saved_mixture(folder: Path) -> Path:
    regions = (Region(INSTRUCTIONS[0], len(SUMS)), Region(INSTRUCTIONS[1], len(CAPITALS), 0.75, 8))
    save_mixture(folder, mixture(), encoder=ENCODER.fingerprint, regions=regions)
    return folder
