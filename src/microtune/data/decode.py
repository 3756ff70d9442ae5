"""From the bytes of a file to text: decompression, encodings and lines, under limits, in one streaming pass.

Nothing larger than one record is held. The encoding is decided where the first byte beyond ASCII stands: everything
before it reads the same in UTF-8 and GB18030, so the decision can wait until there is evidence. Legacy Chinese text is
recognised by the level-1 zone of GB 2312 (1980), whose 3,755 characters are the common ones: other encodings that
decode as GB18030 by chance land mostly outside it.
"""

from __future__ import annotations

import codecs
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from microtune.errors import InputError, LimitError, at
from microtune.recipe import Limits

Packing = Literal["", "gz", "xz"]

CHUNK = 1 << 18
FREE_EXPANSION = 100_000_000  # decoded bytes that no ratio is asked of: small files may compress as well as they like
XZ_MEMORY = 256 << 20  # the largest preset of xz needs 65 MiB; a hostile header may ask for 4 GiB
RECORD = 6  # characters of one record per character of a field: a field written in \uXXXX escapes is six times as long

_MAGIC = {
    b"PK\x03\x04": "a ZIP archive (an XLSX workbook?)",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "gzip-compressed",
    b"\xfd7zXZ\x00": "xz-compressed",
    b"\x28\xb5\x2f\xfd": "zstd-compressed",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an old Office document",
}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNICODE = {"utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"}
# About a third of running Chinese text consists of these.
_FREQUENT = set(
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没"
    "日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知样现分将外但身些与高意进把法此实回二理美点"
    "月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四第门相次东政海口使教西再平真听世气信北少关并"
    "内加化由却代军产入先山五太水万市员酒店请怎吗钱卡车房款服务费买价格"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def shown(value: object, width: int = 40) -> str:
    """A value from the data as it stands in a message: in double quotes, cut to `width` characters."""
    text = str(value)
    return f'"{text[:width]}..."' if len(text) > width else f'"{text}"'


def refuse(path: str | Path, line: int | None, what: str) -> InputError:
    """The error for something wrong at a place; every message of the data doors is made here or in `over`."""
    return InputError(f"{at(path, line)}: {what}{'' if what.endswith('?') else '.'}")


def over(path: str | Path, line: int | None, what: str, limits: Limits, name: str) -> LimitError:
    """The error for something larger than `limits.<name>`."""
    allowed = f"{getattr(limits, name):,}"
    return LimitError(
        f"{at(path, line)}: {what}, and limits.{name} is {allowed}; if the data is right, raise limits.{name}=."
    )


Bad = Callable[[InputError], None]  # takes the error of a row that is passed over


def pass_over(error: InputError, bad: Bad | None) -> None:
    """Hand the error of one row to `bad`, so that reading goes on; raise it without one, and limits always."""
    if bad is None or isinstance(error, LimitError):
        raise error
    bad(error)


class Budget:
    """What one source has used of the limits that run over all its files."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.rows = 0
        self.characters = 0

    def row(self, path: str | Path, line: int) -> None:
        """Count one row."""
        self.rows += 1
        if self.rows > self.limits.rows:
            raise over(path, line, f"the source has more than {self.limits.rows:,} rows", self.limits, "rows")

    def read(self, path: str | Path, line: int | None, characters: int) -> None:
        """Count decoded characters."""
        self.characters += characters
        if self.characters > self.limits.decoded_characters:
            raise over(path, line, "the source decodes to more characters", self.limits, "decoded_characters")


def check_size(path: Path, limits: Limits) -> int:
    """The size of a regular file in bytes; more than `limits.file_bytes` is refused."""
    if not path.is_file():
        raise refuse(path, None, "is not a regular file")
    size = path.stat().st_size
    if size > limits.file_bytes:
        raise over(path, None, f"the file has {size:,} bytes", limits, "file_bytes")
    if not size:
        raise refuse(path, None, "the file is empty")
    return size


def check_expansion(path: Path, packed: int, unpacked: int, limits: Limits) -> None:
    """Stop a decompression bomb: `unpacked` bytes (or characters) that came out of `packed` bytes."""
    if unpacked > FREE_EXPANSION and unpacked > packed * limits.expansion:
        what = f"{packed:,} compressed bytes unpack to more than {unpacked:,}"
        raise over(path, None, what, limits, "expansion")


def unpacked(path: Path, packing: Packing, limits: Limits) -> Iterator[bytes]:
    """The bytes of a file, decompressed, in chunks of at least CHUNK bytes but for the last."""
    check_size(path, limits)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise refuse(path, None, f"cannot be opened ({error.strerror})") from error
    with raw:
        stream = {"": _plain, "gz": _gunzip, "xz": _unxz}[packing](raw)
        total, held, size = 0, [], 0
        while True:
            try:
                piece = next(stream, b"")
            except Exception as error:
                kind = {"gz": "gzip", "xz": "xz"}.get(packing, "a file")
                raise refuse(path, None, f"cannot be read as {kind} ({_reason(error)})") from error
            total += len(piece)
            if packing:
                check_expansion(path, raw.tell(), total, limits)
            held.append(piece)
            size += len(piece)
            if size >= CHUNK or (size and not piece):
                yield b"".join(held)
                held, size = [], 0
            if not piece:
                return


def _reason(error: Exception) -> str:
    """The first line of a library's message, for the brackets in ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:150]


def _plain(raw: BinaryIO) -> Iterator[bytes]:
    while piece := raw.read(CHUNK):
        yield piece


def _gunzip(raw: BinaryIO) -> Iterator[bytes]:
    """Members of a gzip file one after the other. (The gzip module reads a header's name byte by byte, without end.)"""
    engine = zlib.decompressobj(wbits=31)
    data, begun = b"", False
    while data or (data := raw.read(CHUNK)):
        if not begun and not (data := data.lstrip(b"\0")):  # padding between members, as tapes leave it
            continue
        begun = True
        piece = engine.decompress(data, CHUNK)
        data = engine.unconsumed_tail
        while piece:
            yield piece
            piece = b"" if engine.eof else engine.decompress(data, CHUNK)  # past the end it would keep `data` twice
            data = engine.unconsumed_tail
        if engine.eof:
            data, engine, begun = engine.unused_data, zlib.decompressobj(wbits=31), False
    if begun:
        raise EOFError("the file ends in the middle")


def _unxz(raw: BinaryIO) -> Iterator[bytes]:
    """Streams of an xz file one after the other, with a cap on the memory that a header may ask for."""
    engine = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
    data, begun = b"", False
    while data or not engine.needs_input or (data := raw.read(CHUNK)):
        if not begun and not (data := data.lstrip(b"\0")):
            continue
        begun = True
        if piece := engine.decompress(data, CHUNK):
            yield piece
        data = b""
        if engine.eof:
            data, engine, begun = engine.unused_data, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY), False
    if begun:
        raise EOFError("the file ends in the middle")


def check_encoding(name: str) -> str:
    """The name of a text encoding that Python knows."""
    try:
        known = codecs.lookup(name)
    except (LookupError, ValueError) as error:
        message = f'Unknown encoding {shown(name)}; common ones are "utf-8", "utf-16", "gb18030" and "latin-1".'
        raise InputError(message) from error
    if not getattr(known, "_is_text_encoding", True) or known.incrementaldecoder is None:
        raise InputError(f'"{known.name}" is not an encoding of text; common ones are "utf-8", "utf-16" and "gb18030".')
    return known.name


def guess_encoding(sample: bytes, *, start: bool = True) -> str:
    """The encoding of a file from `sample`, its bytes from the first one that is not plain ASCII.

    Falls back to UTF-8, whose decoder then reports the exact byte that is wrong.
    """
    if start:
        for mark, name in _BOMS:
            if sample.startswith(mark):
                return name
        if b"\0" in sample and (wide := _utf16(sample)):
            return wide
    if _decodes(sample, "utf-8") is None and _looks_chinese(sample):
        return "gb18030"
    return "utf-8"


def _decodes(sample: bytes, encoding: str) -> str | None:
    """The sample decoded (it may end inside a character), or None."""
    try:
        return codecs.getincrementaldecoder(encoding)("strict").decode(sample)
    except UnicodeDecodeError:
        return None


def _utf16(sample: bytes) -> str | None:
    """UTF-16 without a mark: enough zero bytes, and the reading that they speak for gives printable text.

    Where the bytes are UTF-8 too, a stray NUL is likelier than UTF-16, of whose bytes a quarter must then be zero.
    """
    head = sample[: 1 << 16]
    high, low = head[0::2].count(0), head[1::2].count(0)  # both occur in Chinese: a comma is 002C, the number one 4E00
    if max(high, low) < (0.02 if _decodes(head, "utf-8") is None else 0.25) * len(head):
        return None
    for name in ("utf-16-be", "utf-16-le") if high > low else ("utf-16-le", "utf-16-be"):
        text = _decodes(head, name)
        if text and sum(c.isprintable() or c in "\r\n\t" for c in text) >= 0.98 * len(text):
            return name
    return None


def _looks_chinese(sample: bytes) -> bool:
    """Whether the sample is strict GB18030, mostly level-1 characters and punctuation, with some very frequent ones."""
    text = _decodes(sample, "gb18030")
    wide = [c for c in text or "" if ord(c) > 127]
    if not wide:
        return False
    common = 0
    for c in wide:
        code = c.encode("gb18030")
        common += len(code) == 2 and (0xB0 <= code[0] <= 0xD7 or 0xA1 <= code[0] <= 0xA3) and code[1] >= 0xA1
    frequent = sum(c in _FREQUENT for c in wide)
    # Ten Chinese characters without one of the 250 most frequent are rare; Korean or Russian text has next to none.
    return common >= 0.75 * len(wide) and (len(wide) < 10 or frequent >= 0.05 * len(wide))


def texts(path: Path, packing: Packing, budget: Budget, encoding: str | None = None) -> Iterator[str]:
    """The text of a file in chunks: mark stripped, NUL and invalid bytes refused with line and byte."""
    stream = unpacked(path, packing, budget.limits)
    decoder = codecs.getincrementaldecoder(check_encoding(encoding))("strict") if encoding else None
    name, offset, line = encoding or "utf-8", 0, 1
    for chunk in stream:
        if not offset:
            _check_magic(path, chunk, packing)
        if decoder is None and (b"\0" in chunk or not chunk.isascii()):
            chunk += next(stream, b"")  # the first odd byte may be the last of its chunk
            name = guess_encoding(chunk, start=not offset)
            decoder = codecs.getincrementaldecoder(name)("strict")
        text = chunk.decode("ascii") if decoder is None else _decode(decoder, name, chunk, path, offset, line)
        if not offset:
            text = text.removeprefix("\ufeff")
        offset += len(chunk)
        _check_text(path, line, text, name)
        line += text.count("\n")
        budget.read(path, line, len(text))
        yield text
    if decoder is not None:
        yield _decode(decoder, name, b"", path, offset, line)


def _check_magic(path: Path, chunk: bytes, packing: Packing) -> None:
    """Refuse a binary file with the ending of a text file by what it is."""
    for magic, kind in _MAGIC.items():
        if chunk.startswith(magic):
            inside = " inside its compression" if packing else ""
            raise refuse(path, None, f"the file is {kind}{inside}, not text; give it the ending of what it is")


def _decode(decoder: codecs.IncrementalDecoder, name: str, chunk: bytes, path: Path, offset: int, line: int) -> str:
    """One chunk decoded (an empty one is the end); the error names the byte in the file."""
    pending = decoder.getstate()[0]
    try:
        return decoder.decode(chunk, final=not chunk)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        data = pending + chunk
        where = line + data.count(b"\n", 0, start)
        byte = f"byte {offset - len(pending) + start:,} (0x{data[start]:02x})" if start < len(data) else "the end"
        advice = "save the file as UTF-8 or name its encoding, such as --encoding gb18030 or --encoding cp1252"
        raise refuse(path, where, f"{byte} is not valid {name.upper()}; {advice}") from error


def _check_text(path: Path, line: int, text: str, encoding: str) -> None:
    """No NUL, and no half of a surrogate pair (which lax encodings such as UTF-7 let through)."""
    if (found := text.find("\0")) >= 0:
        where = line + text.count("\n", 0, found)
        raise refuse(path, where, "there is a NUL byte in the text; remove it, or name the encoding if it is not UTF-8")
    if encoding not in _UNICODE and (match := _SURROGATE.search(text)):
        where = line + text.count("\n", 0, match.start())
        raise refuse(path, where, "there is half of a surrogate pair in the text, which is not a character; remove it")


def lines(path: Path, chunks: Iterator[str], limits: Limits, *, record: int = RECORD) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends: LF or CRLF, or CR alone where the file begins without any LF.

    Other Unicode line separators are text: `str.splitlines` would cut JSON strings in two.
    """
    cap = limits.field_characters * record
    number, held, size = 0, [], 0
    end = ""
    for chunk in chunks:
        if not end and chunk:
            end = "\r" if "\r" in chunk[:-1] and "\n" not in chunk else "\n"
        pieces = chunk.split(end or "\n")
        for piece in pieces[:-1]:
            held.append(piece)
            number += 1
            if size + len(piece) > cap:
                raise over(path, number, "the line is too long for one record", limits, "field_characters")
            yield number, "".join(held).removesuffix("\r")
            held, size = [], 0
        held.append(pieces[-1])
        size += len(pieces[-1])
        if size > cap:
            raise over(path, number + 1, "the line is too long for one record", limits, "field_characters")
    if size:
        yield number + 1, "".join(held).removesuffix("\r")


def whole_text(path: Path, chunks: Iterator[str], limits: Limits) -> str:
    """All of a file as one text, which has to fit into one field."""
    held, size = [], 0
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > limits.field_characters:
            raise over(path, None, "the file is too long for one row", limits, "field_characters")
    return "".join(held)
