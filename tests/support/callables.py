"""Callables that function experts in the tests name."""

from __future__ import annotations

import asyncio
import threading

RELEASE = threading.Event()

NOTED: list[str] = []

NOT_CALLABLE = "text"


def repeat(question: str) -> str:
    return question


async def repeat_async(question: str) -> str:
    await asyncio.sleep(0)
    return question


def point(question: str) -> str:
    return f"☞ {question}"


async def never(question: str) -> str:
    await asyncio.Event().wait()
    return question


def wait_for_release(question: str) -> str:
    RELEASE.wait(30)
    return question


def note(question: str) -> str:
    NOTED.append(question)
    return wait_for_release(question)


def thread_name(question: str) -> str:
    return threading.current_thread().name


def decline(question: str) -> None:
    return None


def fail(question: str) -> str:
    raise ValueError(f"secret: {question}")


def leave(question: str) -> str:
    raise SystemExit(3)


async def lose_a_task(question: str) -> str:
    task = asyncio.create_task(repeat_async(question))
    task.cancel()
    return await task


def run_out(question: str) -> str:
    return next(iter(()))


def count(question: str) -> int:
    return len(question)


BATCHES: list[list[str]] = []
"""What those below have been asked, call by call."""


def answer_all(questions: list[str]) -> list[str | None]:
    """Fails when one of them is "poison", and has no answer for "other"."""
    BATCHES.append(questions)
    RELEASE.wait(30)
    if "poison" in questions:
        raise ValueError("secret: poison")
    return [None if question == "other" else question.upper() for question in questions]


async def answer_all_async(questions: list[str]) -> list[str | None]:
    return await asyncio.to_thread(answer_all, questions)


def answer_known(questions: list[str]) -> list[str]:
    """Leaves out what it doesn't know."""
    return [question for question in questions if question != "unknown"]


async def never_all(questions: list[str]) -> list[str]:
    """Never returns when one of them is "hang"."""
    BATCHES.append(questions)
    if "hang" in questions:
        await asyncio.Event().wait()
    return questions
