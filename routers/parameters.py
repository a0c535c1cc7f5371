"""Settings from a file or a command line, checked against the annotations of the constructor that takes them.

    arguments = checked_parameters("a router of type 'knn'", KnnRouter, {"k": 20}, given=("experts", "encoder"))

So a typo in `experts.yaml` is an error and never silence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

_FINITE = ConfigDict(allow_inf_nan=False)


def checked_parameters(
    what: str, made_by: Callable[..., Any], parameters: Mapping[str, Any], *, given: Collection[str]
) -> dict[str, Any]:
    """`parameters` with the types that the constructor declares. given: arguments that are no parameters.

    Raises ValueError that names the parameter, what it got and what is accepted.
    """
    hints = get_type_hints(made_by.__init__, include_extras=True)
    accepted = {name: hint for name, hint in hints.items() if name not in (*given, "return")}
    checked = {}
    for name, value in parameters.items():
        if name not in accepted:
            known = ", ".join(accepted) or "none"
            raise ValueError(f"unknown parameter '{name}' of {what}, which accepts: {known}")
        try:
            checked[name] = TypeAdapter(accepted[name], config=_FINITE).validate_python(value)
        except ValidationError as exc:
            reason = exc.errors()[0]["msg"]
            raise ValueError(f"parameter '{name}' of {what}: {reason}, got {value!r}") from exc
    return checked
