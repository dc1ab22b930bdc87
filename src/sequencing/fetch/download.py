"""One file from an address to a path: continued where it was cut, checked, and under its name only when it is whole.

Nothing is tried again unless `retries` says so, and then it is said. Knows nothing of catalogues, archives and text.
"""

import hashlib
import http.client
import re
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from typing import IO, Any, NamedTuple

from sequencing.fetch.meter import Meter, amount
from sequencing.fetch.partial import Download, Notes, Stale, clear, keep_notes, opened_part, size_of, what_is_there
from sequencing.fetch.web import BY_HAND, FAILURES, Passing, explained, open_address
from sequencing_np.bytestream import CHUNK
from sequencing_np.config import require
from sequencing_np.disk import DISK_ERRORS
from sequencing_np.errors import DataError

LONGEST_PAUSE = 30.0  # seconds


@dataclass(frozen=True)
class Manners:
    """How long to wait for a server, and how often to come again."""

    timeout: float = 30.0  # seconds of silence
    retries: int = 0
    pause: float = 1.0  # seconds before the first retry, twice as many before each further one

    def __post_init__(self) -> None:
        require(0 < self.timeout <= 86_400, f"timeout {self.timeout:g}: must be above 0 and at most 86400 seconds")
        require(0 <= self.retries <= 1000, f"retries {self.retries}: must be from 0 (none) to 1000")


class Downloaded(NamedTuple):
    """A file that is there."""

    address: str  # where it came from in the end, without what may be a secret in it
    date: str
    size: int
    sha256: str


def download(wanted: Download, manners: Manners, meter: Meter) -> Downloaded:
    """The file, whole and checked. One at a time for a path; whoever calls sees to that."""
    pause = manners.pause
    for attempt in range(manners.retries + 1):
        try:
            return attempt_once(wanted, manners, meter)
        except Passing as error:
            if attempt == manners.retries:
                raise DataError(f"{error}{kept_words(wanted)}") from None
            meter.say(f"{error}; trying again in {pause:g} s ({attempt + 1} of {manners.retries})")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    raise AssertionError


def kept_words(wanted: Download) -> str:
    """What to do after a download that broke off."""
    kept = size_of(wanted.part)
    if kept:
        return f"; {amount(kept)} are kept: call again to go on, or give --retries N"
    return "; call again later, or give --retries N"


def attempt_once(wanted: Download, manners: Manners, meter: Meter) -> Downloaded:
    """One way to the file: going on with what is there, or from the start where that cannot be continued."""
    try:
        return transfer(wanted, manners, meter, *what_is_there(wanted))
    except Stale as reason:
        meter.say(f"{wanted.path.name}: {reason}; it begins again")
        clear(wanted)
    try:
        return transfer(wanted, manners, meter, 0, Notes(wanted.address, "", 0))
    except Stale as reason:
        raise DataError(f"{wanted.address}: {reason}; the server does not keep to HTTP") from None


def transfer(wanted: Download, manners: Manners, meter: Meter, kept: int, notes: Notes) -> Downloaded:
    """The rest of the file from the server, then all of it checked and put in its place."""
    digest = hashlib.sha256()
    if kept:
        with wanted.part.open("rb") as file:
            while data := file.read(CHUNK):
                digest.update(data)
    source = notes.address
    if not kept or kept != (notes.total or wanted.size):
        with answer(wanted, manners, kept, notes) as response:
            source = response.url
            span = placed(response.status, response.headers, kept, notes)
            check_answer(wanted, response.headers, span)
            if not span.start:
                if kept:
                    meter.say(f"{wanted.path.name}: the server sends all of it again (it changed, or cannot go on)")
                digest = hashlib.sha256()
                clear(wanted)  # before the notes say that what is there belongs to this version
            keep_notes(wanted, Notes(wanted.address, validator_of(response.headers), span.total))
            receive(response, wanted, meter, span, digest)
    return settled(wanted, digest.hexdigest(), source.partition("?")[0])


def answer(wanted: Download, manners: Manners, kept: int, notes: Notes) -> Any:
    """The server's answer to a request for the file, or for what is missing of it."""
    headers = {"Range": f"bytes={kept}-"} if kept else {}
    if kept and notes.validator:
        headers["If-Range"] = notes.validator
    try:
        return open_address(wanted.address, headers, manners.timeout)
    except FAILURES as error:
        if kept and getattr(error, "code", 0) == 416:
            raise Stale("the server does not know the rest of it") from None
        problem = explained(error, wanted.address)
        if getattr(error, "code", 0) in BY_HAND:
            problem = DataError(f"{problem}, save it as {wanted.path} and call again")
        raise problem from None


class Span(NamedTuple):
    """The part of a file that is to come."""

    start: int
    total: int  # 0: nobody says


def placed(status: int, headers: Message, kept: int, notes: Notes) -> Span:
    """Which part of the file the answer is; Stale where it does not go on from what is there."""
    if status == 200:
        length = str(headers.get("Content-Length", "")).strip()
        return Span(0, int(length) if re.fullmatch(r"[0-9]{1,18}", length) else 0)
    if status != 206 or not kept:
        raise Stale(f"the server answers {status} instead of the file")
    found = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", headers.get("Content-Range", ""))
    if found is None or int(found[1]) != kept:
        raise Stale("the server sends another part of it than it was asked for")
    total = notes.total if found[2] == "*" else int(found[2])
    if notes.total and total != notes.total:
        raise Stale(f"it has {total:,} bytes now and had {notes.total:,}")
    tag = str(headers.get("ETag", ""))
    if tag.startswith('"') and notes.validator.startswith('"') and tag != notes.validator:
        raise Stale("it is another version now")
    return Span(kept, total)


def check_answer(wanted: Download, headers: Message, span: Span) -> None:
    """DataError where what comes is not the file, or has no room."""
    (start, total), suffixes = span, wanted.path.suffixes
    if headers.get_content_type() == "text/html" and "Content-Type" in headers and ".html" not in suffixes:
        advice = f"look at it in a browser, and save the file itself as {wanted.path}"
        raise DataError(f"{wanted.address}: the server sends a web page instead of the file; {advice}")
    packed = str(headers.get("Content-Encoding", "identity")).lower()
    if packed not in ("identity", "") and suffixes[-1:] not in ([".gz"], [".tgz"]):
        advice = f"get it with another program and save it as {wanted.path}"
        raise DataError(f"{wanted.address}: the server packs it ({packed}) though it was asked not to; {advice}")
    if wanted.size and total and total != wanted.size:
        raise DataError(
            f"{wanted.address}: the server announces {total:,} bytes, and it should be {wanted.size:,}: the file is "
            f"another one now; look for a newer catalogue (--catalogue)"
        )
    free = shutil.disk_usage(wanted.path.parent).free
    if total - start > free:
        raise DataError(
            f"{wanted.path}: {amount(total - start)} are to come and {amount(free)} are free; make room, or give "
            "another folder (--to)"
        )


def validator_of(headers: Message) -> str:
    """By what the server knows this version again; weak ETags do not promise the same bytes."""
    tag = str(headers.get("ETag", ""))
    return tag if tag.startswith('"') else str(headers.get("Last-Modified", ""))


def receive(response: http.client.HTTPResponse, wanted: Download, meter: Meter, span: Span, digest: Any) -> None:
    """Append what comes to the part. Passing where it ends too early; what came is kept."""
    now, limit = span.start, span.total or wanted.size
    meter.begin(wanted.path.name, now, limit)
    with opened_part(wanted, span.start) as file:
        while chunk := read_some(response, wanted, now):
            write_some(file, chunk, wanted)
            digest.update(chunk)
            now += len(chunk)
            if limit and now > limit:
                raise DataError(f"{wanted.address}: the server sends more than the {limit:,} bytes of the file")
            meter.move(now)
    if now < span.total:
        raise Passing(f"{wanted.address}: cut off after {now:,} of {span.total:,} bytes")
    meter.end()


def read_some(response: http.client.HTTPResponse, wanted: Download, now: int) -> bytes:
    """The next bytes, none at the end; Passing where the connection breaks."""
    try:
        return response.read1(CHUNK)
    except TimeoutError:
        why = "the server fell silent (--timeout)"
    except (http.client.HTTPException, OSError, ValueError) as error:  # a ValueError is a chunk of no size
        why = f"the connection broke off ({type(error).__name__})"
    raise Passing(f"{wanted.address}: {why} after {now:,} bytes")


def write_some(file: IO[bytes], chunk: bytes, wanted: Download) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise no_room(error, wanted) from None


def no_room(error: OSError, wanted: Download) -> Exception:
    """What to say of a disk that takes no more."""
    if error.errno not in DISK_ERRORS:
        return error
    return DataError(f"{wanted.part}: cannot be written ({error.strerror}); make room and call again: it goes on")


def settled(wanted: Download, sha256: str, source: str) -> Downloaded:
    """The whole part under its own name; or, where it is not the file that was wanted, aside as NAME.bad."""
    size = size_of(wanted.part)
    problems = [] if size else ["it is empty"]
    if wanted.size and size != wanted.size:
        problems.append(f"it has {size:,} bytes instead of {wanted.size:,}")
    if wanted.sha256 and sha256 != wanted.sha256:
        problems.append(f"its sha256 is {sha256} instead of {wanted.sha256}, as {wanted.said_by} says")
    if problems:
        bad = wanted.path.with_name(f"{wanted.path.name}.bad")
        wanted.part.replace(bad)
        clear(wanted)
        advice = "the file was damaged on its way or is another one now; look at it, and call again to fetch it anew"
        raise DataError(f"{wanted.address}: {' and '.join(problems)}; it is kept as {bad}: {advice}")
    wanted.part.replace(wanted.path)
    clear(wanted)
    return Downloaded(source, datetime.now(UTC).isoformat(timespec="seconds"), size, sha256)
