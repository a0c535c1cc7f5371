"""Recorded answers with a known structure: experts with a skill of their own in each group, wrong answers at random."""

import numpy as np

from routers.base import Outcome
from routers.fusing.table import AnswerTable

GROUPS = {"algebra": "Solve the equation with coefficient", "poetry": "Which poet wrote the line about"}
LETTERS = "ABCDEF"


def recorded_answers(skills, *, n=400, seed=0, silent=0.0, costs=None):
    """skills: probability of being right by expert, one number or one per group. silent: share of unusable answers.

    costs: of a call on average, by expert.
    """
    return AnswerTable.from_outcomes(recorded_outcomes(skills, n=n, seed=seed, silent=silent, costs=costs))


def recorded_outcomes(skills, *, n=400, seed=0, silent=0.0, costs=None):
    dice, prices = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    for i in range(n):
        place = int(dice.integers(len(GROUPS)))
        group, opening = list(GROUPS.items())[place]
        truth = str(dice.choice(list(LETTERS)))
        answers = {
            name: _answer(truth, np.broadcast_to(skill, 2)[place], silent, dice) for name, skill in skills.items()
        }
        rewards = {name: float(answer == truth) for name, answer in answers.items()}
        query = f"{opening} {dice.integers(10**6)} and {dice.integers(10**6)} of {seed} {i}?"
        paid = {name: cost * prices.uniform(0.5, 1.5) for name, cost in (costs or {}).items()}
        yield Outcome(query, rewards, group=group, answers=answers, target=truth, costs=paid)


def _answer(truth, skill, silent, dice):
    if dice.random() < silent:
        return None
    wrong = [letter for letter in LETTERS if letter != truth]
    return truth if dice.random() < skill else str(dice.choice(wrong))
