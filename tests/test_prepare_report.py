"""What a preparation says: numbers that add up, a page that stands alone, a bar and plain lines."""

import io
import json
import os
import random
import re
import select
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from sequencing.corpora.formats import CorpusConfig
from sequencing.prepare.figures import quantile
from sequencing.prepare.histogram import histogram_svg, longest, shares
from sequencing.prepare.pipeline import prepare
from sequencing.prepare.progress import Progress
from sequencing.prepare.report import text_lines
from sequencing.prepare.settings import short_config

EVIL = "<script>alert('$x')</script> & \x1b[31m"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("prepared")
    generator = random.Random(1)
    lines = [" ".join(generator.choices("abcdefgh", k=generator.randrange(1, 9))) for _ in range(400)]
    rows = [f"{line}\t{line.upper()} {number % 300}" for number, line in enumerate(lines)]
    rows += [
        "\tempty",
        f"{EVIL} one two three four five six seven eight nine\tx",
        rows[0],
        "e\u0301\tn f d",
        *rows[:90],
    ]
    (folder / "pairs.tsv").write_bytes("".join(f"{row}\n" for row in rows).encode())
    values = {"jobs": 1, "rows": 77, "filter": {"max_words": 9}, "split": {"dev": 5}, "clean": {"controls": False}}
    vocab = ['vocab.target={level = "words", size = 9}']
    config = short_config(CorpusConfig("one & only", (str(folder / "pairs.tsv"),)), values, vocab)
    return folder / "out", prepare(config, folder / "out", Progress(stream=io.StringIO()))


def test_every_pair_is_kept_or_dropped(prepared) -> None:
    _, report = prepared
    (corpus,) = report["corpora"]
    dropped = {reason: found["count"] for reason, found in report["dropped"].items()}
    assert corpus["read"] == 494 and corpus["kept"] + sum(dropped.values()) == 494
    assert corpus["kept"] == report["split"]["train"] + 5
    assert dropped["empty"] == dropped["many_words"] == 1 and dropped["duplicate_pair"] >= 91
    assert report["changed"]["unicode"] == 1


def test_histograms_count_the_training_pairs(prepared) -> None:
    folder, report = prepared
    assert json.loads((folder / "report.json").read_bytes()) == json.loads(json.dumps(report))
    for side in report["sides"].values():
        for kind in ("words", "characters", "lengths"):
            assert sum(side[kind]) == report["split"]["train"]
        assert sum(length * count for length, count in enumerate(side["lengths"])) == side["tokens"]
        assert sum(n * count for n, count in enumerate(side["words"])) + report["split"]["train"] == side["tokens"]
    assert report["sides"]["source"]["unknown"] == 0 < report["sides"]["target"]["unknown"] < 1


def test_warnings(prepared) -> None:
    _, report = prepared
    assert any("of the target tokens are unknown" in text for text in report["warnings"])


def test_the_text(prepared) -> None:
    folder, report = prepared
    text = (folder / "report.txt").read_bytes().decode()
    assert text == "".join(f"{line}\n" for line in text_lines(report))
    assert "\x1b" not in text and "\\x1b[31m" in text
    assert re.search(r"pairs read +494\n", text) and "one & only  train   494" in text
    assert "an earlier pair has the same pair: " in text
    for warning in report["warnings"]:
        assert f"warning: {warning}" in text


class Page(HTMLParser):
    """Tags that need to be closed are, and nothing is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        assert not {"src", "href", "onclick"} & {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page(prepared) -> None:
    folder, _ = prepared
    text = (folder / "report.html").read_bytes().decode()
    page = Page()
    page.feed(text)
    assert not page.open and "url(" not in text and "<script" not in text
    assert "&lt;script&gt;alert(&#x27;$x&#x27;)&lt;/script&gt; &amp; \\x1b[31m" in text
    assert text.count("<svg") == 3 and "one &amp; only" in text and "--accent" in text
    for picture in re.findall(r"<svg.*?</svg>", text):
        ElementTree.fromstring(picture)


def test_histograms_as_pictures() -> None:
    sides = {"source": [0, 10, 30, 40, 15, 5], "target": [0, 0, 0, 50, 50]}
    picture = ElementTree.fromstring(histogram_svg("Words", sides))
    lines = [path.attrib["d"] for path in picture.iter() if path.attrib.get("class", "").startswith("line")]
    assert len(lines) == 2 and all(line.count("V") == 7 for line in lines), "a step for each of 0 to 5, and down again"
    assert picture.attrib["aria-label"] == "Words; mean length: source 2.8, target 3.5"
    assert longest([5, 5, 0, 0]) == 1 and longest([]) == 0 and longest([0] * 7 + [1000] + [0] * 90 + [1]) == 7
    assert shares([1, 1, 2, 0, 4], 2, 4) == [25.0, 25.0, 50.0]
    ElementTree.fromstring(histogram_svg("Nothing", {"source": [], "target": [0]}))
    assert [quantile([0, 2, 0, 2], share) for share in (0.5, 0.51, 1.0)] == [1, 3, 3] and quantile([], 0.5) == 0


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_say_how_far_it_is() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream=stream, clock=clock)
    with progress.stage("cleaning", 4000, "pairs") as stage:
        for seconds in (4.0, 10.0, 15.0, 20.0):
            clock.now = seconds
            stage.add(500)
        clock.now = 40.0
    with progress.stage("writing the report"):
        pass
    assert stream.getvalue().split("\n") == [
        "cleaning: 1,000 of 4,000 pairs, 100 pairs/s, 30 s left",
        "cleaning: 2,000 of 4,000 pairs, 100 pairs/s, 20 s left",
        "cleaning: 2,000 pairs in 40 s, 50 pairs/s",
        "writing the report: 0 s",
        "",
    ]


def test_a_closed_stream_ends_nothing() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    stream.close()
    with progress.stage("cleaning", 1, "pairs") as stage:
        stage.add(1)


def test_a_bar_on_a_terminal() -> None:
    pty = pytest.importorskip("pty", reason="no terminals on this system")
    import fcntl
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with os.fdopen(child, "w", encoding="utf-8") as stream:
        progress = Progress(stream=stream)
        with progress.stage("cleaning", 10, "pairs") as stage:
            stage.add(5)
            stage.add(5)
        stream.flush()
        shown = ""
        while not shown.endswith("in 0 s\r\n") and select.select([parent], [], [], 5.0)[0]:
            shown += os.read(parent, 100_000).decode()  # what was written may come in parts
    os.close(parent)
    assert "cleaning" in shown and "10.0 pairs" in shown and "left" in shown and shown.endswith("pairs in 0 s\r\n")
