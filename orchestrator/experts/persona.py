"""A system prompt over another expert, which answers with its own weights; the prompt is given, or written for each query.

    experts:
      - {name: pirate, backend: persona, base: smollm2, system: You are a pirate.}
      - {name: specialist, backend: persona, base: smollm2, identity: synthesised}

With `identity: synthesised` the base first says who would answer the question best, shown examples of such identities, and then
answers as that one (ExpertPrompting, arXiv 2305.14688). `system` stands before the identity, and both before what the client's
system message says. Both calls are in the answer's usage. Where no identity comes about, it answers without, and the log says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from orchestrator.config import IDENTITY_TOKENS, PersonaSpec
from orchestrator.errors import ConfigError, ExpertError
from orchestrator.experts.base import Expert, Services
from orchestrator.experts.envelope import answer_text
from orchestrator.experts.inputs import last_user_text
from orchestrator.experts.parameters import Parameters
from orchestrator.experts.prompted import NOTHING, ask_base, with_system
from orchestrator.labelling.quoting import harmless, quoted, without_thinking
from orchestrator.prompts import Prompts, read_prompts
from orchestrator.types import Answer, Call, Usage

logger = logging.getLogger(__name__)


def make(spec: PersonaSpec, services: Services) -> Expert:
    """Raises `ConfigError` when the folder `prompts` can't be used."""
    folder = None if spec.prompts is None else services.base_dir / spec.prompts
    try:
        return Persona(spec, services.expert, read_prompts("persona", folder))
    except ConfigError as exc:
        raise ConfigError(f"experts.{spec.name}: {exc.message}") from exc


class Persona:
    """expert: finds the base. prompts: `identity` asks for an identity that suits `$question`."""

    def __init__(self, spec: PersonaSpec, expert: Callable[[str], Expert], prompts: Prompts) -> None:
        self._spec = spec
        self._expert = expert
        self._prompts = prompts
        self._parameters = Parameters(spec.name, spec.parameters)

    async def answer(self, call: Call) -> Answer:
        body = self._parameters.apply(call.body)
        identity, spent = await self._identity(call) if self._spec.identity else ("", NOTHING)
        if system := "\n\n".join(filter(None, (self._spec.system, identity))):
            body["messages"] = with_system(body["messages"], system)
        return await ask_base(self._spec, self._expert, replace(call, body=body), spent)

    async def _identity(self, call: Call) -> tuple[str, Usage]:
        """Who should answer, in half of the time there is, and what finding out has used; empty when that fails."""
        question = last_user_text(call.body)
        if not question:
            return "", NOTHING
        messages = self._prompts.messages("identity", question=quoted("question", question))
        body = {"model": self._spec.base, "messages": messages, "max_tokens": IDENTITY_TOKENS, "temperature": 0}
        deadline = time.monotonic() + call.remaining_s / 2
        try:
            answer = await self._expert(self._spec.base).answer(replace(call, body=body, deadline=deadline))
        except ExpertError as error:
            logger.warning("%s answers without an identity: %s", self._spec.name, error.message)
            return "", NOTHING
        identity = harmless(without_thinking(answer_text(msgspec.json.decode(answer.body or b"{}")))).strip()
        if not identity:
            logger.warning("%s answers without an identity: %s wrote none", self._spec.name, self._spec.base)
        return identity, answer.usage
