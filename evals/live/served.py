"""What a gateway serves under each name, kept beside the journal: answers must not outlive what gave them.

    require_same(Path("out"), await gateway.served(["auto", "smollm2"]))    # DataError where `auto` was another router's

Of an expert it is what `GET /v1/models` tells: backend, capabilities, context. Of a policy or a panel it is whom it chooses among,
and of a policy the name of its router and the fingerprint of the artifact. What a gateway tells nobody goes unnoticed: other
weights or another address behind an expert's name, other settings of a router without an artifact or of a policy, and what a router
has learned while it served. After these a live sweep wants another folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from evals.files import write_whole
from orchestrator.errors import DataError

JOURNAL = "live.journal"
SERVED = "live.served.json"


class Served(msgspec.Struct, frozen=True):
    """A model by what answers for it. experts: of a policy or a panel. router, artifact: of a policy."""

    kind: str
    backend: str
    capabilities: tuple[str, ...] = ()
    context: int | None = None
    experts: tuple[str, ...] = ()
    router: str | None = None
    artifact: str | None = None


def require_same(out: Path, served: Mapping[str, Served]) -> None:
    """Put down what is served, unless the journal in `out` has answers from before a model changed: `DataError`."""
    known = _read(out)
    for name, now in served.items():
        if known.get(name, now) != now:
            raise DataError(
                f"{out}: its answers of '{name}' are from before the gateway's '{name}' changed; give another folder"
            )
    write_whole(out / SERVED, lambda file: file.write(msgspec.json.format(msgspec.json.encode({**known, **served}))))


def _read(out: Path) -> dict[str, Served]:
    """Of a journal without answers, nothing."""
    if not (out / JOURNAL).stat().st_size:
        return {}
    try:
        return msgspec.json.decode((out / SERVED).read_bytes(), type=dict[str, Served])
    except (OSError, msgspec.MsgspecError) as exc:
        raise DataError(f"{out}: doesn't tell what gave the answers in {JOURNAL} ({exc}); give another folder") from exc
