"""`switchyard export`: the ledger's scored decisions as an outcome file.

    switchyard export --out scored.jsonl

Not here: the format (`routers/data/outcomes.py`).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.commands.options import ConfigOption
from orchestrator.errors import ConfigError


def export(
    out: Annotated[
        Path, typer.Option("--out", metavar="O.jsonl", help="The outcome file to write (.jsonl or .jsonl.gz).")
    ],
    config: ConfigOption = None,
) -> None:
    """Write the ledger's scored decisions as an outcome file."""
    from orchestrator.fleet.configfile import find_config

    if out.is_dir():
        raise ConfigError(f"{out}: is a folder, expected a file to write")
    typer.echo(f"wrote {asyncio.run(write_ledger(find_config(config), out))} outcomes to {out}")


async def write_ledger(config_path: Path, out: Path) -> int:
    """Write the scored decisions of this YAML's ledger, and return how many. Raises `ConfigError`."""
    from orchestrator.fleet.configfile import read_config
    from orchestrator.service import make_ledger
    from routers.data.outcomes import write_outcomes

    ledger = make_ledger(read_config(config_path), config_path.parent)
    await ledger.open()
    try:
        return write_outcomes(out, [outcome async for outcome in ledger.outcomes()])
    except OSError as exc:
        raise ConfigError(f"{out}: can't be written: {exc.strerror}") from exc
    finally:
        await ledger.close()
