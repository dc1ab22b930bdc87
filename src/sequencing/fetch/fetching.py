"""A corpus of the catalogue as a folder: what was fetched, what was made of it, its licence, and a record of it all.

    FOLDER/fetched.json      where each file came from and when, its size and sha256; "whole" when all is there
    FOLDER/LICENCE.txt       what one may do with it, and whom to name
    FOLDER/original/…        the files as they came, where others are made of them; else they lie in FOLDER itself

What was recorded is compared when the same corpus is fetched into the same folder again. Knows nothing of HTTP.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sequencing.data.hashed_file import HashedFile, open_regular
from sequencing.fetch.archive import open_archive
from sequencing.fetch.catalogue import KEPT, MadeFile, RemoteFile, Wanted
from sequencing.fetch.conversions import Format, converted
from sequencing.fetch.download import Downloaded, Manners, download
from sequencing.fetch.meter import Meter
from sequencing.fetch.partial import Download, size_of
from sequencing.process import alone
from sequencing_np.bytestream import CHUNK
from sequencing_np.config import parse_json, to_dict
from sequencing_np.errors import ConfigError, DataError, UsageError
from sequencing_np.manifest import sha256 as sha256_of
from sequencing_np.writing import atomic_write, write_lines

RECORD, LICENCE, ORIGINALS = KEPT
FORMAT = 1
Record = dict[str, Any]


def fetch(wanted: Wanted, folder: Path, manners: Manners, meter: Meter) -> list[Path]:
    """The files of a corpus, fetched into a folder unless they are there; their paths."""
    before = record_of(wanted, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder, f"{folder}: another process is fetching into it; wait, or give another folder"):
        if before.get("whole") and all(is_recorded(folder, name, before) for name in before["outputs"]):
            meter.say(f"{folder}: all of it is there, as it was fetched {before['date']}")
            return present(wanted, folder, before)
        record = new_record(wanted) | {"files": before.get("files", {})}
        place = folder / ORIGINALS if wanted.outputs else folder
        place.mkdir(exist_ok=True)
        with atomic_write(folder / LICENCE) as licence:
            licence.write(licence_text(wanted).encode())
        write_record(folder, record)
        for file in wanted.files:
            record["files"][file.name] = get(file, place, record["files"].get(file.name, {}), manners, meter)
            write_record(folder, record)
        if not wanted.outputs:
            record["outputs"] = {name: described(folder / name) for name in record["files"]}
        for output in wanted.outputs:
            if make(output, wanted, folder, meter):
                record["outputs"][output.name] = described(folder / output.name)
        record |= {"whole": True, "date": now()}
        record["files"] = {name: {**said, "used": True} for name, said in record["files"].items()}
        write_record(folder, record)
    return present(wanted, folder, record)


def present(wanted: Wanted, folder: Path, record: Record) -> list[Path]:
    """The files that a corpus is used by, without those that may be missing and are."""
    names = [output.name for output in wanted.outputs] or [file.name for file in wanted.files]
    return [folder / name for name in names if name in record["outputs"]]


# --- one file -------------------------------------------------------------------------------------------------------


def get(file: RemoteFile, place: Path, recorded: Record, manners: Manners, meter: Meter) -> Record:
    """What is recorded of a file: of the one that lies there, or of one that is fetched now."""
    known = recorded if recorded.get("used") else {}  # a sum counts once something could be made of the file
    wanted = Download(file.address, place / file.name, file.size, file.sha256 or known.get("sha256", ""))
    if not file.sha256:
        wanted = replace(wanted, said_by=f"{RECORD}, of an earlier download (take a new folder for a new version),")
    if not wanted.path.exists():
        got = download(wanted, manners, meter)
        return {**got._asdict(), "sha256_from": "catalogue" if file.sha256 else "first download", "used": False}
    found = lying(wanted.path)
    if wanted.sha256 not in ("", found.sha256) or wanted.size not in (0, found.size):
        raise DataError(
            f"{wanted.path}: has {found.size:,} bytes and sha256 {found.sha256}, and should have "
            f"{wanted.size or 'any number of'} bytes and sha256 {wanted.sha256 or 'any'}, as {wanted.said_by} says; "
            "remove it to fetch it again"
        )
    meter.say(f"{wanted.path}: is there already")
    if recorded.get("sha256") == found.sha256:
        return recorded
    return {**found._asdict(), "sha256_from": "found there", "used": False}


def lying(path: Path) -> Downloaded:
    """A file that somebody has put there."""
    with HashedFile(path) as file:
        while file.read1(CHUNK):
            pass
        return Downloaded("", now(), file.size, file.sha256)


# --- what is made of it ---------------------------------------------------------------------------------------------


def make(output: MadeFile, wanted: Wanted, folder: Path, meter: Meter) -> bool:
    """Write one output; False where it may be missing, and is."""
    sources, path = [folder / ORIGINALS / name for name in output.files], folder / output.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path}: a link leads out of {folder}; take a new folder")
    if not output.member:
        meter.begin(str(path), 0, sum(map(size_of, sources)))
        write(output, wanted, path, counted(((str(source), chunks_of(source)) for source in sources), meter))
    else:
        with open_archive(sources[0]) as archive:
            if output.member not in archive.names:
                if output.optional:
                    return False
                has = ", ".join(archive.names[:10])
                raise DataError(f"{sources[0]}: no {output.member!r} in it; it has {has}; the catalogue is out of date")
            name = f"{sources[0]}: {output.member}"
            meter.begin(str(path), 0, archive.size_of(output.member))
            write(output, wanted, path, counted([(name, archive.chunks(output.member))], meter))
    meter.end()
    return True


Parts = Iterable[tuple[str, Iterable[bytes]]]  # names and their bytes


def counted(parts: Parts, meter: Meter) -> Parts:
    """The same, seen passing."""
    passed = 0

    def passing(chunks: Iterable[bytes]) -> Iterator[bytes]:
        nonlocal passed
        for chunk in chunks:
            yield chunk
            passed += len(chunk)
            meter.move(passed)

    return ((name, passing(chunks)) for name, chunks in parts)


def write(output: MadeFile, wanted: Wanted, path: Path, parts: Parts) -> None:
    """One file of several, converted or byte by byte; it stands there when all of it is written."""
    if output.convert:
        form = Format(output.convert, output.encoding, wanted.codes)
        write_lines(path, (line for name, chunks in parts for line in converted(chunks, name, form)))
        return
    with atomic_write(path) as file:
        for _, chunks in parts:
            for chunk in chunks:
                file.write(chunk)


def chunks_of(path: Path) -> Iterator[bytes]:
    with open_regular(path) as file:
        while chunk := file.read(CHUNK):
            yield chunk


# --- the record -----------------------------------------------------------------------------------------------------


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def new_record(wanted: Wanted) -> Record:
    return {
        "format": FORMAT,
        "corpus": wanted.listed.name,
        "languages": wanted.languages,
        "title": wanted.listed.title,
        "licence": to_dict(wanted.listed.licence),
        "attribution": wanted.listed.attribution,
        "page": wanted.listed.page,
        "addresses": [file.address for file in wanted.files],
        "whole": False,
        "date": "",
        "files": {},
        "outputs": {},
    }


def described(path: Path) -> Record:
    return {"size": size_of(path), "sha256": sha256_of(path)}


def write_record(folder: Path, record: Record) -> None:
    with atomic_write(folder / RECORD) as file:
        file.write(json.dumps(record, ensure_ascii=False, indent=1).encode() + b"\n")


def record_of(wanted: Wanted, folder: Path) -> Record:
    """What an earlier fetch left; UsageError where the folder holds anything else."""
    path = folder / RECORD
    try:
        record = parse_json(path.read_bytes().decode(), str(path))
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(f"{folder}: holds files that were not fetched; give a new folder (--to)") from None
        return {}
    except NotADirectoryError:
        raise UsageError(f"{folder}: is no folder; give another one (--to)") from None
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove the folder, or give a new one (--to)") from None
    wants = new_record(wanted)
    fresh = type(record) is dict and all(type(record.get(key)) is type(value) for key, value in wants.items())
    if not fresh or record["format"] != FORMAT:
        raise DataError(f"{path}: is no record of this version; remove the folder, or give a new one (--to)")
    if any(record[key] != wants[key] for key in ("corpus", "languages", "addresses")):
        held = " ".join(filter(None, (record["corpus"], record["languages"])))
        raise UsageError(f"{folder}: holds {held}, of other addresses or languages; give a new folder (--to)")
    return record


def is_recorded(folder: Path, name: str, record: Record) -> bool:
    """Whether a file is what the record says."""
    path, said = folder / name, record["outputs"][name]
    return path.is_file() and size_of(path) == said["size"] and sha256_of(path) == said["sha256"]


def licence_text(wanted: Wanted) -> str:
    """What one may do with a corpus, as it is shown and as it lies beside the text."""
    listed = wanted.listed
    rows = [
        ("corpus", f"{listed.title} ({listed.name}{' ' if wanted.languages else ''}{wanted.languages})"),
        ("languages", listed.languages),
        ("size", listed.size),
        ("licence", f"{listed.licence.name}: {listed.licence.allows}"),
        ("", listed.licence.address),
        ("to name", listed.attribution),
        ("page", listed.page),
        ("note", listed.note),
        ("not verified", listed.unverified),
        *(("from" if not number else "", file.address) for number, file in enumerate(wanted.files)),
    ]
    return "".join(f"{label:<14}{text}\n" for label, text in rows if text)
