"""Questions and the texts that answer them, from documentation that is installed here: a retrieval task that needs no download.

    read_passages(per_collection=200)[0]
    # Passage(collection='asyncio', question='Wait for the Futures or Tasks given by fs to complete.', text='The fs iterable ...')

Two sources. Docstrings of the standard library and of packages that Switchyard depends on, where the first sentence asks for the
rest; they are read by `ast`, and nothing is imported. And the catalogs that this machine's programs are translated by (GNU
gettext), where a message in another language asks for the English one; languages without any are left out.
Not here: who finds what (`evals/retrieval.py`).
"""

from __future__ import annotations

import ast
import inspect
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

from routers.data.splits import query_hash

PACKAGES = ("asyncio", "email", "http", "logging", "unittest", "numpy", "sqlalchemy", "sklearn")
"""A collection each. Those that are not installed are left out."""
LANGUAGES = ("de", "es", "fr", "ja", "ru", "zh_CN")
CATALOGS = Path("/usr/share/locale")
SHORTEST, LONGEST = 60, 300
"""Characters of a text; what is longer is cut."""
QUESTION = range(25, 250)
SAMPLE = 20_240_902
"""Seed of the sample."""

_SENTENCE = re.compile(r"(.+?[.?!])(?:\s+|$)", re.DOTALL)
_LITTLE_ENDIAN = b"\xde\x12\x04\x95"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of a collection, and the question that it is the one answer to."""

    collection: str
    question: str
    text: str


def read_passages(
    per_collection: int, *, packages: Sequence[str] = PACKAGES, languages: Sequence[str] = LANGUAGES
) -> list[Passage]:
    """At most so many of each collection, always the same ones of the same files."""
    found = [*map(docstring_passages, packages), *map(message_passages, languages)]
    return [passage for passages in found for passage in _chosen(passages, per_collection)]


def docstring_passages(package: str) -> Iterator[Passage]:
    """Of whatever is documented beyond a sentence; of a package that is not installed, nothing."""
    spec = find_spec(package)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(place).rglob("*.py")):
            if not {"tests", "_vendor"}.intersection(path.parts):
                yield from _documented(package, path)


def message_passages(language: str) -> Iterator[Passage]:
    """Messages of one line and at least six words, in every catalog of the language that is written in UTF-8."""
    for path in sorted((CATALOGS / language / "LC_MESSAGES").glob("*.mo")):
        for message, translation in read_catalog(path.read_bytes()):
            is_sentence = len(message.split()) >= 6 and "\n" not in message
            is_translated = message != translation and "\ufffd" not in translation
            if is_sentence and is_translated and len(message) >= SHORTEST and len(translation) in QUESTION:
                yield Passage(f"messages-{language}", translation, message[:LONGEST])


def read_catalog(data: bytes) -> Iterator[tuple[str, str]]:
    """Messages and their translations, the singular of those that have a plural; without contexts and the header.

    The format is that of GNU gettext's manual, "The Format of GNU MO Files".
    """
    order = "<" if data[:4] == _LITTLE_ENDIAN else ">"
    number, messages, translations = struct.unpack_from(f"{order}3I", data, 8)
    for i in range(number):
        message, translation = (
            data[start : start + length].decode("utf-8", "replace").partition("\0")[0]
            for length, start in (struct.unpack_from(f"{order}2I", data, at + 8 * i) for at in (messages, translations))
        )
        if message:
            yield message.rpartition("\x04")[2], translation


def _documented(package: str, path: Path) -> Iterator[Passage]:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            question, text = _split(inspect.cleandoc(ast.get_docstring(node) or ""))
            if len(question) in QUESTION and len(text) >= SHORTEST:
                yield Passage(package, question, text[:LONGEST])


def _split(docstring: str) -> tuple[str, str]:
    """The first sentence, and the rest."""
    found = _SENTENCE.match(docstring)
    return ("", docstring) if found is None else (" ".join(found[1].split()), docstring[found.end() :].strip())


def _chosen(passages: Iterator[Passage], count: int) -> Iterator[Passage]:
    """Questions and texts that occur once, in the order of the questions' hashes, which is none.

    The seed is nobody else's: sampled and split by the same hash, all that was sampled would be held out.
    """
    known = list(passages)
    times = Counter(text for passage in known for text in (passage.question, passage.text))
    once = [passage for passage in known if times[passage.question] == times[passage.text] == 1]
    yield from islice(sorted(once, key=lambda passage: query_hash(passage.question, SAMPLE)), count)
