"""`switchyard promote`: a trained router goes live, or the one before it comes back.

    switchyard promote artifacts/support --policy auto
    switchyard promote --rollback

Not here: what is written into the YAML (`orchestrator/fleet/promotion.py`). A running gateway takes it up by itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import ConfigOption
from orchestrator.errors import ConfigError


def promote(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="The artifact of `switchyard train`.")] = None,
    policy: Annotated[str, typer.Option(help="Whose router it becomes.")] = "auto",
    shadow: Annotated[bool, typer.Option("--shadow", help="Record its scores, and let it choose nothing.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the router before.")] = False,
    config: ConfigOption = None,
) -> None:
    """Make a trained router a policy's own; a running gateway swaps it without dropping a request."""
    from orchestrator.fleet.configfile import find_config
    from orchestrator.fleet.promotion import promote as make_live
    from orchestrator.fleet.promotion import roll_back

    path = find_config(config)
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
