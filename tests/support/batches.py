"""Files of requests for batches, and what came of them.

path = write_requests(tmp_path / "in.jsonl", [("a", "Hello"), ("panel/council", "Why?")])
responses(tmp_path / "out.jsonl")["r0"]["body"]
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

URL = "/v1/chat/completions"


def line(custom_id: str, model: str = "a", text: str = "Hello", *, url: str = URL, **fields: Any) -> dict[str, Any]:
    """One request; `fields` take the place of the line's own."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body, **fields}


def write_lines(path: Path, lines: Sequence[Any]) -> Path:
    """As JSON, or as it is where one is a text already."""
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return path


def write_requests(path: Path, asked: Sequence[tuple[str, str]]) -> Path:
    """`asked`: model and text. Their ids are r0, r1 and so on."""
    return write_lines(path, [line(f"r{i}", model, text) for i, (model, text) in enumerate(asked)])


def responses(path: Path) -> dict[str, Any]:
    """What stands in an output file, by custom_id."""
    return {row["custom_id"]: row["response"] for row in map(json.loads, path.read_text().splitlines())}


def said(response: dict[str, Any]) -> str:
    return response["body"]["choices"][0]["message"]["content"]
