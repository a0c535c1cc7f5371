"""Models served by vLLM, launched as `vllm serve MODEL ARGS` from an environment of its own.

    experts:
      - name: qwen
        backend: vllm
        model: Qwen/Qwen3-8B                      # a name on the hub, or weights as for other backends
        executable: /opt/vllm/bin/vllm
        context: 32768
        args: [--gpu-memory-utilization, "0.4", --enable-auto-tool-choice, --tool-call-parser, hermes]

`args` come last, so they win. The bearer token goes by `VLLM_API_KEY`, which guards `/v1`; `/health` is open. Not here: sleep mode.
"""

from __future__ import annotations

from orchestrator.config import VLLMSpec
from orchestrator.experts.base import Expert, ServerCommand, Services
from orchestrator.experts.served import served_expert


def make(spec: VLLMSpec, services: Services) -> Expert:
    return served_expert(spec, services)


def launch(spec: VLLMSpec, services: Services) -> ServerCommand:
    model = spec.model if isinstance(spec.model, str) else str(services.weights(spec.model))
    context = ("--max-model-len", str(spec.context)) if spec.context else ()
    return ServerCommand(
        argv=(
            *(spec.executable, "serve", model),
            *("--host", "127.0.0.1", "--port", "{port}", "--served-model-name", spec.name),
            *(*context, *spec.args),
        ),
        env={"VLLM_API_KEY": "{token}", **spec.env},
        timeout_s=spec.timeouts.load_s,
        cwd=services.base_dir,
    )
