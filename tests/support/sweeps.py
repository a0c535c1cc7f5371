"""A finished sweep with a known structure: two data sets, one of them with costs, three seeds, four routers and five baselines.

Each of three groups has an expert of its own, `large` is the best single expert and the dearest. `sharp` knows the group and the
hardness of a query, `blurred` half of it, `noisy` little and `constant` nothing, so their rewards come in this order.
"""

import numpy as np

from evals.sweeps.nouns import Row, Run, Setting, Sweep, Tested
from routers.data.table import RewardTable
from routers.training.evaluation import choose, earned, entropy_bits

EXPERTS = ("coder", "chatter", "mathematician", "large")
GROUPS = ("code", "chat", "sums")
HOSTILE = '<script>document.title = "owned"</script><img src=x onerror="alert(1)"> & </script><b>bold</b>'
NOISE = {"sharp": 0.05, "blurred": 0.25, "noisy": 0.6}
ROUTERS = (*NOISE, "constant")
BASELINES = ("random", "best_constant", "best_single", "group_best", "oracle")
LAMBDAS = (0.0, 0.1, 0.5, 2.0)
PRICES = np.array([0.02, 0.01, 0.03, 0.3])
N = 240


def sweep(seeds=(0, 1, 2), n=N, attacks=()):
    """`paid` has costs in USD, `free` has none. attacks: on both, which rewards don't show but for `broken_expert`."""
    keys = [
        Setting(data, seed=seed, scenario=name)
        for data in ("paid", "free")
        for name in ("", *attacks)
        for seed in seeds
    ]
    tested = {key: _tested(key, n) for key in keys}
    runs = {(key, router): _run(one, router) for key, one in tested.items() for router in ROUTERS}
    rows = [row for key, one in tested.items() for row in _rows(one, {r: runs[key, r] for r in ROUTERS})]
    return Sweep(LAMBDAS, tested, runs, tuple(rows), ("Made up for tests.",))


def _tested(setting, n):
    dice = np.random.default_rng(7 if setting.data == "paid" else 8)
    group = np.arange(n) % 3
    skill = np.full((n, 4), 0.35)
    skill[np.arange(n), group] = 0.85
    skill[:, 3] = 0.7
    rewards = (dice.random((n, 4)) < skill).astype(np.float32)
    if setting.scenario == "broken_expert":
        rewards[:, 3] = 0
    costs = np.full((n, 4), np.nan, dtype=np.float32)
    if setting.data == "paid":
        costs = (PRICES * dice.uniform(0.5, 1.5, (n, 4)) / 100).astype(np.float32)
    queries = [f"{GROUPS[g]} query {i} of {setting.data}" for i, g in enumerate(group)]
    queries[0] = HOSTILE
    groups = tuple(GROUPS[g] for g in group)
    table = RewardTable(
        tuple(queries),
        EXPERTS,
        rewards,
        costs,
        np.ones_like(rewards),
        groups,
        (None,) * n,
        tuple(f"q{i}" for i in range(n)),
    )
    cents = np.tile(PRICES, (n, 1)).astype(np.float32) if setting.data == "paid" else np.zeros((n, 4), dtype=np.float32)
    return Tested(
        setting,
        table,
        np.arange(n) % 2,
        cents,
        100.0 if setting.data == "paid" else None,
        np.ones(n, dtype=np.float32),
        np.tile(np.float32([0.5, 0.5, 0.5, 0.7]), (2, 1)),
        np.tile(cents[0], (2, 1)) if setting.data == "paid" else np.full((2, 4), np.nan, dtype=np.float32),
        group.astype(np.intp),
        num_leaked=setting.seed + 1,
    )


def _run(tested, router):
    n = len(tested.table)
    group = np.arange(n) % 3
    expected = np.tile(np.float32([0.5, 0.5, 0.5, 0.7]), (n, 1))
    if router in NOISE:
        dice = np.random.default_rng(tested.setting.seed + 10)
        expected[:, :3] = 0.35
        expected[np.arange(n), group] = 0.85
        expected = expected + NOISE[router] * dice.normal(size=expected.shape)
    predicted = np.clip(expected, 0, 1).astype(np.float32)
    return Run(router, predicted, 1.5, 0.8 if router == "sharp" else 0.2, {"typos": 0.1})


def _rows(tested, runs):
    for lambda_ in LAMBDAS if tested.has_costs else LAMBDAS[:1]:
        single = tested.best_single(lambda_)
        chosen = {name: choose(run.predicted, tested.cents, lambda_) for name, run in runs.items()}
        chosen |= {"best_constant": single, "best_single": single, "group_best": tested.group_best}
        chosen["oracle"] = choose(tested.table.rewards, tested.cents, lambda_)
        chosen["random"] = np.random.default_rng(tested.setting.seed).integers(0, len(EXPERTS), len(tested.table))
        for name, choice in chosen.items():
            yield _row(tested, name, lambda_, choice, earned(tested.table, single), name in runs)


def _row(tested, name, lambda_, choice, at_best, is_router):
    got = earned(tested.table, choice)
    share = np.bincount(choice, minlength=len(EXPERTS)) / len(choice)
    cost = tested.table.costs[np.arange(len(choice)), choice].mean() if tested.has_costs else None
    gain = _interval(got - at_best)
    costs = {} if cost is None else {"cost": float(cost), "aiq": 0.7, "hypervolume": 0.6, "cost_to_match": 0.17}
    return Row(
        **{key: None for key in Row.__dataclass_fields__ if key not in ("share", "earned")}
        | {
            "data": tested.setting.data,
            "fleet": tested.setting.fleet,
            "scenario": tested.setting.scenario,
            "router": name,
            "lambda_": lambda_,
            "seed": tested.setting.seed,
            "n": len(choice),
            "reward": float(got.mean()),
            "ci95": _interval(got),
            "gain": float((got - at_best).mean()),
            "gain_ci95": gain,
            "p_adjusted": (0.001 if gain[0] > 0 else 0.4) if is_router else None,
            "shuffled": float((tested.table.rewards.mean(axis=0) * share).sum()),
            "cost_unit": "usd",
            "entropy": entropy_bits(share),
            "largest_share": float(share.max()),
            "flip_rate": 0.1 if is_router else None,
            "decision_ms": 0.8 if is_router else None,
            "fit_s": 1.5 if is_router else None,
            "queries": "fingerprint",
        }
        | costs,
        share=dict(zip(EXPERTS, share.tolist(), strict=True)),
        earned=tuple(got.tolist()) if lambda_ == 0 else (),
    )


def _interval(values):
    half = 1.96 * values.std() / np.sqrt(len(values))
    return (float(values.mean() - half), float(values.mean() + half))
