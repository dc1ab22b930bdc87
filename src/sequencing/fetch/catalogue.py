"""What can be fetched: public corpora with their licences, addresses and formats, read from a TOML file.

The project's own table is catalogue.toml beside this file; a user's table has the same form. Texts of an entry may hold
codes in braces, which the user's languages fill: see TAKES. Knows nothing of networks and folders.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from sequencing.fetch.archive import fault_of
from sequencing.fetch.conversions import CONVERSIONS, ENCODINGS
from sequencing.fetch.web import fault_of_address
from sequencing_np.config import Origin, build, choose, nearest, read_toml, require
from sequencing_np.errors import ConfigError, UsageError

OWN = Path(__file__).with_name("catalogue.toml")
KEPT = ("fetched.json", "LICENCE.txt", "original")  # names that are taken in the folder of a corpus
NAME = r"[a-z0-9][a-z0-9_.-]*"
CODE = r"[A-Za-z]{2,8}(?:_[A-Za-z0-9]{1,8})*"
BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Licence:
    """What one may do with a corpus. The licence's own text counts, not these few words."""

    name: str
    allows: str
    address: str = ""


@dataclass(frozen=True)
class RemoteFile:
    """A file that is fetched."""

    address: str
    name: str = ""  # what it is called here; else the last part of the address
    size: int = 0  # bytes; 0: not known beforehand
    sha256: str = ""  # of this very file; empty: not known beforehand

    def __post_init__(self) -> None:
        fault = fault_of_address(self.address)
        require(not fault, f"address {self.address!r}: {fault}")
        name = self.name or urlsplit(self.address).path.rpartition("/")[2]
        object.__setattr__(self, "name", name)
        require(not fault_of(name) and "/" not in name, f"name {name!r}: {fault_of(name) or 'must hold no slash'}")
        require(self.size >= 0, f"size {self.size}: must be 0 (not known) or more bytes")
        digits = re.fullmatch(r"[0-9a-f]{64}|", self.sha256) is not None
        require(digits, f"sha256 {self.sha256!r}: must be 64 digits 0-9 and a-f, or nothing")


@dataclass(frozen=True)
class MadeFile:
    """A file that is made of those that were fetched."""

    name: str
    files: tuple[str, ...]  # names of fetched files, put one after the other
    member: str = ""  # of a zip archive: which file in it
    convert: str = ""  # a row of CONVERSIONS; empty: the bytes as they are
    encoding: str = "utf-8"  # of what is converted: a row of ENCODINGS
    optional: bool = False  # left out where the archive has no such member

    def __post_init__(self) -> None:
        fault = fault_of(self.name)
        require(not fault, f"name {self.name!r}: {fault}")
        require(len(self.files) > 0, f"{self.name}: files: give at least one")
        require(not self.member or len(self.files) == 1, f"{self.name}: a member is that of one archive; give one file")
        if self.convert:
            choose(CONVERSIONS, self.convert, "convert")
        choose(ENCODINGS, self.encoding, "encoding")


@dataclass(frozen=True)
class Listed:
    """An entry of the catalogue."""

    name: str
    title: str
    languages: str  # in words
    size: str  # in words
    licence: Licence
    attribution: str  # what one says when one uses it, and whom one cites
    page: str  # where its makers speak of it
    files: tuple[RemoteFile, ...]
    outputs: tuple[MadeFile, ...] = ()  # none: the files are used as they come
    takes: str = "nothing"  # a row of TAKES
    choices: tuple[str, ...] = ()  # what --languages may be, where that is known
    folders: dict[str, str] = field(default_factory=dict)  # takes "language": what {folder} is for each
    example: str = ""  # of --languages
    note: str = ""  # what to know before training on it
    unverified: str = ""  # what of this entry its authors could not check

    def __post_init__(self) -> None:
        require(re.fullmatch(NAME, self.name) is not None, f"name {self.name!r}: must be small letters, digits, . _ -")
        takes = choose(TAKES, self.takes, "takes")
        require(len(self.files) > 0, f"{self.name}: files: give at least one")
        names = [file.name for file in self.files]
        for name in (*names, *(output.name for output in self.outputs)):
            require(name.partition("/")[0] not in KEPT, f"{self.name}: name {name!r}: is kept for what a fetch adds")
        require(len({*names}) == len(names), f"{self.name}: two of its files have one name: {', '.join(names)}")
        made = [output.name for output in self.outputs]
        require(len({*made}) == len(made), f"{self.name}: two of its outputs have one name: {', '.join(made)}")
        for output in self.outputs:
            for name in output.files:
                require(name in names, f"{self.name}: {output.name}: no file {name!r}; {nearest(name, names)}")
        texts = [text for file in self.files for text in (file.address, file.name)]
        texts += [text for output in self.outputs for text in (output.name, output.member)]
        for code in {code for text in texts for code in BRACES.findall(text)}:
            known = ", ".join(f"{{{each}}}" for each in takes.codes) or "none"
            require(code in takes.codes, f"{self.name}: {{{code}}}: unknown code; takes {self.takes!r} gives {known}")
        languages = bool(takes.codes)
        require(languages == bool(self.example), f"{self.name}: example: an example of --languages, where it is taken")


class Codes(dict[str, str]):
    """What the braces of an entry's texts stand for."""

    def fill(self, text: str) -> str:
        """The text with its codes filled in."""
        return BRACES.sub(lambda found: self[found[1]], text)


class Wanted(NamedTuple):
    """An entry with the user's languages filled in."""

    listed: Listed
    languages: str
    codes: Codes
    files: tuple[RemoteFile, ...]
    outputs: tuple[MadeFile, ...]

    @property
    def folder(self) -> str:
        """Where it goes if nobody says where."""
        return f"{self.listed.name}.{self.languages}" if self.languages else self.listed.name


# --- languages ------------------------------------------------------------------------------------------------------


class Takes(NamedTuple):
    """How an entry depends on languages: the codes that its texts may hold, and how --languages fills them."""

    codes: tuple[str, ...]
    form: str  # what --languages looks like
    read: Callable[[str, Listed], Codes | None]  # None: not of that form


def read_language(text: str, listed: Listed) -> Codes | None:
    """`deu`"""
    if re.fullmatch(CODE, text) is None:
        return None
    return Codes(language=text, folder=listed.folders.get(text, ""))


def read_pair(text: str, listed: Listed) -> Codes | None:
    """`de-en`; {pair} is in the order of the alphabet, as OPUS names its files."""
    found = re.fullmatch(f"({CODE})-({CODE})", text)
    if found is None or found[1] == found[2]:
        return None
    first, second = sorted(found.groups())
    return Codes(source=found[1], target=found[2], first=first, second=second, pair=f"{first}-{second}")


def read_pair_with_english(text: str, listed: Listed) -> Codes | None:
    """`eng-deu` or `deu-eng`; {other} is the one that is not English."""
    codes = read_pair(text, listed)
    if codes is None or "eng" not in (codes["source"], codes["target"]):
        return None
    other = codes["source"] if codes["target"] == "eng" else codes["target"]
    return Codes(source=codes["source"], target=codes["target"], other=other)


TAKES: dict[str, Takes] = {
    "nothing": Takes((), "nothing", lambda text, listed: None),
    "language": Takes(("language", "folder"), "a code", read_language),
    "pair": Takes(("source", "target", "first", "second", "pair"), "two codes SOURCE-TARGET", read_pair),
    "pair_with_english": Takes(
        ("source", "target", "other"), "two codes SOURCE-TARGET, one of them eng", read_pair_with_english
    ),
}


def want(listed: Listed, languages: str | None) -> Wanted:
    """The entry for these languages; UsageError where it has others, or none."""
    takes = TAKES[listed.takes]
    if not takes.codes:
        if languages is not None:
            raise UsageError(f"--languages {languages}: {listed.name} comes as a whole; leave it out")
        return Wanted(listed, "", Codes(), listed.files, listed.outputs)
    choices = listed.choices or tuple(listed.folders)
    help_text = f"{takes.form}, as in --languages {listed.example}"
    if choices:
        help_text += f"; it has {', '.join(choices)}"
    if languages is None:
        raise UsageError(f"{listed.name} comes in many languages: give --languages, {help_text}")
    codes = takes.read(languages, listed)
    if codes is None or (choices and languages not in choices):
        raise UsageError(f"--languages {languages}: {listed.name} takes {help_text}")
    fill = codes.fill
    try:
        files = tuple(replace(file, address=fill(file.address), name=fill(file.name)) for file in listed.files)
        outputs = tuple(
            replace(made, name=fill(made.name), member=fill(made.member), files=tuple(map(fill, made.files)))
            for made in listed.outputs
        )
    except ConfigError as error:
        raise UsageError(f"--languages {languages}: {listed.name}: {error}") from None
    return Wanted(listed, languages, codes, files, outputs)


# --- files ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Catalogue:
    """The entries of one file."""

    corpora: tuple[Listed, ...]

    def __post_init__(self) -> None:
        names = [listed.name for listed in self.corpora]
        twice = next((name for name in names if names.count(name) > 1), None)
        require(twice is None, f"corpora: {twice!r} stands there twice")

    def find(self, name: str) -> Listed:
        """The entry of that name; UsageError names the nearest one."""
        for listed in self.corpora:
            if listed.name == name:
                return listed
        close = nearest(name, [listed.name for listed in self.corpora])
        raise UsageError(f"no corpus {name!r} in the catalogue; {close}; --catalogue FILE.toml brings your own")


def read_catalogue(path: str | Path = OWN) -> Catalogue:
    """A catalogue file; ConfigError names the line and the key of a mistake."""
    values, origin = read_toml(path)
    return build(Catalogue, values, Origin(origin.name, origin.text))
