"""Options that several commands share: `def serve(config: ConfigOption = None)`. What they mean is the commands' affair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="F", help="Default: $SWITCHYARD_CONFIG, else ./experts.yaml.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
UrlOption = Annotated[str | None, typer.Option("--url", help="A running gateway. Default: where the YAML says.")]
