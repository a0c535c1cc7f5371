"""The files of a report: a page for people, Markdown for READMEs, images for papers.

    write_report(read_sweep(Path("out")), Path("out"))       # out/report.html, out/report.md, out/frontier-*.png

Needs the libraries of the extra `bench`. Not here: the files of the sweep itself (`evals/sweeps/storing.py`).
"""

from __future__ import annotations

from pathlib import Path

from evals.reports.images import draw_images
from evals.reports.markdown import markdown
from evals.reports.page import page
from evals.reports.views import view
from evals.sweeps.nouns import Sweep

TITLE = "Which router, and does routing pay?"


def write_report(sweep: Sweep, folder: Path, *, title: str = TITLE) -> Path:
    """Writes `report.html`, `report.md` and an image for each case into `folder`, made if need be; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    report = view(sweep)
    draw_images(report, folder)
    (folder / "report.md").write_text(markdown(report, title=title), encoding="utf-8")
    path = folder / "report.html"
    path.write_text(page(report, title=title), encoding="utf-8")
    return path
