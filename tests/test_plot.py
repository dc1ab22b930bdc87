"""Attention pictures: what they show, that any token can be drawn, and what is refused."""

import struct
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from sequencing.plot import attention_svg, draw_attention, picture_of, token_label
from sequencing_np.errors import ConfigError, DataError


def diagonal(source: list[str], prediction: list[str], ends: bool = True) -> dict[str, object]:
    """A sample whose tokens look at the token in their place."""
    columns, rows = len(source) + ends, len(prediction) + ends
    heads = [round(row * (columns - 1) / max(rows - 1, 1)) for row in range(rows)]
    alignment = [[0.9 if column == head else 0.1 / columns for column in range(columns)] for head in heads]
    return {"source_tokens": source, "prediction_tokens": prediction, "alignment": alignment}


ODD = {
    "spaces": ["a b", " ", "  ", "\t", "\u3000", ""],
    "mathematics": ["$x^$", "$\\frac{1}{2}$", "_^{", "\\", "%", "#"],
    "writing systems": ["中文", "日本", "안녕", "שלום", "مرحبا", "हिन्दी", "ภาษา"],
    "marks": ["\u0301", "e\u0301", "\u0308\u0301", "\u200d", "\ufe0f"],
    "controls": ["\0", "\x1b", "\n", "\u2028", "\u202e", "\ud800", "\x7f"],
    "pictures": ["👩\u200d👩\u200d👧", "🇩🇪", "\U0010ffff", "\ue000"],
    "markup": ["<b>", "&amp;", '"', "'", "]]>", "</s>", "<unk>"],
    "long": ["Donaudampfschifffahrtsgesellschaftskapitän", "x" * 500],
}


def size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:24])


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("turn", [False, True])
def test_any_token_can_be_drawn(name: str, turn: bool, tmp_path: Path) -> None:
    sample = diagonal(["one", "two"], ODD[name]) if turn else diagonal(ODD[name], ["e", "i"])
    draw_attention(sample, tmp_path / "attention.png")
    assert min(size(tmp_path / "attention.png")) > 100
    ElementTree.fromstring(attention_svg(sample))


def test_the_svg_names_each_token_and_shades_what_was_looked_at() -> None:
    sample = {"source_tokens": ["two", "<b>"], "prediction_tokens": ["z", "w"], "alignment": [[0.75, 0.25], [0.0, 1.0]]}
    picture = ElementTree.fromstring(attention_svg(sample))
    name = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in picture.iter(f"{name}text")] == ["two", "<b>", "z", "w"]
    assert [title.text for title in picture.iter(f"{name}title")] == ["z ← two 0.75", "z ← <b> 0.25", "w ← <b> 1.00"]
    assert picture.get("aria-label") == "Attention: z from two, w from <b>"
    assert len(attention_svg(sample)) < 2000


def test_a_large_picture_stays_readable(tmp_path: Path) -> None:
    draw_attention(diagonal([f"word{index}" for index in range(30)], list("zweihundert" * 6)[:60]), tmp_path / "a.png")
    width, height = size(tmp_path / "a.png")
    assert 1500 < width < 2600 and 1800 < height < 3000


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (1, 60), (60, 1), (500, 500)])
def test_extreme_sizes(columns: int, rows: int, tmp_path: Path) -> None:
    sample = diagonal(["a"] * columns, ["b"] * rows, ends=False)
    draw_attention(sample, tmp_path / "a.png")
    assert max(size(tmp_path / "a.png")) < 6000
    assert picture_of(sample).weights.shape == (min(rows, 120), min(columns, 120))


def test_the_end_of_a_sentence_gets_its_name() -> None:
    picture = picture_of(diagonal(["one"], ["e", "i"]))
    assert (picture.source, picture.prediction) == (["one", "</s>"], ["e", "i", "</s>"])


def test_labels() -> None:
    assert [token_label(token) for token in (" ", "", "\u0301", "\x1b", "x" * 30, "ä")] == [
        *("␣", "∅", "◌\u0301", "\\x1b", "x" * 23 + "…", "ä")
    ]


def test_weights_that_are_none_are_white() -> None:
    sample = {"source_tokens": ["a", "b"], "prediction_tokens": ["c"], "alignment": [[None, 7]]}
    assert picture_of(sample).weights.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alignment": None}, "without alignment"),
        ({"alignment": []}, "without alignment"),
        ({"source_tokens": []}, "without source_tokens"),
        ({"alignment": [[0.5], [0.5, 0.5]]}, "no table"),
        ({"alignment": "text"}, "no table"),
        ({"alignment": [0.5]}, "no table"),
        ({"prediction_tokens": ["a"] * 7}, "3 source tokens, 7 predicted tokens, but an alignment of 3 x 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        draw_attention(diagonal(["a", "b"], ["c", "d"]) | change, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_the_same_sample_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_attention(diagonal(["a", "b"], ["c"]), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        draw_attention(diagonal(["a"], ["b"]), tmp_path / "missing" / "a.png")


def test_a_missing_matplotlib_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="pip install matplotlib"):
        draw_attention(diagonal(["a"], ["b"]), tmp_path / "a.png")
    assert "<svg" in attention_svg(diagonal(["a"], ["b"]))
