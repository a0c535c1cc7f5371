"""A report as Markdown, for a README: what the page says first, and a table for each data set.

    text = markdown(view(sweep), title="Eight data sets")

Not here: figures; a README links the images (`images.py`).
"""

from __future__ import annotations

from evals.markdown import markdown_table
from evals.reports.averages import ReportLine
from evals.reports.columns import COLUMNS
from evals.reports.texts import attack_text, cost_shown, headline_texts, points, shown, verdict_text
from evals.reports.views import CaseView, Report

METRICS = tuple(
    column for name in ("cost", "aiq", "largest_share", "decision_ms") for column in COLUMNS if column.name == name
)


def markdown(report: Report, *, title: str) -> str:
    """Ends with a line break. The tables are at lambda 0, the mean over seeds, baselines in italics."""
    parts = [f"# {_plain(title)}", *(_plain(text) for text in headline_texts(report.headline))]
    verdicts = {verdict.case: verdict_text(verdict) for verdict in report.headline.verdicts}
    for view in report.cases:
        said = verdicts.get(view.case, "") or attack_text(view.case)
        parts += [f"## {_plain(view.case.title)}", _plain(said), _facts(view), _table(view)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(view: CaseView) -> str:
    measured = view.measured
    cost = f"; cost in {cost_shown(0.0, measured.cost_unit)[1]}" if measured.has_costs else ""
    return (
        f"{measured.n:,} queries, {len(measured.experts)} experts, {len(measured.seeds)} seeds. Reward and gain over the best "
        f"single expert are times 100, with 95% intervals{cost}."
    )


def _table(view: CaseView) -> str:
    columns = [column for column in METRICS if any(line.values[column.name] is not None for line in view.lines)]
    return markdown_table(
        ["Router", "Reward", "Gain", *(column.title for column in columns)],
        (
            [_name(line), _reward(line), _gain(line), *(shown(column, line) for column in columns)]
            for line in view.lines
        ),
    )


def _name(line: ReportLine) -> str:
    return _plain(line.router) if line.kind == "router" else f"*{_plain(line.router)}*"


def _reward(line: ReportLine) -> str:
    return f"{line.reward.mean * 100:.1f}"


def _gain(line: ReportLine) -> str:
    return f"{points(line.gain.mean)} [{points(line.gain.low)}, {points(line.gain.high)}]"


def _plain(text: str) -> str:
    """As text, without markup."""
    for letter in "\\`*_<>[]":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())
