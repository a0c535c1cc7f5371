"""Votes over answers: who concluded the same, and whose answer has the most weight behind it.

    same = same_answers(table)                                  # (n, m, m)
    elect(same, asked, log_odds(expected, coincidence(train)))          # (n,): an expert of the camp that wins

Answers that are unusable have no vote and are never elected while another is usable. Not here: which experts are asked.
"""

from __future__ import annotations

import numpy as np

from routers.base import FloatArray
from routers.fusing.table import AnswerTable, BoolArray, ObjectArray, Rows

LEAST_SKILL, LEAST_WEIGHT = 0.02, 0.01
"""Skills are kept within `LEAST_SKILL..1 - LEAST_SKILL`, and nobody votes against the own answer."""
PRIOR_PAIRS = 10.0
"""How many pairs of wrong answers the belief that half of them coincide counts for."""
_TIE = 1e-6


def usable(table: AnswerTable) -> BoolArray:
    """`(n, m)`: where an expert concluded something."""
    found: BoolArray = np.asarray(table.answers != None, dtype=np.bool_)  # noqa: E711  of every cell of an object array
    return found


def same_answers(table: AnswerTable) -> BoolArray:
    """`(n, m, m)`: which experts concluded the same, themselves included; False where either answer is unusable."""
    return alike(table.answers)


def alike(conclusions: ObjectArray) -> BoolArray:
    """`same_answers` of conclusions `(n, m)`, None where unusable."""
    n, m = conclusions.shape
    same = np.zeros((n, m, m), dtype=np.bool_)
    for i in range(m):
        is_usable = conclusions[:, i] != None  # noqa: E711  of every cell of an object array
        for j in range(i, m):
            same[:, i, j] = same[:, j, i] = (conclusions[:, i] == conclusions[:, j]) & is_usable
    return same


def support(same: BoolArray, asked: BoolArray, weights: FloatArray) -> FloatArray:
    """`(n, m)`: the weight of those asked who concluded what each expert did. weights: `(m,)` or `(n, m)`."""
    voting = np.where(asked, weights, np.float32(0.0)).astype(np.float32)
    behind: FloatArray = np.einsum("nij,nj->ni", same, voting)
    return behind


def elect(same: BoolArray, asked: BoolArray, weights: FloatArray) -> Rows:
    """`(n,)`: the weightiest expert of the camp with the most weight; among those asked without a usable answer, the weightiest."""
    own = np.broadcast_to(weights, asked.shape)
    speaks = asked & np.einsum("nii->ni", same)
    value = np.where(speaks, support(same, asked, weights) + _TIE * own, -np.inf)
    fallback = np.where(asked, own, -np.inf).argmax(axis=1)
    chosen: Rows = np.where(speaks.any(axis=1), value.argmax(axis=1), fallback)
    return chosen


def log_odds(skills: FloatArray, chance: float) -> FloatArray:
    """The weight of a vote by an expert that is right with this probability, wrong answers coinciding with probability `chance`.

    `log(p / ((1 - p) * chance))`: the optimum for independent experts (Nitzan and Paroush 1982; more than two options: Ben-Yashar
    and Paroush 2001).
    """
    right = np.clip(skills, LEAST_SKILL, 1.0 - LEAST_SKILL)
    weights: FloatArray = np.maximum(np.log(right / ((1.0 - right) * chance)), LEAST_WEIGHT).astype(np.float32)
    return weights


def coincidence(table: AnswerTable) -> float:
    """How often two wrong answers to one query are the same."""
    is_wrong = usable(table) & (table.rewards < 0.5)
    pairs = np.einsum("ni,nj->ij", is_wrong.astype(np.float64), is_wrong.astype(np.float64))
    alike = np.einsum("nij,ni,nj->ij", same_answers(table), is_wrong, is_wrong, dtype=np.float64)
    different = ~np.eye(len(pairs), dtype=np.bool_)
    return float((alike[different].sum() + PRIOR_PAIRS / 2) / (pairs[different].sum() + PRIOR_PAIRS))
