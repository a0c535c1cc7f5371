"""/v1/files as OpenAI has it, for batches: uploaded, listed, read and deleted, each by the key whose they are.

    curl -F purpose=batch -F file=@in.jsonl http://127.0.0.1:8700/v1/files

Not here: where they are kept (`orchestrator/bulk/uploads.py`), and what batches make of them (`batches.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, TypeVar, cast
from urllib.parse import parse_qs

from msgspec import Struct
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from orchestrator.bulk.objects import Batch, Expiry, FileObject
from orchestrator.bulk.store import Page
from orchestrator.errors import NotFound, RequestError
from orchestrator.gateway.http import Request
from orchestrator.gateway.validation import validate

if TYPE_CHECKING:
    from orchestrator.bulk.batches import Batches

MAX_FIELDS = 16
FORM_BYTES = 100_000
"""What the form around a file may take."""
PIECE_BYTES = 1 << 20
MOST_FILES = 10_000
UPLOAD: dict[str, Any] = {
    "type": "object",
    "description": "`expires_after[anchor]` (created_at) and `expires_after[seconds]` (3600 to 2592000) say when it is deleted.",
    "required": ["file", "purpose"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "purpose": {"type": "string", "enum": ["batch"]},
    },
}
"""The form of an upload, for the OpenAPI document."""

ObjectT = TypeVar("ObjectT", FileObject, Batch)


class FileList(Struct):
    data: list[FileObject]
    has_more: bool
    first_id: str | None
    last_id: str | None
    object: Literal["list"] = "list"


class FileDeleted(Struct):
    id: str
    deleted: Literal[True] = True
    object: Literal["file"] = "file"


async def upload(request: Request) -> None:
    """A form with `file` and `purpose`, of which only `batch` is known here."""
    uploads = (await opened(request)).uploads
    most = int(request.context.config().batches.max_file_mb * 1_000_000) + FORM_BYTES
    declared = _whole(request.header(b"content-length") or "")
    async with (
        uploads.room(most if declared is None else min(declared, most)) as folder,
        _form(request, most, folder) as form,
    ):
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise RequestError("The form has no `file`.", param="file")
        if purpose != "batch":
            raise RequestError("Files are kept for batches here: `purpose` must be `batch`.", param="purpose")
        name = (file.filename or "")[:255]
        kept = await uploads.add(request.caller, name, file.file, file.size or 0, _expiry(form))
    await request.respond_json(kept)


async def list_files(request: Request) -> None:
    uploads = (await opened(request)).uploads
    asked = PageQuery(request)
    page = Page(asked.limit(MOST_FILES, MOST_FILES) + 1, asked.text("after"), asked.order() == "desc")
    found, has_more = cut(await uploads.page(request.caller, page, asked.text("purpose")), page)
    ends = (found[0].id, found[-1].id) if found else (None, None)
    await request.respond_json(FileList(found, has_more, *ends))


async def get_file(request: Request) -> None:
    uploads = (await opened(request)).uploads
    await request.respond_json(await uploads.get(request.caller, request.path_params["file"]))


async def delete_file(request: Request) -> None:
    uploads = (await opened(request)).uploads
    await uploads.delete(request.caller, request.path_params["file"])
    await request.respond_json(FileDeleted(request.path_params["file"]))


async def get_content(request: Request) -> None:
    """The bytes as they are, piece by piece."""
    uploads = (await opened(request)).uploads
    file, contents = await uploads.contents(request.caller, request.path_params["file"])
    with contents:
        await request.respond_pieces(_pieces(contents), file.bytes)


async def _pieces(contents: IO[bytes]) -> AsyncGenerator[bytes, None]:
    while piece := await asyncio.to_thread(contents.read, PIECE_BYTES):
        yield piece


async def opened(request: Request) -> Batches:
    """What runs batches, ready to be asked. Raises `NotFound` where nothing does."""
    batches = request.context.batches
    if batches is None:
        raise NotFound("There are no batches here.")
    await batches.open()
    return batches


class PageQuery:
    """The query string of a list."""

    def __init__(self, request: Request) -> None:
        raw: bytes = request.scope["query_string"]
        self._values = parse_qs(raw.decode("latin-1"), keep_blank_values=False)

    def text(self, name: str) -> str | None:
        """The last of that name, as in a body; None where there is none."""
        return self._values.get(name, [None])[-1]

    def limit(self, most: int, default: int) -> int:
        """Raises `RequestError` for what is no number from 1 to `most`."""
        said = self.text("limit")
        if said is None:
            return default
        if (number := _whole(said)) is None or not 1 <= number <= most:
            raise RequestError(f"Expected a whole number from 1 to {most}, got {said[:40]!r}.", param="limit")
        return number

    def order(self) -> str:
        said = self.text("order") or "desc"
        if said not in ("asc", "desc"):
            raise RequestError(f"Expected asc or desc, got {said[:40]!r}.", param="order")
        return said


def cut(found: list[ObjectT], page: Page) -> tuple[list[ObjectT], bool]:
    """A page that was asked for with one more than is shown, and whether there are more."""
    return found[: page.limit - 1], len(found) == page.limit


def _expiry(form: FormData) -> Expiry | None:
    """Form fields that are all text. Raises `RequestError`."""
    given = {name: form.get(f"expires_after[{name}]") for name in ("anchor", "seconds")}
    if not any(given.values()):
        return None
    seconds = str(given["seconds"])
    number = _whole(seconds)
    return validate(Expiry, {"anchor": given["anchor"], "seconds": seconds if number is None else number})


def _whole(text: str) -> int | None:
    """A number of at most ten digits; None for anything else, such as the digits of other scripts."""
    return int(text) if len(text) <= 10 and text.isascii() and text.isdigit() else None


class _Parser(MultiPartParser):
    """folder: where files wait until they have come, which is the disk that they are counted on."""

    def __init__(self, headers: Headers, pieces: AsyncGenerator[bytes, None], folder: Path) -> None:
        super().__init__(headers, pieces, max_files=1, max_fields=MAX_FIELDS)
        self._folder = folder

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if (file := self._current_part.file) is not None:
            spool = SpooledTemporaryFile(max_size=self.spool_max_size, dir=str(self._folder))  # noqa: SIM115 (the form closes it)
            self._files_to_close_on_error.append(spool)
            file.file.close()
            file.file = cast("BinaryIO", spool)


@asynccontextmanager
async def _form(request: Request, most: int, folder: Path) -> AsyncIterator[FormData]:
    """Of `most` bytes. Raises `RequestError` for what is no form with one file, and `BodyTooLarge`."""
    if not (request.header(b"content-type") or "").lower().startswith("multipart/form-data"):
        raise RequestError("Expected a form: content-type multipart/form-data.", param="file")
    parser = _Parser(Headers(raw=request.scope["headers"]), request.pieces(most), folder)
    try:
        form = await parser.parse()
    except MultiPartException as exc:
        raise RequestError(f"The form can't be read: {exc.message}", param="file") from exc
    try:
        yield form
    finally:
        await form.close()
