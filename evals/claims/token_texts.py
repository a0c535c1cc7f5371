"""SmolLM2 under several prompts, reading texts token by token: what the claims about fused tokens stand on.

    texts = reading((GENERAL, COOK, FORECASTER))
    texts[0].held(rule)                     # what the fused models held of a token on average, and each model alone

The texts were written for this: recipes and weather reports, each line of one domain. Not here: what is claimed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.claims.held_out import SHIPPED
from orchestrator.aggregators.tokens.decoding import Floats, Rule, aligned, unlisted
from orchestrator.config import ServedBase
from orchestrator.engines.local import LocalEngine
from orchestrator.experts.llamacpp_tokens import TokenModel
from orchestrator.experts.session import open_session
from orchestrator.fleet.configfile import load_config
from orchestrator.fleet.launching import Launch

MODEL = "smollm2"
SECONDS = 1_200.0
REQUEST = "Go on."
GENERAL, PLAIN, COOK, FORECASTER = (
    "You are a helpful assistant.",
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    "You write recipes. Melt the butter in a pan, add the chopped onions and fry them until golden, then stir in the flour.",
    "You write weather reports. Rain will spread from the west tonight, with winds up to 40 km/h and temperatures near 8 degrees.",
)
RECIPES = (
    "Whisk the eggs with the sugar until pale, then fold in the melted butter.",
    "Simmer the lentils with garlic and cumin for twenty minutes, until they are soft.",
    "Spread the dough on a tray, brush it with olive oil and sprinkle salt over it.",
    "Add the stock a ladle at a time, stirring the rice until it is creamy.",
    "Roast the carrots at 200 degrees with honey and thyme until they caramelise.",
    "Drain the pasta, keep a cup of its water, and toss it with the cheese.",
    "Slice the aubergine thinly, salt it, and fry it in hot oil on both sides.",
    "Let the dough rise for an hour, then knead it again and shape the loaf.",
    "Marinate the chicken in yoghurt, lemon and paprika overnight in the fridge.",
    "Pour the batter into a hot pan and flip the pancake once bubbles appear.",
    "Blend the tomatoes with basil, season with pepper and serve the soup cold.",
    "Bake the biscuits for ten minutes and leave them on a rack to cool.",
)
REPORTS = (
    "Fog will clear by mid morning, leaving a dry day with sunny spells.",
    "A cold front brings heavy showers to the north, with thunder possible by evening.",
    "Highs of 24 degrees inland, cooler on the coast with a light sea breeze.",
    "Snow is expected above 600 metres, where roads may become icy overnight.",
    "Gusts of up to 90 km/h are likely along the coast on Friday afternoon.",
    "Clouds increase during the day, and drizzle reaches the hills after dark.",
    "Temperatures fall below freezing tonight, with a widespread frost in the valleys.",
    "High pressure keeps the weekend settled, warm and mostly dry across the region.",
    "Scattered storms move east, bringing hail and brief but intense downpours.",
    "Humidity stays high through Sunday, and the heat warning remains in force.",
    "Winds turn to the northwest and ease, while the last showers die out.",
    "Expect a bright start, then cloud and patchy rain spreading from the southwest.",
)


@dataclass(frozen=True, slots=True)
class Read:
    """One text. logprobs: for each token what the models held of those it could be, `(m, v)`. places: which of those it was."""

    logprobs: tuple[Floats, ...]
    places: tuple[int, ...]

    def held(self, rule: Rule) -> Floats:
        """The mean log-probability of a token, `(1 + m,)`: by the rule, and by each model."""
        total = np.zeros(1 + len(self.logprobs[0]))
        for logprobs, place in zip(self.logprobs, self.places, strict=True):
            fused = rule.fuse(logprobs)
            total[0] += fused[place] - np.logaddexp.reduce(fused)
            total[1:] += logprobs[:, place]
            rule.saw(logprobs[:, place])
        mean: Floats = total / len(self.places)
        return mean


def reading(systems: Sequence[str]) -> list[Read]:
    """`RECIPES`, then `REPORTS`, as read by the shipped SmolLM2 with each system prompt.

    Raises ConfigError when its weights have not been pulled.
    """
    return asyncio.run(_reading(systems))


async def _reading(systems: Sequence[str]) -> list[Read]:
    async with launched(len(systems)) as model:
        size = (await model.vocabulary()).size
        asked = [[{"role": "system", "content": system}, {"role": "user", "content": REQUEST}] for system in systems]
        prompts = [await model.prompt(messages) for messages in asked]
        return [await _read(model, prompts, await model.tokens(text), size) for text in (*RECIPES, *REPORTS)]


async def _read(model: TokenModel, prompts: Sequence[Sequence[int]], tokens: Sequence[int], size: int) -> Read:
    found, places = [], []
    for i, token in enumerate(tokens):
        steps = await asyncio.gather(*(model.next([*prompt, *tokens[:i]]) for prompt in prompts))
        ids, logprobs = aligned(steps, size)
        if token not in ids:
            ids = np.append(ids, token)
            logprobs = np.column_stack([logprobs, [unlisted(step, size) for step in steps]])
        found.append(logprobs)
        places.append(int(np.flatnonzero(ids == token)[0]))
    return Read(tuple(found), tuple(places))


@asynccontextmanager
async def launched(num_slots: int) -> AsyncGenerator[TokenModel]:
    """The shipped SmolLM2, with room for so many prompts at once."""
    spec = load_config(SHIPPED).by_name[MODEL]
    spec = spec.model_copy(update={"limits": spec.limits.model_copy(update={"concurrency": num_slots})})
    assert isinstance(spec, ServedBase)
    engine = LocalEngine()
    try:
        async with open_session() as http:
            server = await engine.launch(MODEL, Launch(spec, Path()))
            yield TokenModel(MODEL, server.endpoint, http, time.monotonic() + SECONDS)
    finally:
        await engine.close()
