"""Zstandard files, beside the gzip and xz files that the ground floor reads: by Python's own module or `zstandard`."""

import importlib
import sys
from typing import Any

from sequencing_np.bytestream import PACKINGS, Damaged, Member, Packing
from sequencing_np.errors import ConfigError

# Every frame begins with the first; a file may also begin with a frame to be skipped, which has one of sixteen.
FRAME = b"\x28\xb5\x2f\xfd"
SKIPPED = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))
WINDOW = 1 << 27  # as much memory may a file ask for; zstd -19 needs a sixteenth of it
SLICE = 1 << 10  # so many packed bytes give 32 MiB at most: a block of 128 KiB needs four of them


class ZstandardFrame:
    """A frame, unpacked by the package `zstandard`, whose output cannot be limited: its input is instead."""

    def __init__(self, zstandard: Any) -> None:
        self._frame = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj()
        self._error = zstandard.ZstdError
        self._waiting = b""
        self._behind = b""

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def unused_data(self) -> bytes:
        return self._behind

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        data = self._waiting + data
        pieces: list[bytes] = []
        size = place = 0
        while place < len(data) and size < max_length and not self._frame.eof:
            try:
                pieces.append(self._frame.decompress(data[place : place + SLICE]))
            except self._error as error:
                raise Damaged(str(error).partition(": ")[2] or str(error)) from None
            size += len(pieces[-1])
            place += SLICE
        self._waiting = data[place:]
        if self._frame.eof:
            self._behind = self._frame.unused_data + self._waiting
        return b"".join(pieces)


class OwnFrame:
    """A frame, unpacked by Python's own module (from 3.14)."""

    def __init__(self, zstd: Any) -> None:
        self._frame = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27})
        self._error = zstd.ZstdError

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._frame.needs_input)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        try:
            return bytes(self._frame.decompress(data, max_length))
        except self._error as error:
            raise Damaged(str(error)) from None


def zstd_frame() -> Member:
    """A frame that begins, or a ConfigError that says what to install."""
    if sys.version_info >= (3, 14):
        return OwnFrame(importlib.import_module("compression.zstd"))
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        raise ConfigError(
            "zstd files need the package zstandard: pip install 'sequencing-nn[prepare]'; or unpack them with zstd -d"
        ) from None
    return ZstandardFrame(zstandard)


ALL_PACKINGS = (*PACKINGS, Packing("zstd", (FRAME, *SKIPPED), zstd_frame, "zstd -t"))
