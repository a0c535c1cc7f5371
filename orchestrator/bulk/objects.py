"""Files and batches as OpenAI's API has them, and the steps of a batch's life. Frozen; each step returns the next state.

    batch = new_batch(BatchRequest("file-1", "/v1/chat/completions", "24h"), now=1_700_000_000)
    batch = entered(batch, "in_progress", now=1_700_000_004)     # in_progress_at is set

    validating -> in_progress -> finalizing -> completed
    validating -> failed                     in_progress -> expired
    any but an end -> cancelling -> cancelled

Not here: where they are kept (`store.py`), and who moves them (`batches.py`).
"""

from __future__ import annotations

import secrets
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from orchestrator.bulk.lines import Fault
from orchestrator.bulk.run import Counts, Spent
from orchestrator.types import Caller

DAY_S = 86_400
KEPT_S = 30 * DAY_S
"""How long files are kept where nobody says."""
WINDOW_S = {"24h": DAY_S}

Output = Literal["output", "error"]
OUTPUTS: tuple[Output, Output] = ("output", "error")
Status = Literal["validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"]
ENDS: frozenset[Status] = frozenset({"completed", "failed", "expired", "cancelled"})
CANCELLABLE: frozenset[Status] = frozenset({"validating", "in_progress", "cancelling"})

Seconds = Annotated[int, Meta(ge=3600, le=KEPT_S)]
Key = Annotated[str, Meta(max_length=64)]
Value = Annotated[str, Meta(max_length=512)]


class Expiry(Struct, frozen=True):
    """When a file is deleted by itself: seconds after it was made."""

    anchor: Literal["created_at"]
    seconds: Seconds


class BatchRequest(Struct, frozen=True):
    """POST /v1/batches."""

    input_file_id: Annotated[str, Meta(min_length=1)]
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank", "/v1/responses"]
    completion_window: Literal["24h"]
    metadata: Annotated[dict[Key, Value], Meta(max_length=16)] | None = None
    output_expires_after: Expiry | None = None


class FileObject(Struct, frozen=True, kw_only=True):
    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    expires_at: int | None
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"
    status_details: None = None


class Errors(Struct, frozen=True):
    data: tuple[Fault, ...]
    object: Literal["list"] = "list"


class RequestCounts(Struct, frozen=True):
    total: int = 0
    completed: int = 0
    failed: int = 0


class InputDetails(Struct, frozen=True):
    cached_tokens: int = 0


class OutputDetails(Struct, frozen=True):
    reasoning_tokens: int = 0


class BatchUsage(Struct, frozen=True):
    """What was used by the lines that are done. Experts don't say what they cached, or thought."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputDetails = InputDetails()
    output_tokens_details: OutputDetails = OutputDetails()


class Batch(Struct, frozen=True, kw_only=True):
    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    status: Status = "validating"
    errors: Errors | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None
    request_counts: RequestCounts = RequestCounts()
    usage: BatchUsage | None = None
    metadata: dict[str, str] | None = None
    object: Literal["batch"] = "batch"

    @property
    def is_over(self) -> bool:
        return self.status in ENDS


class Owned(Struct, frozen=True):
    """A batch as it is kept. caller: who made it, with their rights then. outputs_kept_s: how long its files are kept."""

    batch: Batch
    caller: Caller
    outputs_kept_s: int = KEPT_S


def new_file(filename: str, size: int, *, now: float, expiry: Expiry | None = None) -> FileObject:
    """One that was uploaded for a batch."""
    kept_s = KEPT_S if expiry is None else expiry.seconds
    created_at = int(now)
    return FileObject(
        id=f"file-{secrets.token_hex(12)}",
        bytes=size,
        created_at=created_at,
        filename=filename,
        purpose="batch",
        expires_at=created_at + kept_s,
    )


def output_id(batch: Batch, what: Output) -> str:
    """It follows from the batch's, so that a file that is written again takes the place of the first."""
    return f"file-{batch.id.removeprefix('batch_')}-{what}"


def output_file(batch: Batch, what: Output, size: int, *, now: float, kept_s: int) -> FileObject:
    created_at = int(now)
    return FileObject(
        id=output_id(batch, what),
        bytes=size,
        created_at=created_at,
        filename=f"{batch.id}_{what}.jsonl",
        purpose="batch_output",
        expires_at=created_at + kept_s,
    )


def new_batch(request: BatchRequest, *, now: float) -> Batch:
    created_at = int(now)
    return Batch(
        id=f"batch_{secrets.token_hex(12)}",
        endpoint=request.endpoint,
        input_file_id=request.input_file_id,
        completion_window=request.completion_window,
        created_at=created_at,
        expires_at=created_at + WINDOW_S[request.completion_window],
        metadata=request.metadata,
    )


def entered(batch: Batch, status: Status, *, now: float) -> Batch:
    """The batch in its next state; when it was first in one stands."""
    name = f"{status}_at"
    since = getattr(batch, name) or int(now)
    return msgspec.structs.replace(batch, status=status, **{name: since})


def counted(batch: Batch, counts: Counts, spent: Spent) -> Batch:
    """The batch with what is done of it."""
    total = spent.input_tokens + spent.output_tokens
    return msgspec.structs.replace(
        batch,
        request_counts=RequestCounts(counts.total, counts.completed, counts.failed),
        usage=BatchUsage(spent.input_tokens, spent.output_tokens, total),
    )
