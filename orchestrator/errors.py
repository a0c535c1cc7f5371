"""Every error Switchyard raises on purpose, and the HTTP status each one means.

    SwitchyardError
    ├── ConfigError                 experts.yaml can't be used (command line; never HTTP)
    ├── MissingExtra                a backend needs an optional dependency
    ├── DataError                   outcomes, an artifact or a router's settings can't be used (command line)
    ├── PullError                   weights could not be fetched (command line)
    ├── LabelError                  queries can't be labelled as asked (command line)
    ├── GatewayError                a running gateway could not be asked (command line)
    ├── RequestError        400     the client can mend it
    │   ├── ContextTooLong  400     no expert's context holds prompt + max_tokens
    │   ├── Unauthorized    401
    │   ├── Forbidden       403
    │   ├── UnknownModel    404
    │   ├── NotFound        404
    │   ├── BodyTooLarge    413
    │   └── RateLimited     429     carries the seconds to wait
    ├── ExpertError                 one attempt at one expert failed; the fallback decides what follows
    │   ├── ExpertRejected          the expert says the request itself is wrong
    │   └── NoQuorum                too few of a panel's members answered
    ├── AllExpertsFailed    502
    ├── NoCapacity          503
    └── DeadlineExceeded    504

The gateway turns them into OpenAI's error body in one place (`orchestrator/gateway/errors.py`). Messages are shown to
clients: they never hold a key, a path of this machine or an upstream's address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

FailureKind = Literal[
    "refused",  # no connection
    "unreachable",  # nothing is heard of its machine: before there is a connection, or amid the answer
    "reset",  # the connection broke before the answer was whole
    "timeout",  # the attempt's own time ran out
    "rate_limited",  # 429
    "overloaded",  # 503, 529
    "server_error",  # other 5xx
    "unauthorized",  # our key for this expert is wrong: 401, 403
    "malformed",  # HTML, half a JSON, a body that is not what was asked for
    "not_loaded",  # its weights could not be brought into memory
    "truncated",  # a stream that stopped without its end
    "no_quorum",  # a panel, too few of whose members answered
]


_PASSING = frozenset({"refused", "unreachable", "reset", "rate_limited", "overloaded", "server_error"})


class SwitchyardError(Exception):
    """Root of the tree. `status` is the HTTP status, `type` and `code` are OpenAI's error fields."""

    status = 500
    type = "api_error"
    code: str | None = None

    @property
    def message(self) -> str:
        """What a client is told."""
        return str(self)


class ConfigError(SwitchyardError):
    """`experts.yaml` can't be used. The text names file, line, key, value and what was expected."""


class MissingExtra(SwitchyardError):
    """A backend or feature needs an optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency: pip install 'switchyard-llm[{extra}]'")


class DataError(SwitchyardError):
    """Outcomes, an artifact or a router's settings can't be used. The text names the file or setting and what was expected."""


class PullError(SwitchyardError):
    """Weights could not be fetched, or are not what their hash says."""


class LabelError(SwitchyardError):
    """Queries can't be labelled as asked. The text names the file and line, or the option, and what was expected."""


class GatewayError(SwitchyardError):
    """A running gateway could not be asked, or answered with an error."""


class RequestError(SwitchyardError):
    """The client can mend it. `param` names the offending field in OpenAI's notation, if there is one."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        if code is not None:
            self.code = code


class ContextTooLong(RequestError):
    """Prompt and max_tokens together fit no expert that could serve the request."""

    code = "context_length_exceeded"


class Unauthorized(RequestError):
    """No valid API key was given."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(RequestError):
    """The key is valid and may not do this."""

    status = 403
    type = "permission_error"
    code = "forbidden"


class UnknownModel(RequestError):
    """`model` names no expert, policy or panel."""

    status = 404
    code = "model_not_found"


class NotFound(RequestError):
    """A decision, a path or another thing that isn't there."""

    status = 404
    code = "not_found"


class BodyTooLarge(RequestError):
    """The request body is larger than `gateway.max_body_mb`."""

    status = 413
    code = "body_too_large"


class RateLimited(RequestError):
    """Admission refused. `retry_after_s` is computed from the queue or the limit that refused."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ExpertError(SwitchyardError):
    """One attempt at one expert failed.

    kind: what happened. retry_after_s: what the expert asked for, if it did. lasting: it would fail again, whatever the kind.
    The text is for the ledger and the log; clients see it only inside `AllExpertsFailed`, so it holds no address, key or path.
    """

    status = 502

    def __init__(
        self,
        expert: str,
        kind: FailureKind,
        message: str,
        *,
        retry_after_s: float | None = None,
        lasting: bool = False,
    ) -> None:
        super().__init__(message)
        self.expert = expert
        self.kind: FailureKind = kind
        self.retry_after_s = retry_after_s
        self.lasting = lasting

    @property
    def retryable(self) -> bool:
        """Whether the same expert may do better in a moment."""
        return not self.lasting and self.kind in _PASSING


class ExpertRejected(ExpertError):
    """The expert says the request itself is wrong (its 400, 404, 413, 422): nobody's health suffers for it.

    code is the expert's own (`context_length_exceeded` sends the query to a larger expert).
    """

    def __init__(self, expert: str, message: str, *, status: int, code: str | None, param: str | None) -> None:
        super().__init__(expert, "malformed", message)
        self.status = status
        self.code = code
        self.param = param

    @property
    def retryable(self) -> bool:
        return False


class NoQuorum(ExpertError):
    """Too few of a panel's members answered. causes: what was raised by those that did not; None where nothing was."""

    def __init__(self, message: str, *, causes: Sequence[SwitchyardError | None] = (), panel: str = "") -> None:
        super().__init__(panel, "no_quorum", message)
        self.causes = tuple(causes)

    @property
    def retryable(self) -> bool:
        return False


class AllExpertsFailed(SwitchyardError):
    """Every feasible expert was tried and failed, or none was left to try."""

    status = 502
    code = "all_experts_failed"


class NoCapacity(SwitchyardError):
    """The service is shutting down, or no expert can take the query now."""

    status = 503
    type = "overloaded_error"
    code = "no_capacity"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(SwitchyardError):
    """`gateway.request_timeout_s` ran out."""

    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class LedgerUnavailable(SwitchyardError):
    """The ledger's database is locked, full or damaged. Answers don't wait for it; feedback and collections do."""

    status = 503
    code = "ledger_unavailable"
