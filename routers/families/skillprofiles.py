"""What each expert was seen to be good at: a vocabulary of skills, and every expert's mean reward on each.

    profile = fit_profile(table, vocabulary, memberships, pseudo_rows=20.0)
    shares = vocabulary.shares(vectors, keywords=5, sharpness=40.0)      # (n_queries, n_skills): which skills a query needs
    shares @ profile.strengths                                          # (n_queries, n_experts): expected reward

The model profile of Symbolic Mixture-of-Experts (arXiv 2503.05641), which counts +1 and -1 per keyword; here it is a mean reward,
drawn towards the expert's overall mean where a skill was seldom needed. Not here: what experts say of themselves
(`routers/families/skills.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routers.base import Encoder, ExpertCard, FloatArray
from routers.data.table import RewardTable
from routers.parts.regions import shrunk_means
from routers.parts.tags import Tags

MAX_SKILLS = 128
"""The vocabulary of keywords that a tagger gave holds the most frequent."""


@dataclass(frozen=True)
class Vocabulary:
    """names: of the skills; those that were mined have numbers. vectors: `(n_skills, dimensions)`, of length 1."""

    names: tuple[str, ...]
    vectors: FloatArray

    def shares(self, vectors: FloatArray, keywords: int, sharpness: float) -> FloatArray:
        """`(n, n_skills)`, rows sum to 1: the nearest `keywords` skills of each text, by a softmax of `sharpness` times cosine."""
        scores = sharpness * (vectors @ self.vectors.T)
        if not scores.size:
            return scores
        if keywords < scores.shape[1]:
            least = np.partition(scores, -keywords, axis=1)[:, -keywords, None]
            scores = np.where(scores >= least, scores, -np.inf)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: FloatArray = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares


@dataclass(frozen=True)
class Profile:
    """strengths: `(n_skills, n_experts)`, mean rewards. counts: `(n_experts,)`, how many rewards each expert had."""

    strengths: FloatArray
    counts: FloatArray

    def joined(self, newcomer: Profile) -> Profile:
        """With one more expert's, over the same skills."""
        return Profile(np.hstack([self.strengths, newcomer.strengths]), np.append(self.counts, newcomer.counts))


def fit_profile(table: RewardTable, shares: FloatArray, pseudo_rows: float) -> Profile:
    """shares: `(n_queries, n_skills)`. pseudo_rows: how many rows an expert's overall mean counts for in each skill."""
    strengths, _ = shrunk_means(table, shares, table.means, pseudo_rows)
    return Profile(strengths, table.tried.sum(axis=0).astype(np.float32))


def no_skills(dimensions: int, num_experts: int) -> tuple[Vocabulary, Profile]:
    """Of experts that nothing was seen of."""
    empty, nothing = np.zeros((0, dimensions), dtype=np.float32), np.zeros((0, num_experts), dtype=np.float32)
    return Vocabulary((), empty), Profile(nothing, np.zeros(num_experts, dtype=np.float32))


def declared_skills(cards: Sequence[ExpertCard], encoder: Encoder) -> Vocabulary:
    """What the experts say they can do. Raises ValueError when none of them says anything."""
    names = tuple(dict.fromkeys(skill for card in cards for skill in card.skills))
    if not names:
        raise ValueError("a vocabulary of declared skills needs experts that declare some")
    return Vocabulary(names, encoder.encode(names))


def frequent_keywords(tagged: Sequence[Sequence[str]], encoder: Encoder) -> Vocabulary:
    """The keywords that a tagger gave most often. Raises ValueError when it gave none."""
    counts = Counter(keyword for keywords in tagged for keyword in keywords)
    if not counts:
        raise ValueError("the tagger named no skill of any query")
    names = tuple(sorted(name for name, _ in counts.most_common(MAX_SKILLS)))
    return Vocabulary(names, encoder.encode(names))


def seen_skills(vectors: FloatArray, tags: Tags, names: Sequence[str]) -> Vocabulary:
    """One skill per tag, in the middle of its queries. names: by tag."""
    sums = np.zeros((len(names), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, tags, vectors)
    return Vocabulary(tuple(names), sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))
