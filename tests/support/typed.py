"""Does a JSON value fit a type of somebody else's client, exactly: no missing field, no wrong type, no unknown field?

from openai.types.responses import Response
assert_fits(Response, body)
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter


def assert_fits(kind: Any, value: Any, *, besides: Collection[str] = ()) -> None:
    """`kind` is a model of the client (answers), or a TypedDict (requests). besides: unknown fields that are expected."""
    read = _adapter(kind).validate_python(value, strict=True)
    unknown = [path for path in _unknown(read, value, "$") if path.rpartition(".")[2] not in besides]
    assert not unknown, f"fields the client does not know: {unknown}"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _unknown(read: Any, value: Any, path: str) -> Iterator[str]:
    """Models keep unknown fields as extras, TypedDicts leave them out."""
    if isinstance(read, BaseModel):
        yield from (f"{path}.{name}" for name in read.model_extra or ())
        for name, field in type(read).model_fields.items():
            key = field.alias or name
            if key in value:
                yield from _unknown(getattr(read, name), value[key], f"{path}.{key}")
    elif isinstance(value, Mapping):
        yield from (f"{path}.{name}" for name in value.keys() - read.keys())
        for name, item in read.items():
            yield from _unknown(item, value[name], f"{path}.{name}")
    elif isinstance(value, list):  # an Iterable in the type is validated while it is read
        for i, (item, original) in enumerate(zip(read, value, strict=True)):
            yield from _unknown(item, original, f"{path}[{i}]")
