import math
from dataclasses import replace

from evals.bench_joint import Row as JointRow
from evals.simulation.figures import save_choice, save_frontier, save_plot, save_swaps
from evals.simulation.measures import Latency, Row
from evals.simulation.registry import OURS
from evals.simulation.replay import ROUTE_THEN_SCHEDULE
from evals.swaps.choosing import Row as ChoiceRow
from evals.swaps.running import BULK
from evals.swaps.running import Row as SwapsRow

PNG = b"\x89PNG\r\n"

ROW = Row("fifo", 0.3, 99.0, Latency(400.0, 380.0, 900.0, 950.0), cold_p99_s=None)
JOINT = JointRow("mine", 3.0, OURS, 0.01, 5.0, 0.2, 0.25, 55.0, 0.1, -0.2, 0.4, 0.3, 3.0)


def test_policies_are_drawn_beside_each_other(tmp_path):
    save_plot([ROW, replace(ROW, policy=OURS, latency_s=Latency(3.0, 3.0, 5.0, 9.0))], tmp_path / "policies.png")

    assert (tmp_path / "policies.png").read_bytes().startswith(PNG)


def test_a_p99_that_is_infinite_has_no_bar(tmp_path):
    refusing = replace(ROW, latency_s=replace(ROW.latency_s, p99=math.inf), refused=0.2)
    save_plot([ROW, refusing], tmp_path / "policies.png")

    assert (tmp_path / "policies.png").read_bytes().startswith(PNG)


def test_rewards_are_drawn_where_there_are_some(tmp_path):
    save_plot([ROW], tmp_path / "without.png")
    save_plot([replace(ROW, reward=0.5)], tmp_path / "with.png")

    assert (tmp_path / "with.png").stat().st_size > (tmp_path / "without.png").stat().st_size


def test_the_frontier_is_drawn_for_every_rate(tmp_path):
    rows = [JOINT, replace(JOINT, policy=ROUTE_THEN_SCHEDULE, mu=0.0, p99_s=30.0, gain=0.0), replace(JOINT, rate=5.0)]
    save_frontier(rows, tmp_path / "joint.png")

    assert (tmp_path / "joint.png").read_bytes().startswith(PNG)


def test_real_models_are_drawn_with_the_batch_that_has_no_latency(tmp_path):
    served = SwapsRow("fifo", 400, 0, 235, 383.0, 95.3, 194.0)
    rows = [replace(served, policy=OURS, swaps=65), served, replace(served, policy=BULK, latency_p99_s=None)]
    save_swaps(rows, tmp_path / "swaps.png")

    assert (tmp_path / "swaps.png").read_bytes().startswith(PNG)


def test_choices_are_drawn_although_nobody_earned_a_reward(tmp_path):
    first = ChoiceRow(ROUTE_THEN_SCHEDULE, 0.0, 400, 0, 50, 300.0, 5.0, 20.0, 52.0)
    save_choice([first, replace(first, policy=OURS, mu=0.003, reward=None)], tmp_path / "choice.png")

    assert (tmp_path / "choice.png").read_bytes().startswith(PNG)
