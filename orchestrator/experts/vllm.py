"""Models served by vLLM, launched as `vllm serve MODEL ARGS` from an environment of its own.

    experts:
      - name: qwen
        backend: vllm
        model: Qwen/Qwen3-8B                      # a name on the hub, or weights as for other backends
        executable: /opt/vllm/bin/vllm
        context: 32768
        args: [--gpu-memory-utilization, "0.4", --enable-auto-tool-choice, --tool-call-parser, hermes]
        residency: {memory_gb: 32, sleep: 1}      # asleep, its weights wait in the host's memory; with 2, on disk

`args` come last, so they win. The bearer token goes by `VLLM_API_KEY`, which guards `/v1`; `/health` is open. So are the requests
that put vLLM to sleep, which it offers in its development mode only, beside others that can change the model: with `sleep`, whoever
may open connections to the machine it runs on can send them.

Level 2 drops the weights. They must be read again after their memory is back and before that of the KV cache is: woken in any other
order, vLLM answers with noise (its documentation, "Sleep Mode"). A draft model for speculative decoding is not read again, which
makes answers slower, not wrong. vLLM sleeps on CUDA and ROCm; on other platforms it says so at its start, and ends.
"""

from __future__ import annotations

from orchestrator.config import VLLMSpec
from orchestrator.experts.base import Expert, ServerCommand, Services, Site, Sleep, Step
from orchestrator.experts.served import served_expert

DEVELOPMENT = {"VLLM_SERVER_DEV_MODE": "1"}
FORGET_PREFIXES: Step = ("/reset_prefix_cache", {})
"""What it remembers of prompts points into a KV cache that is gone."""
WAKE: dict[int, tuple[Step, ...]] = {
    1: (("/wake_up", {}), FORGET_PREFIXES),
    2: (
        ("/wake_up?tags=weights", {}),
        ("/collective_rpc", {"method": "reload_weights"}),
        ("/wake_up?tags=kv_cache", {}),
        FORGET_PREFIXES,
    ),
}
COUNTING = "1 2 3 4 5 6 7 8 9 10 11 12"
"""A prompt whose next tokens no model doubts, so that what batching does to the last bits of a sum changes nothing."""


def make(spec: VLLMSpec, services: Services) -> Expert:
    return served_expert(spec, services)


def launch(spec: VLLMSpec, site: Site) -> ServerCommand:
    model = spec.model if isinstance(spec.model, str) else str(site.weights(spec.model))
    context = ("--max-model-len", str(spec.context)) if spec.context else ()
    sleep = None if spec.residency.sleep is None else sleeping(spec.name, spec.residency.sleep)
    return ServerCommand(
        argv=(
            *(spec.executable, "serve", model),
            *("--host", "{host}", "--port", "{port}", "--served-model-name", spec.name),
            *(("--enable-sleep-mode",) if sleep else ()),
            *(*context, *spec.args),
        ),
        env={"VLLM_API_KEY": "{token}", **(DEVELOPMENT if sleep else {}), **spec.env},
        timeout_s=spec.timeouts.load_s,
        cwd=site.base_dir,
        sleep=sleep,
    )


def sleeping(name: str, level: int) -> Sleep:
    """How the server of this name sleeps. level: 1 or 2."""
    counting = {"model": name, "prompt": COUNTING, "max_tokens": 6, "temperature": 0}
    return Sleep(
        fall=((f"/sleep?level={level}", {}),),
        wake=WAKE[level],
        sleeping="/is_sleeping",
        canary=("/v1/completions", counting),
    )
