"""`switchyard promote`: a trained router goes live, or the one before it comes back.

    switchyard promote artifacts/support --policy auto
    switchyard promote artifacts/support --if-better      # only if it would have earned more than what was live
    switchyard promote --rollback

Not here: what is written into the YAML (`orchestrator/fleet/promotion.py`). A running gateway takes it up by itself.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.offpolicy import SinceOption, compare_with_live
from orchestrator.commands.options import ConfigOption
from orchestrator.errors import ConfigError, DataError


def promote(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="The artifact of `switchyard train`.")] = None,
    policy: Annotated[str, typer.Option(help="Whose router it becomes.")] = "auto",
    shadow: Annotated[bool, typer.Option("--shadow", help="Record its scores, and let it choose nothing.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the router before.")] = False,
    if_better: Annotated[
        bool, typer.Option("--if-better", help="Only if, by the ledger, it would have earned more than what was live.")
    ] = False,
    since: SinceOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a trained router a policy's own; a running gateway swaps it without dropping a request."""
    from orchestrator.fleet.configfile import find_config
    from orchestrator.fleet.promotion import promote as make_live
    from orchestrator.fleet.promotion import roll_back

    path = find_config(config)
    if since is not None and not if_better:
        raise ConfigError("--since belongs to --if-better")
    if if_better:
        if folder is None or shadow or rollback:
            raise ConfigError("--if-better takes the DIR of an artifact, and neither --shadow nor --rollback")
        _require_better(folder, config, policy, since)
    if rollback and folder is None and not shadow:
        live = roll_back(path, policy=policy)
    elif folder is not None and not rollback:
        live = make_live(path, folder, policy=policy, shadow=shadow)
    else:
        raise ConfigError("expected the DIR of an artifact, or --rollback alone")
    role, name = ("shadow", live.shadow) if shadow else ("router", live.router)
    typer.echo(f"{name} is the {role} of {policy} in {path}")
    if live.previous is not None and not shadow:
        typer.echo(f"`switchyard promote --rollback --policy {policy}` returns to {live.previous}")


def _require_better(folder: Path, config: Path | None, policy: str, since: datetime | None) -> None:
    """Say by how much the artifact's router would have earned more than what was live; raise `DataError` where that isn't shown."""
    compared = compare_with_live(folder, config, policy=policy, since=since).comparison
    if compared.verdict != "promote":
        raise DataError(f"{folder}: is not promoted: {compared.reason}")
    typer.echo(compared.reason)
