"""Files of word vectors, read in one pass: only the rows that are asked for are ever made.

Text as GloVe, word2vec and fastText write it, parquet, and matrices (.npy, .safetensors) with their
words beside them.
"""

from __future__ import annotations

import gzip
import zlib
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlk.errors import DataError
from dlk.io import is_remote, open_file

__all__ = ["VectorFile", "open_vectors"]

_BATCH = 8192  # rows of parquet or safetensors held at once
Vector = NDArray[np.float32]


class VectorFile(ABC):
    """Words and their vectors, in the order of a file.

    Args:
        path: the file.
        width: how many numbers a vector has.
    """

    def __init__(self, path: str, width: int) -> None:
        self.path = path
        self.width = width

    @abstractmethod
    def rows(self, wanted: Container[str], first: int | None) -> Iterator[tuple[str, Vector]]:
        """Yield the wanted words with their vectors, and all of the first rows.

        Args:
            wanted: words to yield wherever they stand.
            first: so many rows are yielded whatever their word is; None: all.

        Raises:
            DataError: the file is no such file, or a row that is yielded has another width or
                numbers that are not finite.
        """

    def checked(self, vector: Vector, place: str) -> Vector:
        """Return a vector that has the right width and finite numbers."""
        if vector.shape != (self.width,):
            raise DataError(
                f"{self.path}{place}: expected a vector of {self.width} numbers "
                f"(embedding_size), got {vector.size}"
            )
        if not np.isfinite(vector).all():
            raise DataError(f"{self.path}{place}: the vector holds numbers that are not finite")
        return vector


def open_vectors(path: str, width: int, *, words_file: str | None) -> VectorFile:
    """Return the reader of a file of vectors, by its suffix; text where it is none of the known.

    Raises:
        DataError: there is no such file, or it cannot be read so.
    """
    suffix = Path(path).suffix
    if suffix == ".parquet":
        return _Parquet(path, width)
    if suffix in {".npy", ".safetensors"}:
        if is_remote(path):
            raise DataError(f"{path}: a matrix is read through a memory map: copy the file first")
        assert words_file is not None  # by the config's rules
        kind = _Npy if suffix == ".npy" else _Safetensors
        return kind(path, width, words_file)
    return _Text(path, width)


# Text ---------------------------------------------------------------------------------------------


class _Text(VectorFile):
    """One word a line, then its numbers, between spaces; word2vec puts a line of sizes in front.

    The numbers are counted from the right, so a word may hold spaces. Lines end at line feeds
    alone: words may hold any other separator of Unicode.
    """

    def rows(self, wanted: Container[str], first: int | None) -> Iterator[tuple[str, Vector]]:
        try:
            with open_file(self.path, "rb") as raw, _unzipped(raw) as lines:
                yield from self._lines(lines, wanted, first)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DataError(f"{self.path} is no whole .gz file: {error}") from error
        except OSError as error:
            raise DataError(f"cannot read the vectors {self.path}: {error}") from error

    def _lines(
        self, lines: IO[bytes], wanted: Container[str], first: int | None
    ) -> Iterator[tuple[str, Vector]]:
        number = 0
        head = lines.readline(1 << 20)
        if self._sizes(head):
            number, head = 1, lines.readline(1 << 20)
        else:
            self._vector(head, 1)  # a file that is something else shows here
        taken = 0
        while head:
            number += 1
            line = head.rstrip(b" \r\n")
            head = lines.readline()
            # A word without spaces ends at the first one; only where that could be a wanted word,
            # or its beginning, are the numbers looked at.
            if first is not None and taken >= first and not self._may_be(line, wanted):
                continue
            parts = line.rsplit(b" ", self.width)
            word = parts[0].decode("utf-8", errors="replace")
            if first is None or taken < first or word in wanted:
                taken += 1
                yield word, self._vector(line, number)

    def _may_be(self, line: bytes, wanted: Container[str]) -> bool:
        end = line.find(b" ")
        if line.count(b" ") != self.width:
            return True
        return line[:end].decode("utf-8", errors="replace") in wanted

    def _sizes(self, line: bytes) -> bool:
        """Return whether a first line gives the number of words, and the width."""
        parts = line.split()
        if len(parts) != 2 or self.width == 1 or not all(part.isdigit() for part in parts):
            return False
        if int(parts[1]) != self.width:
            raise DataError(
                f"{self.path} says that its vectors have {int(parts[1])} numbers, and "
                f"embedding_size is {self.width}"
            )
        return True

    def _vector(self, line: bytes, number: int) -> Vector:
        parts = line.rstrip(b" \r\n").rsplit(b" ", self.width)[1:]
        try:
            found = np.array([float(part) for part in parts], dtype=np.float32)
        except ValueError as error:
            raise DataError(
                f"{self.path}:{number}: expected a word and {self.width} numbers "
                f"(embedding_size): {error}. Binary files of word2vec and fastText are not read: "
                "save them as text."
            ) from error
        return self.checked(found, f":{number}")


def _unzipped(raw: IO[bytes]) -> IO[bytes]:
    """Return the bytes of a file, unpacked where they begin as gzip's do."""
    is_packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return gzip.open(raw, "rb") if is_packed else raw  # type: ignore[return-value]  # reads bytes


# Parquet ------------------------------------------------------------------------------------------


class _Parquet(VectorFile):
    """A column of words, and one of lists of numbers or as many columns of numbers."""

    def rows(self, wanted: Container[str], first: int | None) -> Iterator[tuple[str, Vector]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with open_file(self.path, "rb") as handle, pq.ParquetFile(handle) as file:
                text = _text_column(file.schema_arrow, self.path)
                others = [field.name for field in file.schema_arrow if field.name != text]
                seen = 0
                for batch in file.iter_batches(batch_size=_BATCH):
                    words = batch.column(text).to_pylist()
                    kept = [
                        place
                        for place, word in enumerate(words)
                        if word is not None
                        and (first is None or seen + place < first or word in wanted)
                    ]
                    matrix = _matrix(batch.take(pa.array(kept, pa.int64())), others, self.path)
                    for place, vector in zip(kept, matrix, strict=True):
                        yield words[place], self.checked(vector, f", row {seen + place}")
                    seen += len(words)
        except OSError as error:
            raise DataError(f"cannot read the vectors {self.path}: {error}") from error
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.path} is no .parquet file: {error}") from error


def _text_column(schema: Any, path: str) -> str:
    found = [field.name for field in schema if str(field.type) in {"string", "large_string"}]
    if len(found) != 1:
        raise DataError(
            f"{path}: expected one column of words, found {len(found)} columns of texts among "
            f"{', '.join(schema.names)}"
        )
    return str(found[0])


def _matrix(batch: Any, names: Sequence[str], path: str) -> list[Vector]:
    """Return the vectors of a batch."""
    import pyarrow as pa

    columns = [batch.column(name) for name in names]
    try:
        if len(columns) == 1:
            return [np.asarray(row, dtype=np.float32).ravel() for row in columns[0].to_pylist()]
        parts = [column.cast(pa.float32()).to_numpy(zero_copy_only=False) for column in columns]
    except (ValueError, TypeError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{path}: expected numbers beside the words: {error}") from error
    if not parts:
        raise DataError(f"{path} holds words and no vectors")
    return list(np.stack(parts, axis=1)) if batch.num_rows else []


# Matrices -----------------------------------------------------------------------------------------


class _Matrix(VectorFile):
    """Rows of numbers whose words stand in another file."""

    def __init__(self, path: str, width: int, words_file: str) -> None:
        super().__init__(path, width)
        self.words_file = words_file

    def rows(self, wanted: Container[str], first: int | None) -> Iterator[tuple[str, Vector]]:
        places: list[int] = []
        words: list[str] = []
        total = 0
        for place, word in enumerate(_words(self.words_file)):
            total += 1
            if first is None or place < first or word in wanted:
                places.append(place)
                words.append(word)
        for word, place, vector in zip(words, places, self.read(places, total), strict=True):
            yield word, self.checked(vector, f", row {place}")

    @abstractmethod
    def read(self, places: Sequence[int], total: int) -> Iterator[Vector]:
        """Yield rows by their numbers, which rise; there are `total` rows."""

    def fits(self, shape: Sequence[int], total: int) -> None:
        """Refuse a matrix of another width or length."""
        if tuple(shape) != (total, self.width):
            raise DataError(
                f"{self.path} is {tuple(shape)}; expected {total} rows, as {self.words_file} has "
                f"words, of {self.width} numbers (embedding_size)"
            )


class _Npy(_Matrix):
    def read(self, places: Sequence[int], total: int) -> Iterator[Vector]:
        try:
            matrix = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise DataError(f"cannot read the vectors {self.path}: {error}") from error
        except ValueError as error:
            raise DataError(f"{self.path} is no matrix in .npy format") from error
        if matrix.dtype.kind not in "fiu":
            raise DataError(f"{self.path} holds no numbers")
        self.fits(matrix.shape, total)
        for start in range(0, len(places), _BATCH):
            # by blocks: a matrix that is stored by columns is gone through once for each
            yield from matrix[places[start : start + _BATCH]].astype(np.float32)


class _Safetensors(_Matrix):
    def read(self, places: Sequence[int], total: int) -> Iterator[Vector]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as file:
                names = list(file.keys())
                if len(names) != 1:
                    raise DataError(
                        f"{self.path} must hold one tensor, it holds {len(names)}: "
                        f"{', '.join(names[:10])}"
                    )
                part: Any = file.get_slice(names[0])
                self.fits(part.get_shape(), total)
                done = 0
                for start in range(0, total, _BATCH):
                    stop = min(start + _BATCH, total)
                    end = done
                    while end < len(places) and places[end] < stop:
                        end += 1
                    if end > done:
                        block = part[start:stop].float().numpy()
                        yield from block[[place - start for place in places[done:end]]]
                        done = end
        except OSError as error:
            raise DataError(f"cannot read the vectors {self.path}: {error}") from error
        except SafetensorError as error:
            raise DataError(f"{self.path} is no .safetensors file") from error


def _words(path: str) -> Iterator[str]:
    """Yield the words of a file of words: one a line, or the one column of texts of a parquet."""
    try:
        if Path(path).suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            with open_file(path, "rb") as handle:
                try:
                    file = pq.ParquetFile(handle)
                except pa.ArrowInvalid as error:
                    raise DataError(f"{path} is no .parquet file: {error}") from error
                column = _text_column(file.schema_arrow, path)
                for batch in file.iter_batches(batch_size=_BATCH, columns=[column]):
                    yield from batch.column(0).to_pylist()
            return
        with open_file(path, "rb") as lines:
            for line in lines:
                yield line.rstrip(b"\r\n").decode("utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"cannot read the words {path}: {error}") from error
