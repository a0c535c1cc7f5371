"""The parameter map of an expert, applied: request parameters renamed, set, dropped or refused on their way to it.

    parameters = Parameters("gpt-large", ParameterMap(rename={"max_tokens": "max_completion_tokens"}, drop=("top_k",)))
    parameters.apply({"messages": [...], "max_tokens": 5, "top_k": 3})      # {"messages": [...], "max_completion_tokens": 5}

Every name is the client's, and `null` is the same as absent. A parameter that the map does not name passes untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.config import ParameterMap
from orchestrator.errors import ExpertRejected


class Parameters:
    """One expert's map. `touches(name)` tells whether it says anything about a parameter."""

    def __init__(self, expert: str, parameters: ParameterMap) -> None:
        self._expert = expert
        self._reject = parameters.reject
        self._drop = parameters.drop
        self._rename = tuple(parameters.rename.items())
        self._set = parameters.set
        self._names = {*self._reject, *self._drop, *parameters.rename, *self._set}

    def touches(self, name: str) -> bool:
        return name in self._names

    def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A new body; the values in it are shared with the old one.

        In order: reject, drop, rename, set. A renamed parameter gives way to one the client already sent under the new name.
        Raises `ExpertRejected` naming the refused parameter.
        """
        for name in self._reject:
            if body.get(name) is not None:
                raise unsupported(self._expert, name)
        mapped = dict(body)
        for name in (*self._reject, *self._drop):
            mapped.pop(name, None)
        for old, new in self._rename:
            value = mapped.pop(old, None)
            if value is not None and mapped.get(new) is None:
                mapped[new] = value
        mapped.update(self._set)
        return mapped


def unsupported(expert: str, name: str) -> ExpertRejected:
    """The rejection of a parameter, in OpenAI's terms."""
    message = f"{name} is not supported by {expert}"
    return ExpertRejected(expert, message, status=400, code="unsupported_parameter", param=name)
