"""`routers:` and `policies:` of `experts.yaml`: how scores are made, and how a plan is made of them.

policies:
  auto: {router: default, lambda: 0.2, mu: 0.01}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestrator.config.base import (
    DEFAULT_ROUTER,
    ExpertName,
    Name,
    NonNegative,
    Section,
)

Confidence = Literal["logprobs", "dispersion", "agreement", "self", "usable"]


class RouterSpec(BaseModel):
    """`type` names a router of the registry; every other key is a keyword argument of its constructor.

    Or `artifact` is the folder of a trained one, and `examples` an outcome file for experts that came after it. Relative paths
    count from the YAML's folder.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str | None = None
    artifact: Path | None = None
    examples: Path | None = None

    @model_validator(mode="after")
    def _is_made_in_one_way(self) -> Self:
        if self.artifact is None:
            if self.type is None:
                raise ValueError("expected the `type` of a router, or the `artifact` of a trained one")
            if self.examples is not None:
                raise ValueError(f"`examples` belongs to an `artifact`; a router of type '{self.type}' has none")
        elif unwanted := sorted(self.model_fields_set - {"artifact", "examples"}):
            raise ValueError(
                f"a trained router has `artifact` and perhaps `examples`, and nothing else; got '{unwanted[0]}'"
            )
        return self

    def parameters(self, base_dir: Path) -> dict[str, Any]:
        """The constructor's keyword arguments; a relative path in `data` counts from the YAML's folder."""
        extra = dict(self.model_extra or {})
        return extra | {"data": str(base_dir / extra["data"])} if isinstance(extra.get("data"), str) else extra

    @property
    def named_experts(self) -> tuple[tuple[str, str], ...]:
        """Experts that the parameters `expert` and `order` name, each with the parameter."""
        extra = self.model_extra or {}
        order = extra.get("order") if isinstance(extra.get("order"), list) else []
        named = [("expert", extra.get("expert")), *(("order", expert) for expert in order or ())]
        return tuple((key, expert) for key, expert in named if isinstance(expert, str))


class PolicySpec(Section):
    """How a router's scores become a plan. Utility is `reward - lambda * US cents - mu * seconds of wait`.

    shadow: a router whose scores are recorded with each decision and change nothing. previous: the one that `switchyard promote`
    replaced, to which its `--rollback` returns.

    mode: `one` expert answers, or a `cascade`: the cheapest first, and up to `steps` experts until one is sure of its answer. It is
    when its `confidence` is at least `threshold`: mean token probability (`logprobs`), how little its predictions are spread
    (`dispersion`), the share of `samples` that conclude alike (`agreement`), what it says when asked (`self`), or whether its
    answer can be used at all (`usable`).

    Or as many as it takes (`adaptive`): one expert where the router expects a reward of `sure` or more of it; else at once as many
    as have `top_p` of the shares together, up to `width`; and where these disagree one more, or the `panel` of that name. The
    numbers are found by `switchyard fuse depth`. retry_unusable: with mode `one`, while an answer can't be used the next best
    expert is asked, up to `max_attempts`.
    """

    router: str = DEFAULT_ROUTER
    mode: Literal["one", "cascade", "adaptive"] = "one"
    confidence: Confidence = "logprobs"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.7
    steps: Annotated[int, Field(ge=2)] = 2
    samples: Annotated[int, Field(ge=2)] = 3
    sure: NonNegative = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.4
    width: Annotated[int, Field(ge=2)] = 5
    panel: Name | None = None
    retry_unusable: bool = False
    previous: Name | None = None
    shadow: Name | None = None
    lambda_: Annotated[float, Field(ge=0, alias="lambda")] = 0.0
    mu: NonNegative = 0.0
    explore: Annotated[float, Field(ge=0, le=1)] = 0.0
    near_tie: NonNegative = 0.05
    stay: NonNegative = 0.15
    experts: tuple[ExpertName, ...] | None = None
    max_attempts: Annotated[int, Field(ge=1)] = 4

    @model_validator(mode="after")
    def _keys_are_of_its_mode(self) -> Self:
        given = self.model_fields_set
        for mode, keys in _OF_MODES.items():
            if self.mode != mode and (unused := sorted(given & keys)):
                raise ValueError(f"`{unused[0]}` belongs to a policy with `mode: {mode}`")
        if "samples" in given and self.confidence != "agreement":
            raise ValueError(f"`samples` belongs to `confidence: agreement`, and this policy's is {self.confidence}")
        if "threshold" in given and self.confidence == "usable":
            raise ValueError("an answer is usable or it is not: `confidence: usable` has no `threshold`")
        if self.explore and (self.mode != "one" or self.retry_unusable):
            raise ValueError("a policy that may ask several experts does not explore: expected `explore: 0`")
        return self

    @property
    def holds_by(self) -> Confidence:
        """What answers are judged by that are held back."""
        return "usable" if self.retry_unusable else self.confidence


_OF_MODES = {
    "cascade": {"confidence", "threshold", "steps", "samples"},
    "adaptive": {"sure", "top_p", "width", "panel"},
    "one": {"retry_unusable"},
}
