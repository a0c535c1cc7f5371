"""What a running gateway says of its experts, for commands.

    told = await running_experts(admin_url(config=None, url=None))
    told.data, told.memory

Not here: what it says it from (`orchestrator/gateway/admin.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.gateway.admin import ExpertList


def admin_url(config: Path | None, url: str | None) -> str:
    """The gateway that is meant: by default where the YAML says. Raises `ConfigError`."""
    from orchestrator.client import gateway_url
    from orchestrator.fleet.configfile import find_config, read_config

    return gateway_url(read_config(find_config(config)).gateway) if url is None else url


async def running_experts(url: str) -> ExpertList:
    """Raises `GatewayError`."""
    import msgspec

    from orchestrator.client import read
    from orchestrator.errors import GatewayError
    from orchestrator.gateway.admin import ExpertList

    try:
        return msgspec.json.decode(await read(url, "/admin/experts"), type=ExpertList)
    except msgspec.DecodeError as exc:
        raise GatewayError(f"no gateway of this version answers at {url}: {exc}") from exc
