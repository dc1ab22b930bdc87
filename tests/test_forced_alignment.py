"""Forced alignment: on a model that turns words around it is the diagonal, and the command says it line by line."""

import random
from pathlib import Path

import pytest

from architectures import QUICK, architecture, name_of, source_side, torch_model
from reversing_model import MODELS, reversing, word, write_reversing
from sequencing.__main__ import main
from sequencing.forced_alignment import Look, align
from sequencing_np.answers import hard_alignment
from sequencing_np.errors import SearchError, UsageError
from sequencing_np.limits import Limits
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab
from tiny_models import give_input, write_model

WORDS = [word(random.Random(seed)) for seed in range(60)]
PAIRS = [(each, each[::-1]) for each in WORDS]


def diagonal(length: int) -> set[str]:
    return {f"{length - 1 - place}-{place}" for place in range(length)}


@pytest.mark.parametrize("kind", MODELS)
def test_who_turns_words_around_looks_along_the_other_diagonal(kind: str) -> None:
    right = total = 0
    for (source, _), links in zip(PAIRS, align(reversing(kind), PAIRS), strict=True):
        right += len(diagonal(len(source)) & set(links.split(" ")))
        total += len(source)
    assert right > 0.85 * total, (right, total)


@pytest.mark.parametrize("kind", MODELS)
def test_an_answer_is_aligned_as_its_search_was(kind: str) -> None:
    """The attention of the words one by one and of all at once."""
    translator = reversing(kind)
    answers = translator.translate(WORDS, SearchConfig(beam=3, alignments=True))
    expected = [hard_alignment(answer, answer.answers[0]) for answer in answers]
    assert all(answer.answers[0].finished for answer in answers) and len(set(expected)) >= 5
    assert align(translator, [(answer.source, answer.text) for answer in answers]) == expected


@pytest.mark.parametrize("batch_tokens", [1, 30, 10_000])
def test_neither_batches_nor_mates_matter(batch_tokens: int) -> None:
    translator = reversing("several heads")
    pairs = [*PAIRS, ("", "ab"), ("abc", ""), ("", "")]
    found = align(translator, pairs, Look(2, 1), batch_tokens)
    assert found == [align(translator, [pair], Look(2, 1))[0] for pair in pairs]
    assert found[-2:] == ["", ""]


def test_a_layer_and_a_head_are_the_ones_that_were_asked() -> None:
    translator = reversing("several heads")
    found = {look: align(translator, PAIRS, look) for look in (Look(), Look(1), Look(2), Look(2, 1), Look(2, 2))}
    assert found[Look()] == found[Look(2)], "the decoder says what its last layer does"
    assert found[Look(1)] != found[Look(2)] and found[Look(2, 1)] != found[Look(2, 2)]
    assert align(translator, PAIRS, Look(head=1)) == found[Look(2, 1)]


@pytest.mark.parametrize("index", QUICK, ids=name_of)
def test_every_architecture_is_aligned_or_says_why_not(index: int) -> None:
    config = architecture(index)
    source, target = (Vocab(list("abcdefghijklmnopqrstuvwxyz"[: size - 4]), "") for size in (19, config.target_size))
    if config.encoder.type in ("several_sources", "characters_to_words") or config.source_factors:
        source = Vocab(list("abcdefghijklmno"), "")
    known, (five, one) = source_side(config, source, ["a b c d e", "c"] if config.source_vectors else ["abcde", "c"])
    translator = Translator(torch_model(index), known, target, Limits())
    attention = getattr(config.decoder, "attention", None)
    blind = attention is None or attention.type == "summary"
    composed = () if blind else ("parallel", "hierarchical", "gated", "coarsest")
    blind = blind or (attention.type in composed and attention.each == "summary")
    if blind or (attention.type == "coarsest" and translator.model.encoder.sizes.others):
        with pytest.raises(SearchError, match="does not look at single source tokens"):
            align(translator, [(five, "ab")])
        return
    for look in (Look(), Look(1), Look(1, 1)):
        both = align(translator, [(five, "abab"), (one, "a")], look)
        assert both == [align(translator, [pair], look)[0] for pair in ((five, "abab"), (one, "a"))]
        links = [tuple(map(int, link.split("-"))) for link in (both[0] or "").split()]
        assert [target for _, target in links] == sorted({target for _, target in links})
        assert all(source < 5 and target < 4 for source, target in links)


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="--layer 3: the decoder has 2"):
        align(reversing("several heads"), PAIRS, Look(3))
    with pytest.raises(UsageError, match=r"--head 2: decoder\.attention has 1"):
        align(reversing("one head"), PAIRS, Look(head=2))
    with pytest.raises(UsageError, match="--head 3"):
        align(reversing("several heads"), PAIRS, Look(1, 3))


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reversing(tmp_path_factory.mktemp("reversing") / "model", "one head")


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def test_one_line_a_pair(model: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    source = write(tmp_path / "s", *(source for source, _ in PAIRS), "")
    target = write(tmp_path / "t", *(target for _, target in PAIRS), "")
    call = ["align", str(model), "--target", str(target), "--source"]
    assert main([*call, str(source), "--batch-tokens", "50"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines == [*align(reversing("one head"), PAIRS), "", ""]
    give_input(monkeypatch, source.read_bytes())
    assert main([*call, "-", "--output", str(tmp_path / "out"), "--layer", "1", "--head", "1"]) == 0
    assert (tmp_path / "out").read_bytes().decode().split("\n") == lines
    monkeypatch.setattr("sequencing.commands.align.WINDOW", 7)
    assert main([*call, str(source)]) == 0 and capsys.readouterr().out.split("\n") == lines


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--layer", "0"], 2, "--layer 0: must be 1 or more"),
        (["--head", "-1"], 2, "--head -1: must be 1 or more"),
        (["--batch-tokens", "0"], 2, "--batch-tokens 0: must be 1 or more"),
        (["--layer", "2"], 2, "--layer 2: the decoder has 1"),
        (["--head", "2"], 2, "--head 2: decoder.attention has 1 of them"),
        (["--source", "-", "--target", "-"], 2, "can be read once only"),
        (["--target", "SHORT"], 4, "unequal numbers of lines"),
        (["--target", "NOWHERE"], 4, "NOWHERE"),
    ],
)
def test_mistakes_are_sentences(model: Path, tmp_path: Path, capsys, options, code, words) -> None:
    source, short = write(tmp_path / "s", "abc", "de"), write(tmp_path / "SHORT", "cba")
    options = [str(short) if option == "SHORT" else option for option in options]
    assert main(["align", str(model), "--source", str(source), "--target", str(source), *options]) == code
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and "Traceback" not in err


def test_a_model_that_says_nan_leaves_a_line_empty(tmp_path: Path, capsys) -> None:
    broken = write_model(tmp_path / "broken", broken=True)
    source, target = write(tmp_path / "s", "ein zwei", "sechs", "drei"), write(tmp_path / "t", "ab", "ab", "ab")
    assert main(["align", str(broken), "--source", str(source), "--target", str(target)]) == 6
    out, err = capsys.readouterr()
    assert out.count("\n") == 3 and out.split("\n")[1] == "" and "1 pairs have no links" in err
