"""The configuration of `prepare`: strict, relative to its file. docs/preparing.md names all of it, its examples run."""

import dataclasses
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from pages import DOCS, run_page
from sequencing.corpora.cleaning import REASONS
from sequencing.corpora.formats import FORMATS, CorpusConfig
from sequencing.prepare.engines import ENGINES
from sequencing.prepare.keys import APART, DUPLICATES
from sequencing.prepare.settings import PrepareConfig, read_prepare_config, short_config, what
from sequencing.run_config import VocabConfig
from sequencing_np.config import Origin, build
from sequencing_np.errors import ConfigError

PAGE = DOCS / "preparing.md"


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(
        tmp_path / "c.toml",
        '[[corpora]]\nname = "a"\nfiles = ["a.tsv", ["s.*", "t.*"], "-", "/b.tsv"]\ntag = "<2de>"\n'
        '[[test]]\nname = "b"\nfiles = ["b.tsv"]\n[clean]\nfunction = "own.py:mend"\n[vocab.target]\nfile = "v.json"\n',
    )
    monkeypatch.chdir("/")
    config = read_prepare_config(path, ["max_length=9"])
    assert config.corpora[0].files == (f"{tmp_path}/a.tsv", (f"{tmp_path}/s.*", f"{tmp_path}/t.*"), "-", "/b.tsv")
    assert config.test[0].files == (f"{tmp_path}/b.tsv",) and config.max_length == 9
    assert config.clean.function == f"{tmp_path}/own.py:mend" and config.vocab.target.file == f"{tmp_path}/v.json"
    assert config.vocab.source.tags == ("<2de>",)
    again = build(PrepareConfig, what(config), Origin("again"))
    assert what(again) == what(config)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["corpora=[]"], "give at least one [[corpora]] table"),
        (["max_length=0"], "max_length 0: must be 1 or more"),
        (["sample=-1"], "sample -1: must be 0 or more"),
        (["rows=0"], "rows 0"),
        (["engine=spark"], "engine = 'spark'"),
        (['duplicates.keys=["pairs"]'], "did you mean 'pair'"),
        (['split.apart=["sorce"]'], "did you mean 'source'"),
        (['split.corpora=["b"]'], "split.corpora: no corpus 'b'; there are a"),
        (["split.tst=3"], "unknown key 'tst'; did you mean 'test'"),
        (['test=[{name = "t", files = ["t"]}]', "split.test=3"], "[[test]] gives the text already"),
        (['dev=[{name = "d", files = ["d"], weight = 2}]'], "only training text has a weight"),
        (['corpora=[{name = "a", files = ["a"]}, {name = "a", files = ["b"]}]'], "two are called 'a'"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        short_config(CorpusConfig("a", ("a.tsv",)), {}, settings)


def test_an_error_names_the_line(tmp_path: Path) -> None:
    path = write(tmp_path / "c.toml", '[[corpora]]\nname = "a"\nfiles = ["a"]\n[split]\nseed = 1\ntests = 3\n')
    with pytest.raises(ConfigError, match=r"c\.toml:6: split\.tests: unknown key"):
        read_prepare_config(path)


# --- the page -------------------------------------------------------------------------------------------------------


def configurations(cls: type, found: list[type]) -> list[type]:
    """A dataclass and all in it, but for vocabularies, which docs/text.md speaks of."""
    found.append(cls)
    for hint in typing.get_type_hints(cls).values():
        for inner in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(inner) and inner not in (*found, VocabConfig):
                configurations(inner, found)  # type: ignore[arg-type]
    return found


def shown(field: dataclasses.Field[Any]) -> str:
    """A default as the page writes it; nothing where it is a table of its own, or there is none."""
    value = field.default
    if value is dataclasses.MISSING:
        return ""
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{part}"' for part in value) + "]`"
    return {str: f'`"{value}"`', bool: f"`{str(value).lower()}`"}.get(type(value), f"`{value}`")


def test_every_option_is_on_the_page_with_its_default() -> None:
    page = PAGE.read_text("utf-8")
    classes = configurations(PrepareConfig, [])
    assert len(classes) == 7
    for cls in classes:
        found = re.search(rf"^### {cls.__name__}\b.*?\n(.*?)(?=^##|\Z)", page, flags=re.MULTILINE | re.DOTALL)
        assert found, f"docs/preparing.md has no section {cls.__name__}"
        said = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", found[1], flags=re.MULTILINE))
        fields = {field.name: shown(field) for field in dataclasses.fields(cls)}
        assert list(said) == list(fields), f"docs/preparing.md, {cls.__name__}: the options, in their order"
        assert {name: said[name].strip() for name, value in fields.items() if value} == {
            name: value for name, value in fields.items() if value
        }


def test_every_row_of_a_table_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    for table in (FORMATS, DUPLICATES, APART, ENGINES):
        assert not [name for name in table if f"`{name}`" not in page]
    assert not [words for words in REASONS.values() if words not in page]


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    assert run_page(PAGE, tmp_path) == 2
