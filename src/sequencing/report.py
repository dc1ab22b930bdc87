"""The page of a run, or of several compared: numbers, curves, held-out sentences, attention, settings, machine.

Reads the files of run folders and nothing else; what is missing or damaged is said on the page. The page needs no
script and no network, and all text from the data is escaped. Knows nothing of models; writes no other file.
"""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from sequencing.curves import duration_text
from sequencing.page.breakdown import breakdown, compared_breakdown
from sequencing.page.figures import compared_curves, curves, swatch
from sequencing.page.markup import section, text
from sequencing.page.numbers import compared, numbers
from sequencing.page.sentences import attention, compared_attention, compared_samples, drawn, samples
from sequencing.page.settings import compared_machines, compared_settings, configuration, machine
from sequencing.records import number, visible
from sequencing.run_folder import Run, read_run
from sequencing_np.errors import UsageError
from sequencing_np.writing import atomic_write


def write_report(run: Path, output: Path | None = None) -> Path:
    """Write the page of the run, by default into its folder as report.html, and return its path."""
    found = read_run(run)
    sections = [
        f'<section class="numbers" aria-label="Numbers">{numbers(found)}</section>',
        section("Curves", curves(found)),
        section("Held-out sentences over time", samples(found)),
        *([section("Sampled answers over time", sampled)] if (sampled := drawn(found)) else []),
        section("Attention", attention(found)),
        section("Answers, looked at closely", breakdown(found)),
        section("Configuration", configuration(found.configuration)),
        section("Machine", machine(found.machine)),
    ]
    colophon = f"Made from {len(found.train):,} training and {len(found.dev):,} validation records by Sequencing."
    page = page_of(found.name, summary(found), found.notes, sections, colophon)
    return write_page(run / "report.html" if output is None else output, page)


def write_comparison(
    runs: Sequence[Path], output: Path | None = None, title: str = "", before: Iterable[str] = ()
) -> Path:
    """Write one page about several runs, by default into the folder of the first as comparison.html.

    `before` are sections, as HTML, that stand above those of the runs.
    """
    if len({path.resolve() for path in runs}) < len(runs):
        raise UsageError("one run is given twice; give different ones to compare")
    found = [read_run(path) for path in runs]
    called = unlike(runs)
    names = [f'{swatch(place)}<span class="name">{text(name)}</span>' for place, name in enumerate(called)]
    legend = f'<p class="legend">{"".join(f"<span>{name}</span>" for name in names)}</p>'
    sections = [
        *before,
        section("The best of each", f'<div class="card figures">{compared(found, names)}</div>'),
        section("What differs", compared_settings(found, names)),
        section("Curves", legend + compared_curves(found, called)),
        section("Held-out sentences", compared_samples(found, names)),
        section("Attention", compared_attention(found, names)),
        section("Answers, looked at closely", compared_breakdown(found, names)),
        section("Machines", compared_machines(found, names)),
    ]
    notes = [f"{name}: {note}" for name, run in zip(called, found, strict=True) for note in run.notes]
    title = title or f"{len(found)} runs compared"
    page = page_of(title, " · ".join(called), notes, sections, "Made by Sequencing.")
    return write_page(runs[0] / "comparison.html" if output is None else output, page)


def page_of(title: str, subtitle: str, notes: Iterable[str], sections: Iterable[str], colophon: str) -> str:
    places = {
        "title": text(title),
        "subtitle": text(subtitle),
        "notes": "".join(f'<p class="note">{text(note)}</p>' for note in notes),
        "sections": "\n".join(sections),
        "colophon": text(colophon),
    }
    return Template(files("sequencing").joinpath("report.html.tmpl").read_bytes().decode()).substitute(places)


def write_page(path: Path, page: str) -> Path:
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", errors="replace"))
    return path


def summary(run: Run) -> str:
    """How long a run is."""
    last = run.last
    seconds, epoch = number(last.get("seconds")), number(last.get("epoch", (run.train or [{}])[-1].get("epoch")))
    known = [
        f"{last['step']:,.0f} step{'s' * (last['step'] != 1)}" if last else "no steps yet",
        "" if seconds is None else f"in {duration_text(seconds)}",
        "" if epoch is None else f"· epoch {epoch:g}",
    ]
    return " ".join(part for part in known if part)


def unlike(runs: Sequence[Path]) -> list[str]:
    """The names of folders, each with as many of the folders above it as it takes to tell them apart."""
    paths = [path.resolve().parts for path in runs]
    names = ["/".join(parts[-1:]) for parts in paths]
    for depth in range(2, max(map(len, paths)) + 1):
        if len(set(names)) == len(names):
            break
        names = [
            "/".join(parts[-depth:]) if names.count(name) > 1 else name
            for name, parts in zip(names, paths, strict=True)
        ]
    return [visible(name) or "run" for name in names]
