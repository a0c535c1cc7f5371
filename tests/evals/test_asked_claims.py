"""Claims that ask the shipped fleet: who is asked what, and what of it counts. The claims' own questions are not asked here."""

import pytest

from evals.claims.asked import FOLDS, earned, plain, questions, write_examples
from evals.claims.prompts import DEMONSTRATIONS, OnePrompt
from orchestrator.errors import ConfigError
from orchestrator.labelling.queries import read_items

SUMS = questions("arithmetic")
PANEL = {"sums": {"experts": ["calculator", "parrot"], "aggregator": "first"}}


def test_each_way_is_graded_on_every_question():
    asked = [question for question in SUMS if question.item.group == "expression"][:3]
    ways = [lambda question, name=name: (name, question.item) for name in ("calculator", "parrot", "panel/sums")]
    try:
        rewards = earned(asked, ways, experts=[{"name": "parrot", "backend": "echo"}], panels=PANEL)
    except ConfigError as exc:
        pytest.skip(exc.message)
    assert rewards[:, :2].tolist() == [[1.0, 0.0]] * 3
    assert rewards.shape == (3, 3)


def test_no_question_is_among_the_examples_of_its_own_fold(tmp_path):
    for fold in FOLDS:
        shown = {item.query for item in read_items(write_examples(tmp_path / "shown.jsonl", SUMS, fold))}
        assert shown == {question.item.query for question in SUMS if question.fold != fold}
        assert len(SUMS) / 4 < len(shown) < len(SUMS)


def test_plain_is_the_task_as_it_is():
    assert plain(SUMS[0]) == ("smollm2", SUMS[0].item)


def test_one_prompt_shows_as_many_solved_questions_of_the_other_fold_as_the_mixture():
    expert, item = OnePrompt(SUMS)(SUMS[0])
    system, *shown, question = item.messages
    assert (expert, system["role"], question["content"]) == ("smollm2", "system", SUMS[0].item.query)
    answers = {each.item.query: each.item.target for each in SUMS if each.fold != SUMS[0].fold}
    pairs = [(user["content"], said["content"]) for user, said in zip(shown[::2], shown[1::2], strict=True)]
    assert len(pairs) == DEMONSTRATIONS
    assert all(answers[query] == answer for query, answer in pairs)
