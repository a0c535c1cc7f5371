"""Small files in the published shapes, read by name and by detection."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from routers.base import Outcome
from routers.data.importers.registry import IMPORTERS, detect, import_outcomes
from routers.data.outcomes import OutcomeError


def jsonl(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def json_file(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def csv_file(path, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def outcomes_of(format, *paths):
    return import_outcomes(format, paths).outcomes


ROUTING = {
    "task_name": "gsm8k",
    "query": "Janet has 4 apples. How many?",
    "ground_truth": "2",
    "metric": "GSM8K",
    "choices": None,
    "task_id": None,
    "model_name": "small",
    "response": "2 apples.",
    "token_num": 453,
    "input_tokens": 449,
    "output_tokens": 4,
    "response_time": 1.78,
    "performance": 1.0,
    "embedding_id": 42,
    "user_id": None,
}


def test_llmrouter_rows_of_a_query_become_one_outcome(tmp_path):
    other_task = {**ROUTING, "task_name": "math"}
    path = jsonl(
        tmp_path / "routing.jsonl", ROUTING, {**ROUTING, "model_name": "large", "performance": 0.5}, other_task
    )
    first, second = outcomes_of("llmrouter", path)
    assert first == Outcome(
        "Janet has 4 apples. How many?",
        {"small": 1.0, "large": 0.5},
        group="gsm8k",
        answers={"small": "2 apples.", "large": "2 apples."},
        target="2",
    )
    assert second.group == "math"


def test_repetitions_are_averaged_and_rows_without_a_score_counted(tmp_path):
    path = jsonl(tmp_path / "r.jsonl", ROUTING, {**ROUTING, "performance": 0.0}, {**ROUTING, "performance": None})
    imported = import_outcomes("llmrouter", [path])
    assert imported.outcomes[0].rewards == {"small": 0.5}
    assert (imported.num_repeats, imported.left_out) == (1, {"rows without a performance": 1})
    assert imported.experts == ("small",)


QUESTIONS = [
    {"question": "Which?\nA. x\nB. y", "scores": {"m/one": 0.0, "m/two": 0.8371}, "cluster_id": 3},
    {"question": "Who?", "scores": {"m/one": 0.61, "m/two": 0.0}},
]


def test_routerdc_pass_rates_are_kept(tmp_path):
    path = json_file(tmp_path / "gsm8k-train.json", [{"question": "How many?", "scores": {"m/one": 0.3, "m/two": 1}}])
    assert outcomes_of("routerdc", path) == (
        Outcome("How many?", {"m/one": 0.3, "m/two": 1.0}, id="gsm8k-train/1", group="gsm8k-train"),
    )


def test_routerdc_confidences_are_refused_until_it_is_said_what_they_mean(tmp_path):
    path = json_file(tmp_path / "mmlu_train.json", QUESTIONS)
    with pytest.raises(OutcomeError, match=r"such as 0.8371 are confidence times correctness.*routerdc-correct"):
        outcomes_of("routerdc", path)
    rewards = [outcome.rewards for outcome in outcomes_of("routerdc-correct", path)]
    assert rewards == [{"m/one": 0.0, "m/two": 1.0}, {"m/one": 1.0, "m/two": 0.0}]
    assert outcomes_of("routerdc-confidence", path)[0].rewards == {"m/one": 0.0, "m/two": 0.8371}


def test_routerdc_correct_leaves_pass_rates_alone(tmp_path):
    rates = json_file(tmp_path / "gsm8k.json", [{"question": "How many?", "scores": {"m/one": 0.3}}])
    choices = json_file(tmp_path / "mmlu.json", QUESTIONS)
    assert outcomes_of("routerdc-correct", rates, choices)[0].rewards == {"m/one": 0.3}


BENCH_HEADER = ["", "sample_id", "prompt", "eval_name", "m/a", "b", "m/a|model_response", "b|model_response"]
BENCH_HEADER += ["m/a|total_cost", "b|total_cost", "oracle_model_to_route_to"]
BENCH_ROW = ["385", "arc.1", "['Which?\\nAnswer:']", "arc", "1.0", "0.0", "['A\\n']", "['B']", "0.0005", "0.01", "m/a"]


def test_routerbench_columns_with_costs_or_responses_are_models(tmp_path):
    path = csv_file(tmp_path / "arc.csv", BENCH_HEADER, BENCH_ROW)
    assert outcomes_of("routerbench", path) == (
        Outcome(
            "Which?\nAnswer:",
            {"m/a": 1.0, "b": 0.0},
            id="arc.1",
            group="arc",
            costs={"m/a": 0.0005, "b": 0.01},
            answers={"m/a": "A\n", "b": "B"},
        ),
    )


def test_routerbench_as_parquet_with_turns_and_an_empty_cell(tmp_path):
    columns = {"sample_id": ["mt.1"], "prompt": ["['One?', 'Two?']"], "eval_name": ["mt"]}
    scores = {"a": [0.9], "a|total_cost": [0.1], "b": [float("nan")], "b|total_cost": [0.2]}
    pq.write_table(pa.table({**columns, **scores}), tmp_path / "mt.parquet")
    imported = import_outcomes("routerbench", [tmp_path / "mt.parquet"])
    assert imported.outcomes[0].query == "One?\n\nTwo?"
    assert imported.outcomes[0].rewards == {"a": 0.9}
    assert imported.left_out == {"cells without a score": 1}


def test_a_prompt_that_only_looks_like_a_list_is_text_and_never_run(tmp_path):
    prompt = "[__import__('pathlib').Path('touched').touch()]"
    path = csv_file(tmp_path / "a.csv", BENCH_HEADER, [*BENCH_ROW[:2], prompt, *BENCH_ROW[3:]])
    assert outcomes_of("routerbench", path)[0].query == prompt
    assert not Path("touched").exists()


@pytest.mark.parametrize("format", ["auto", "routerbench", "llmrouter", "promptfoo"])
def test_a_pickle_is_refused_with_what_to_do(tmp_path, format):
    path = tmp_path / "routerbench_0shot.pkl"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(OutcomeError, match=r"is a pickle.*never opened here.*to_parquet"):
        outcomes_of(format, path)


def test_routellm_responses_are_right_or_wrong(tmp_path):
    path = csv_file(
        tmp_path / "mmlu_anatomy.csv",
        ["prompt", "m/mixtral", "gpt-4-1106-preview", "m/mixtral_response"],
        ['A "dished face"\nA. x\nAnswer:', "False", "True", "So B."],
    )
    assert outcomes_of("routellm", path) == (
        Outcome(
            'A "dished face"\nA. x\nAnswer:',
            {"m/mixtral": 0.0, "gpt-4-1106-preview": 1.0},
            group="mmlu_anatomy",
            answers={"m/mixtral": "So B."},
        ),
    )


def test_routellm_scores_of_one_to_five_are_against_the_other_answer(tmp_path):
    row = {"prompt": "Hi", "source": ["x"], "gpt4_response": "Hello.", "mixtral_response": "Yo.", "mixtral_score": 4}
    (outcome,) = outcomes_of("routellm", jsonl(tmp_path / "judged.jsonl", row))
    assert outcome.rewards == {"gpt4": 1.0, "mixtral": 0.75}
    assert outcome.answers == {"gpt4": "Hello.", "mixtral": "Yo."}


@pytest.mark.parametrize(
    ("verdict", "rewards"),
    [
        ({"winner": "model_a"}, {"x": 1.0, "y": 0.0}),
        ({"winner": "tie (bothbad)"}, {"x": 0.5, "y": 0.5}),
        ({"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}, {"x": 0.0, "y": 1.0}),
        ({"winner_model_a": 0, "winner_model_b": 0, "winner_tie": 1}, {"x": 0.5, "y": 0.5}),
    ],
)
def test_routellm_battles(tmp_path, verdict, rewards):
    row = {"prompt": '["Hi", "And?"]', "model_a": "x", "model_b": "y", **verdict}
    (outcome,) = outcomes_of("routellm", jsonl(tmp_path / "b.jsonl", row))
    assert (outcome.query, outcome.rewards) == ("Hi", rewards)


RECORD = {"index": 1, "origin_query": "2+2?", "prompt": "Q: 2+2?", "prediction": "4", "ground_truth": "4", "score": 1.0}


def test_llmrouterbench_files_name_model_and_data_set_or_their_folders_do(tmp_path):
    named = {"performance": 1.0, "model_name": "m/one", "dataset_name": "aime", "split": "test"}
    one = json_file(tmp_path / "one.json", {**named, "records": [{**RECORD, "cost": 0.0001}]})
    unscored = {**RECORD, "index": 2, "score": None}
    two = json_file(
        tmp_path / "bench/aime/test/two/20260101_120000.json",
        {"performance": 0.0, "records": [{**RECORD, "score": False, "prediction": None}, unscored]},
    )
    imported = import_outcomes("llmrouterbench", [one, two])
    assert imported.outcomes == (
        Outcome(
            "2+2?",
            {"m/one": 1.0, "two": 0.0},
            id="1",
            group="aime",
            split="test",
            costs={"m/one": 0.0001},
            answers={"m/one": "4"},
            target="4",
        ),
    )
    assert imported.left_out == {"records without a score": 1}


SAMPLE = {
    "doc_id": 0,
    "doc": {"question": "How many eggs?", "answer": "#### 18"},
    "target": "18",
    "arguments": {
        "gen_args_0": {"arg_0": "Question: How many apples?\nAnswer: 2\n\nQuestion: How many eggs?\nAnswer:"}
    },
    "resps": [["It is 18."]],
    "filtered_resps": ["18"],
    "filter": "strict-match",
    "metrics": ["exact_match"],
    "exact_match": 1.0,
}


def test_lm_eval_folders_are_models_and_the_first_filter_counts(tmp_path):
    name = "samples_gsm8k_cot_2026-01-31T12-00-00.123456.jsonl"
    flexible = {**SAMPLE, "filter": "flexible-extract", "exact_match": 0.0}
    one = jsonl(tmp_path / "org__one" / name, SAMPLE, flexible)
    two = jsonl(tmp_path / "two" / name, {**SAMPLE, "exact_match": 0.0, "filtered_resps": ["17"]})
    imported = import_outcomes("lm_eval", [one, two])
    assert imported.outcomes == (
        Outcome(
            "How many eggs?",
            {"org/one": 1.0, "two": 0.0},
            id="0",
            group="gsm8k_cot",
            answers={"org/one": "18", "two": "17"},
            target="18",
        ),
    )
    assert imported.left_out == {"rows under other filters than strict-match": 1}


@pytest.mark.parametrize("choices", [["x", "y"], {"text": ["x", "y"], "label": ["A", "B"]}])
def test_lm_eval_choices_belong_to_the_query(tmp_path, choices):
    row = {
        **SAMPLE,
        "doc": {"question": "Which?", "choices": choices},
        "metrics": ["acc", "acc_norm"],
        "acc": 1,
        "acc_norm": 0,
    }
    row["filtered_resps"] = [["-1.5", "False"], ["-0.5", "True"]]
    (outcome,) = outcomes_of("lm_eval", jsonl(tmp_path / "m" / "samples_mmlu.jsonl", row))
    assert (outcome.query, outcome.group, outcome.rewards, outcome.answers) == (
        "Which?\nA. x\nB. y",
        "mmlu",
        {"m": 1.0},
        {},
    )


@pytest.mark.parametrize(
    "arguments", [[["Once upon", " a"], ["Once upon", " b"]], {"gen_args_0": {"arg_0": "Once upon"}}]
)
def test_lm_eval_documents_without_a_question_give_the_prompt(tmp_path, arguments):
    old = {"doc_id": 3, "doc": {"page": "x"}, "target": " a", "arguments": arguments, "filtered_resps": [], "acc": 1.0}
    (outcome,) = outcomes_of("lm_eval", jsonl(tmp_path / "m" / "samples_story.jsonl", old))
    assert outcome.query == "Once upon"


def promptfoo_result(provider, score, **changes):
    return {
        "promptIdx": 0,
        "testIdx": 0,
        "provider": provider,
        "prompt": {"raw": "Translate: cat", "label": "Translate: {{word}}"},
        "vars": {"word": "cat"},
        "response": {"output": "chat"},
        "failureReason": 0,
        "success": score > 0.5,
        "score": score,
        "cost": 0.0002,
        **changes,
    }


def promptfoo_file(path, *results):
    return json_file(
        path, {"evalId": "e", "results": {"version": 3, "results": list(results), "stats": {}}, "config": {}}
    )


def test_promptfoo_providers_are_experts(tmp_path):
    path = promptfoo_file(
        tmp_path / "results.json",
        promptfoo_result({"id": "openai:gpt-4o", "label": ""}, 1),
        promptfoo_result({"id": "openai:x", "label": "tiny"}, 0.25, failureReason=1, error="Expected 'chat'"),
        promptfoo_result({"id": "down"}, 0, failureReason=2, error="429", response=None),
    )
    imported = import_outcomes("promptfoo", [path])
    assert imported.outcomes == (
        Outcome(
            "Translate: cat",
            {"openai:gpt-4o": 1.0, "tiny": 0.25},
            costs={"openai:gpt-4o": 0.0002, "tiny": 0.0002},
            answers={"openai:gpt-4o": "chat", "tiny": "chat"},
        ),
    )
    assert imported.left_out == {"calls that failed": 1}


def test_promptfoo_chat_prompts_become_text(tmp_path):
    raw = json.dumps([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    result = promptfoo_result("echo", 1, prompt={"raw": raw}, response={"output": {"a": 1}})
    (outcome,) = outcomes_of("promptfoo", promptfoo_file(tmp_path / "r.json", result))
    assert (outcome.query, outcome.answers) == ("Be brief.\n\nHi", {"echo": '{"a": 1}'})


def test_a_result_whose_prompt_begins_like_a_list_is_text(tmp_path):
    result = promptfoo_result("echo", 1, prompt={"raw": "[1, 2] has which length?"})
    assert outcomes_of("promptfoo", promptfoo_file(tmp_path / "r.json", result))[0].query == "[1, 2] has which length?"


DEEP = "[" * 100_000


def test_prompts_that_only_look_like_lists_stay_as_they_are(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", {"prompt": DEEP, "x": True})
    assert outcomes_of("routellm", path)[0].query == DEEP
    path = promptfoo_file(tmp_path / "r.json", promptfoo_result("echo", 1, prompt={"raw": DEEP}))
    assert outcomes_of("promptfoo", path)[0].query == DEEP


def test_formats_are_told_by_their_shapes(tmp_path):
    files = {
        "llmrouter": jsonl(tmp_path / "a.jsonl", ROUTING),
        "routerdc": json_file(tmp_path / "b.json", QUESTIONS),
        "routerbench": csv_file(tmp_path / "c.csv", BENCH_HEADER, BENCH_ROW),
        "routellm": csv_file(tmp_path / "d.csv", ["prompt", "x", "gpt-4-1106-preview"], ["Hi", "True", "True"]),
        "llmrouterbench": json_file(tmp_path / "e.json", {"performance": 1.0, "records": [RECORD]}),
        "lm_eval": jsonl(tmp_path / "m" / "samples_gsm8k_2026-01-31T12-00-00.123456.jsonl", SAMPLE),
        "promptfoo": promptfoo_file(tmp_path / "f.json", promptfoo_result("echo", 1)),
    }
    assert {name: detect(path) for name, path in files.items()} == {name: name for name in files}
    merged = outcomes_of("auto", files["llmrouter"], files["lm_eval"], files["promptfoo"])
    assert [outcome.query for outcome in merged] == [
        "Janet has 4 apples. How many?",
        "How many eggs?",
        "Translate: cat",
    ]


@pytest.mark.parametrize("content", ['{"a": 1}\n', ""])
def test_a_shape_that_tells_nothing_asks_for_the_name(tmp_path, content):
    path = tmp_path / "x.jsonl"
    path.write_text(content)
    with pytest.raises(OutcomeError, match=r"x.jsonl: its format can't be told from its shape.*llmrouter, routerdc"):
        outcomes_of("auto", path)


def test_an_unknown_format_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="unknown format 'excel', expected one of auto, llmrouter"):
        outcomes_of("excel", tmp_path / "x.xlsx")


@pytest.mark.parametrize("format", IMPORTERS)
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.jsonl", "{broken\n"),
        ("x.json", "{broken"),
        ("x.json", "[3]"),
        ("x.json", "3"),
        ("x.csv", "a,b\n1,2,3\n"),
        ("x", ""),
    ],
)
def test_every_importer_names_the_damaged_file(tmp_path, format, name, content):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(OutcomeError, match=r"/x"):
        outcomes_of(format, path)


@pytest.mark.parametrize(
    ("format", "row", "message"),
    [
        ("llmrouter", {**ROUTING, "performance": 7}, "field 'performance': expected a number from 0 to 1, got 7"),
        ("llmrouter", {**ROUTING, "query": 3}, "field 'query': expected text or a list of chat messages, got 3"),
        ("llmrouter", {"performance": 1}, "the field 'query' is missing"),
        ("routellm", {"prompt": "q", "x_score": 9}, "field 'x_score': expected a number from 1 to 5, got 9"),
        ("routellm", {"prompt": "q"}, "field 'prompt': expected a column per model beside it"),
        ("routellm", {"prompt": "q", "model_a": "x", "model_b": "y"}, "field 'winner': .* got nothing"),
        ("routerbench", {"prompt": "q"}, "field 'prompt': expected columns of models beside it"),
    ],
)
def test_a_wrong_row_names_its_line_and_what_was_expected(tmp_path, format, row, message):
    good = {"llmrouter": ROUTING, "routellm": {"prompt": "q", "x": True}}.get(
        format, {"prompt": "q", "a": 1, "a|total_cost": 0}
    )
    with pytest.raises(OutcomeError, match=f"x.jsonl:2: {message}"):
        outcomes_of(format, jsonl(tmp_path / "x.jsonl", good, row))


@pytest.mark.parametrize(
    ("format", "data", "message"),
    [
        ("routerdc", [QUESTIONS[0], {"question": "q", "scores": 3}], "x.json:2: field 'scores': expected an object"),
        ("routerdc", [{"question": "q", "scores": {"a": 2}}], "x.json:1: field 'a': expected a number from 0 to 1"),
        ("llmrouterbench", {"performance": 1}, "x.json: expected an object with 'records'"),
        ("promptfoo", {"results": []}, "x.json: expected an object with 'results' and 'results' in it"),
        (
            "promptfoo",
            {"results": {"results": [{"score": 1}]}},
            "x.json:1: field 'prompt': expected an object with 'raw'",
        ),
    ],
)
def test_a_wrong_json_file_names_the_place(tmp_path, format, data, message):
    with pytest.raises(OutcomeError, match=message):
        outcomes_of(format, json_file(tmp_path / "x.json", data))


def test_a_file_with_nothing_to_learn_from_is_an_error(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", {**ROUTING, "performance": None})
    with pytest.raises(
        OutcomeError, match=r"x.jsonl: expected rows with a reward, got none \(1 rows without a performance\)"
    ):
        outcomes_of("llmrouter", path)
