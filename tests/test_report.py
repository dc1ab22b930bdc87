"""The page of a run: all its parts, what is missing, what is damaged, and that no text of the data becomes HTML."""

import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sequencing.curves import Point, Series, axis_of, curve_svg, duration_text, number_text, seconds_at
from sequencing.mistakes import answers_of, by_length, by_mistake, mistakes
from sequencing.report import write_comparison, write_report
from sequencing_np.errors import DataError, UsageError

STEPS = 1240
NUMBERS = {  # the German pieces, each with the English word it comes from; the units come before the tens
    "two hundred and five thousand and one": (("zwei", 0), ("hundert", 1), ("fünf", 3), ("tausend", 4), ("eins", 6)),
    "seven hundred and forty-two": (("sieben", 0), ("hundert", 1), ("zwei", 3), ("und", 2), ("vierzig", 3)),
    "ninety thousand, three hundred and eighteen": (
        *(("neunzig", 0), ("tausend", 1), ("drei", 2), ("hundert", 3), ("acht", 5), ("zehn", 5)),
    ),
    "sixty-six": (("sechs", 0), ("und", 0), ("sechzig", 0)),
}


def sample(source: str, step: int) -> dict[str, object]:
    """What a model might write after so many steps: first babble, then a piece too few, then the right word."""
    pieces = NUMBERS[source]
    target = "".join(piece for piece, _ in pieces)
    early, middle = "".join("zwei" for _ in pieces), "".join(piece for piece, _ in (*pieces[1:], pieces[0]))
    kept = pieces if step > 300 else pieces[:2]
    sources = [*source.split(" "), "</s>"]
    heads = [column for piece, column in kept for _ in piece] + [len(sources) - 1]
    focus = min(0.97, 0.3 + step / 1000)
    alignment = []
    for row, head in enumerate(heads):
        raw = [
            (1 - focus) / len(sources) + focus * math.exp(-2.2 * abs(head - column)) for column in range(len(sources))
        ]
        raw[heads[min(row + 1, len(heads) - 1)]] += 0.1
        alignment.append([round(weight / sum(raw), 4) for weight in raw])
    return {
        "step": step,
        "source": source,
        "prediction": early if step <= 160 else middle if step <= 320 else target,
        "target": target,
        "source_tokens": sources,
        "prediction_tokens": list("".join(piece for piece, _ in kept)),
        "alignment": alignment,
    }


def metrics() -> Iterator[dict[str, object]]:
    """Curves as a small model draws them."""
    for step in range(1, STEPS + 1):
        time, noise = step / 160, math.sin(step * 12.9898) * 0.25
        if step % 10 == 0 or step == 1:
            rate = 2e-3 * min(step / 100, 1 - 0.9 * max(step - 100, 0) / STEPS)
            loss = 3.2 * math.exp(-step / 130) * (1 + noise) + 0.004
            yield {"kind": "train", "step": step, "epoch": 1 + step // 310, "seconds": step * 0.11, "loss": loss} | {
                "learning_rate": rate,
                "gradient_norm": 0.2 + 2.5 * math.exp(-time) * (1 + 2 * noise),
                "tokens_per_second": 3850 + 300 * noise,
                "padding": 0.08,
            }
        if step % 155 == 0:
            right = 1 / (1 + math.exp(4 - 2.1 * time)) * 0.9985
            loss = 3 * math.exp(-step / 120) + 0.003
            yield {"kind": "dev", "step": step, "seconds": step * 0.11, "loss": loss, "perplexity": math.exp(loss)} | {
                "token_accuracy": 1 - (1 - right) * 0.4,
                "exact_match": right,
                "bleu": 100 * right,
                "chrf": 100 - 60 * (1 - right),
                "signature": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.5.1",
                "best": True,
            }


def make_run(run: Path) -> Path:
    run.mkdir(parents=True)
    samples = [sample(source, step) for step in range(155, STEPS + 1, 155) for source in NUMBERS]
    for name, records in (("metrics", list(metrics())), ("samples", samples)):
        lines = (json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
        (run / f"{name}.jsonl").write_bytes(b"".join(lines))
    configuration = {
        "seed": 7,
        "data": {"train": ["numbers.train.tsv"], "dev": ["numbers.dev.tsv"], "source": "words", "target": "characters"},
        "model": {
            "encoder": {"kind": "bidirectional", "cell": "gru", "width": 128, "layers": 1, "dropout": 0.1},
            "decoder": {"cell": "gru", "width": 128, "attention": {"kind": "additive", "width": 128}},
        },
        "train": {"learning_rate": 2e-3, "steps": STEPS, "batch_tokens": 4096, "clip": 1.0, "label_smoothing": 0.0},
    }
    machine = {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6", "system": "Linux", "machine": "x86_64"}
    machine |= {"cpu": "A fine processor at 2.5 GHz", "cores": 2, "threads": 2, "accelerator": None}
    test = {"sentences": 1000, "exact_match": 0.9996, "token_accuracy": 0.99993, "bleu": 99.93, "chrf": 99.98}
    test |= {"sentences_per_second": 812.4, "signature": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.5.1"}
    for name, content in (("config", configuration), ("machine", machine), ("test", test)):
        (run / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    head = json.dumps(
        {"a": {"dtype": "F32", "shape": [400, 1000]}, "b": {"shape": [2345]}, "__metadata__": {}}
    ).encode()
    (run / "best").mkdir()
    (run / "best" / "weights.safetensors").write_bytes(len(head).to_bytes(8, "little") + head)
    return run


class Reader(HTMLParser):
    """The text, the tags and the attributes of a page; a tag that is not closed in its order is an error."""

    EMPTY = frozenset({"meta", "path", "circle", "rect"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open[-1:]):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read(path: Path) -> Reader:
    return Reader(path.read_bytes().decode())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "numbers")


def test_the_page_holds_all_parts_of_the_run(run: Path) -> None:
    path = write_report(run)
    page = read(path)
    assert path == run / "report.html"
    for words in (
        *("numbers 1,240 steps in 2.3 min · epoch 5", "exact match 99.96 %", "BLEU 99.9", "parameters 402,345"),
        *("Dev, best at step 1,240", "tokens/s", "zweihundertfünftausendeins", "x86_64", "encoder.width 128"),
    ):
        assert words in page.words, words
    pictures = 7 + 4  # curves, attention
    assert page.tags.count("figure") == page.tags.count("svg") == pictures


def test_the_page_needs_nothing_but_itself(run: Path) -> None:
    text = write_report(run).read_bytes().decode()
    page = Reader(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not any(name in ("src", "href", "srcset") or name.startswith("on") for name, _ in page.attributes)
    assert "url(" not in text and "@import" not in text
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_same_run_gives_the_same_page_and_leaves_nothing_else(run: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in run.iterdir())
    one, other = write_report(run, tmp_path / "one.html"), write_report(run, tmp_path / "other.html")
    assert one.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in run.iterdir()) == before


def test_the_difference_to_the_target_is_marked(run: Path) -> None:
    text = write_report(run).read_bytes().decode()
    assert '<td dir="auto" class="right">sechsundsechzig</td>' in text
    assert re.search(r"<del>[a-zü]+</del>", text) and re.search(r"<ins>[a-zü]+</ins>", text)


HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\u202e\x1b[2J\u2028\ud800 $title ${x}'


def hostile(value: object) -> object:
    """The same content with all text, keys too, made hostile."""
    if isinstance(value, dict):
        known = {"kind", "step", "best", "seconds", "source", "prediction", "target", "alignment"}
        known |= {"source_tokens", "prediction_tokens", "loss", "signature", "exact_match"}
        return {
            key if key in known else key + HOSTILE: item if key == "kind" else hostile(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_no_text_of_the_data_becomes_html(run: Path) -> None:
    for path in (*run.glob("*.jsonl"), *run.glob("*.json")):
        lines = [line for line in path.read_bytes().split(b"\n") if line]
        path.write_bytes(b"".join(json.dumps(hostile(json.loads(line))).encode() + b"\n" for line in lines))
    text = write_report(run).read_bytes().decode()
    page = Reader(text)
    assert not {"script", "img"} & set(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "<script>alert(1)</script>" in page.words
    assert not set(text) & set("\u202e\x1b\u2028")
    assert "$title" in page.words


def test_a_folder_name_is_text_too(tmp_path: Path) -> None:
    page = read(write_report(make_run(tmp_path / "<b>&run")))
    assert "b" not in set(page.tags) - {"b"} and "<b>&run" in page.words


# --- what is missing or damaged


def test_a_run_that_has_only_begun_says_so(tmp_path: Path) -> None:
    run = tmp_path / "begun"
    run.mkdir()
    (run / "config.json").write_bytes(b"{}")
    assert "no records yet" in read(write_report(run)).words
    (run / "metrics.jsonl").write_bytes(b"")
    assert "no records yet" in read(write_report(run)).words
    (run / "metrics.jsonl").write_bytes(b'{"kind":"train","step":1,"loss":3.0}\n')
    page = read(write_report(run))
    assert "No validation yet" in page.words and "begun 1 step No" in page.words
    assert page.tags.count("svg") == 1


def test_a_cut_last_line_is_left_out_and_told(run: Path) -> None:
    for name in ("metrics.jsonl", "samples.jsonl"):
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[:-20])
    words = read(write_report(run)).words
    assert "metrics.jsonl: 1 damaged line left out" in words
    assert "samples.jsonl: 1 damaged line left out" in words


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl", "config.json", "machine.json", "test.json"])
@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe\0", b"[]", b"{}", b"7", b'{"step": "x", "kind": []}', b"[" * 9999]
)
def test_any_file_may_be_missing_or_rubbish(run: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_bytes(content)
    assert "Curves" in read(write_report(run)).words


@pytest.mark.parametrize(
    "values",
    [
        {"loss": None, "exact_match": None},
        {"loss": 0.0, "exact_match": 0.0},
        {"loss": 1e9, "exact_match": "1"},
        {"loss": -1.0, "exact_match": True},
        {"loss": 10**400, "exact_match": [1]},
        {"loss": math.nan, "exact_match": math.inf},
    ],
)
def test_odd_numbers_do_no_harm(run: Path, values: dict[str, object]) -> None:
    lines = [{"kind": kind, "step": step, "seconds": 1, **values} for step in (1, 2) for kind in ("train", "dev")]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "Curves" in read(write_report(run)).words


def test_what_was_drawn_for_rewards_is_shown_step_by_step(run: Path) -> None:
    """The best first, each once, marked where it differs from the target; nothing of it in a run that is taught."""
    assert "Sampled answers" not in write_report(run).read_text("utf-8")
    path = run / "samples.jsonl"
    kept = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for record in kept:
        draws = [("false", 0.25), (record["target"], 1.0), ("false", 0.25)]
        record["drawn"] = [{"text": said, "reward": reward} for said, reward in draws]
    path.write_text("".join(json.dumps(record) + "\n" for record in kept), "utf-8")
    page = write_report(run).read_text("utf-8")
    part = page.partition("Sampled answers over time")[2].partition("</section>")[0]
    first = part.partition("</table>")[0]
    assert first.count("<del>false</del>") == first.count("1.00</span>") == first.count("<br>") >= 2
    assert first.index("1.00</span>") < first.index("0.25</span>")


def test_odd_samples_do_no_harm(run: Path) -> None:
    samples = [
        {},
        {"step": 9},
        {"step": 9, "source": 7, "prediction": None, "target": [], "alignment": 3, "source_tokens": 1},
        {"step": 9, "source_tokens": ["a"], "prediction_tokens": ["b"], "alignment": [[None]]},
        {"step": 9, "source_tokens": ["a"], "prediction_tokens": ["b"], "alignment": [[1, 2, 3]]},
        {"step": 9, "source": "x", "prediction": "", "target": "x" * 5000},
    ]
    (run / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in samples))
    assert "(empty)" in read(write_report(run)).words


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is no folder.*Give the folder of a run"):
        write_report(tmp_path / "missing")
    with pytest.raises(UsageError, match="neither metrics"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_an_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        write_report(run, tmp_path / "missing" / "report.html")
    with pytest.raises(DataError):
        write_report(run, run)


# --- curves


def test_a_long_series_is_averaged_down() -> None:
    line = Series("train", [Point(step, float(step % 2)) for step in range(10_000)])
    svg = curve_svg("Loss", [line], [])
    assert len(svg) < 6000 and "circle" not in svg


def test_one_point_is_a_dot() -> None:
    svg = curve_svg("Loss", [Series("dev <", [Point(5, 0.25)])], [Point(5, 2.0)])
    assert svg.count("<circle") == 1 and "dev &lt;" in svg and 'class="line' not in svg


@pytest.mark.parametrize(
    "values", [[0.0], [5.0], [-3.0, 4.0], [0.001, 3.0], [1e-300, 1e299], [0.0, 1e-12], [1e9, 1e9 + 1], [99.5, 99.9]]
)
@pytest.mark.parametrize("may_be_logarithmic", [True, False])
def test_an_axis_holds_its_values(values: list[float], may_be_logarithmic: bool) -> None:
    axis = axis_of(values, 5, may_be_logarithmic)
    assert 2 <= len(axis.ticks) <= 8
    assert all(-1e-6 <= axis.place(value) <= 1 + 1e-6 for value in values)
    assert all(-1e-6 <= axis.place(tick) <= 1 + 1e-6 for tick in axis.ticks)


def test_numbers_and_times_as_people_write_them() -> None:
    values = (0, 1, 0.25, 0.0005, 0.00005, 99.96, 1240.0, 2_000_000.0)
    assert [number_text(value) for value in values] == [*("0", "1", "0.25", "0.0005", "5e-5", "99.96", "1,240", "2e6")]
    assert [duration_text(seconds) for seconds in (0, 99, 100, 6000)] == ["0 s", "99 s", "1.7 min", "1.7 h"]
    assert seconds_at(5, [Point(10, 30.0)]) == 15.0
    assert seconds_at(11, [Point(10, 30.0)]) is None


# --- answers, and several runs


def answer(source: str, prediction: str, *references: str) -> dict[str, object]:
    return {"source": source, "prediction": prediction, "references": list(references)}


def test_answers_are_sorted_by_their_first_mistake() -> None:
    said = "a b c d"
    cases = {
        "right": (said, said), "empty": ("", said), "repeats itself": ("x y x y x y", said), "one edit away":
        ("a b c x", said), "a copy of the source": ("source of all", said), "much too short": ("a b", said),
        "much too long": ("a b c d e f g", said), "right tokens, other order": ("d c b a", said),
        "up to a half wrong": ("a b x y", said), "more than a half wrong": ("w x y a", said),
        "up to a quarter wrong": ("a b c d e f g x y", "a b c d e f g h i"),
    }  # fmt: skip
    for kind, (prediction, reference) in cases.items():
        found = answers_of([answer("source of all", prediction, "quite another answer than that", reference)])
        assert [group.name for group in by_mistake(found) if group.answers] == [kind], kind


def test_mistakes_are_counted_on_a_shortest_way() -> None:
    found = mistakes(answers_of([answer("s", "a x c d e", "a b c d"), answer("s", "one two", "one two three")]))
    assert found.confused == {("b", "x"): 1} and found.added == {"e": 1} and found.missing == {"three": 1}


def test_groups_by_length_hold_every_answer_once() -> None:
    found = answers_of([answer("w " * length, "a b c", "a b c") for length in range(1, 90)])
    groups = by_length(found)
    assert sum(len(group.answers) for group in groups) == len(found) and groups[-1].name == "61 and more"
    assert all(group.exact == 1.0 and group.error_rate == 0.0 and group.length_ratio == 1.0 for group in groups)


def test_several_runs_are_compared(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "else" / "numbers")
    settings = json.loads((other / "config.json").read_text())
    settings["train"]["learning_rate"] = 0.125
    (other / "config.json").write_text(json.dumps(settings))
    for folder, prediction in ((run, "a b c"), (other, "a b x")):
        lines = (json.dumps(answer("one two three", prediction, "a b c")) + "\n" for _ in range(30))
        (folder / "answers.jsonl").write_text("".join(lines))
    page = read(write_comparison([run, other]))
    for words in ("2 runs compared", "else/numbers", "train.learning_rate 0.002 0.125", "one edit away 0.0 % 100.0 %"):
        assert words in page.words, words
    assert (run / "comparison.html").is_file()
    with pytest.raises(UsageError, match="twice"):
        write_comparison([run, run])
