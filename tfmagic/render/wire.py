"""Protocol buffers and TensorFlow's record files, as far as a graph needs them.

Written here so that a recording can be saved where TensorFlow is not installed.  The wire
format is that of protobuf.dev/programming-guides/encoding; a record is its length, the masked
CRC-32C of the length, the data, and the masked CRC-32C of the data.
"""

from __future__ import annotations

import struct
from functools import cache

__all__ = ["Message", "record"]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_CRC_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8


class Message:
    """One message, filled field by field, each by its number in the ``.proto`` file."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def number(self, field: int, value: int) -> Message:
        """An int, bool or enum."""
        return self._add(field, _VARINT, _varint(value & 0xFFFFFFFFFFFFFFFF))

    def text(self, field: int, value: str | bytes) -> Message:
        """A string or bytes."""
        data = value.encode("utf-8", "replace") if isinstance(value, str) else value
        return self._add(field, _BYTES, _varint(len(data)) + data)

    def message(self, field: int, value: Message) -> Message:
        """A message within this one."""
        return self.text(field, bytes(value))

    def single(self, field: int, value: float) -> Message:
        """A float of 32 bits."""
        return self._add(field, _FIXED32, struct.pack("<f", value))

    def double(self, field: int, value: float) -> Message:
        """A float of 64 bits."""
        return self._add(field, _FIXED64, struct.pack("<d", value))

    def __bytes__(self) -> bytes:
        return b"".join(self._parts)

    def _add(self, field: int, kind: int, data: bytes) -> Message:
        self._parts += [_varint(field << 3 | kind), data]
        return self


def record(data: bytes) -> bytes:
    """One record of a TFRecord or event file."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _masked(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    table = _table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for row in range(256):
        for _ in range(8):
            row = row >> 1 ^ (_CRC_POLYNOMIAL if row & 1 else 0)
        rows.append(row)
    return tuple(rows)
