"""The files of a report: a page for people, Markdown for READMEs, images for papers.

    write_report(read_sweep(Path("out")), Path("out"))       # out/report.html, out/report.md, out/frontier-*.png

Each is whole or not there; images of an earlier report go. Needs the libraries of the extra `bench`. Not here: the files of the
sweep itself (`evals/sweeps/storing.py`).
"""

from __future__ import annotations

from pathlib import Path

from evals.files import write_whole
from evals.reports.images import draw_images
from evals.reports.markdown import markdown
from evals.reports.page import page
from evals.reports.views import view
from evals.sweeps.nouns import Sweep

TITLE = "Which router, and does routing pay?"


def write_report(sweep: Sweep, folder: Path, *, title: str = TITLE) -> Path:
    """Writes `report.html`, `report.md` and an image for each case into `folder`, made if need be; returns the page's path."""
    report, path = view(sweep), folder / "report.html"
    draw_images(report, folder)
    write_whole(folder / "report.md", lambda file: file.write(markdown(report, title=title).encode()))
    write_whole(path, lambda file: file.write(page(report, title=title).encode()))
    return path
