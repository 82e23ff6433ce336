"""Predictions out: media type → encoder, as service.api.formats has them for embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from service.api.cautions import Warnings, json_tail
from service.api.formats import ARROW_STREAM, JSON, NPY, OCTET_STREAM, PARQUET, Buffer, float32_of, npy_of
from service.bundle import LonLat
from service.embedding.cells import Cells, cell_strings
from service.embedding.predictions import Prediction
from service.embedding.table import arrow_stream_of, parquet_of

TOP = 5
"""How many classes a JSON answer gives the probability of."""
JSON_ITEMS_PER_CHUNK = 256
"""About a millisecond's work: it holds the interpreter, and others wait."""
MATRICES = (OCTET_STREAM, NPY)
"""Media types that are numbers alone: all of a classification's probabilities, where others have the most probable."""


@dataclass(frozen=True)
class PredictionAnswer:
    """Predictions of one model for `lonlat`, or for the centres of `cells` where those are not None."""

    model: str
    digest: str
    lonlat: LonLat
    cells: Cells | None
    predictions: list[Prediction]
    warnings: Warnings = ()

    def __len__(self) -> int:
        return len(self.lonlat)


Encoder = Callable[[PredictionAnswer], Iterator[Buffer]]


def encode_json(answer: PredictionAnswer) -> Iterator[Buffer]:
    """An item for each place and head, place by place."""
    rows_per_chunk = max(1, JSON_ITEMS_PER_CHUNK // len(answer.predictions))
    yield b'{"object":"list","model":' + orjson.dumps(answer.model) + b',"data":['
    for start in range(0, len(answer), rows_per_chunk):
        items = _items(answer, slice(start, min(start + rows_per_chunk, len(answer))))
        yield (b"," if start else b"") + orjson.dumps(items, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
    usage = orjson.dumps({"prompt_tokens": len(answer), "total_tokens": len(answer)})
    yield b'],"usage":' + usage + json_tail(answer.warnings) + b"}"


def _items(answer: PredictionAnswer, rows: slice) -> list[dict[str, object]]:
    cells = None if answer.cells is None else cell_strings(answer.cells[rows])
    says = [_said(prediction, rows) for prediction in answer.predictions]
    return [
        {"index": index, "head": prediction.card.id, **said[row]} | ({} if cells is None else {"cell": cells[row]})
        for row, index in enumerate(range(rows.start, rows.stop))
        for prediction, said in zip(answer.predictions, says, strict=True)
    ]


def _said(prediction: Prediction, rows: slice) -> list[dict[str, object]]:
    """Of each row. numpy's own float32 stay, since they are written with no more digits than they have."""
    card, numbers = prediction.card, prediction.numbers[rows]
    if prediction.ranked is None:
        return [{"value": value, "unit": card.unit} for value in numbers[:, 0]]
    names = _classes(prediction)
    return [
        {"label": names[ranked[0]], "probabilities": {names[k]: p for k, p in zip(ranked, probabilities, strict=True)}}
        for ranked, probabilities in zip(prediction.ranked[rows].tolist(), numbers, strict=True)
    ]


def encode_octet_stream(answer: PredictionAnswer) -> Iterator[Buffer]:
    yield float32_of(_matrix(answer))


def encode_npy(answer: PredictionAnswer) -> Iterator[Buffer]:
    yield npy_of(_matrix(answer))


def encode_arrow_stream(answer: PredictionAnswer) -> Iterator[Buffer]:
    yield arrow_stream_of(_table(answer))


def encode_parquet(answer: PredictionAnswer) -> Iterator[Buffer]:
    yield parquet_of(_table(answer))


PREDICTION_ENCODERS: dict[str, Encoder] = {
    JSON: encode_json,
    OCTET_STREAM: encode_octet_stream,
    NPY: encode_npy,
    ARROW_STREAM: encode_arrow_stream,
    PARQUET: encode_parquet,
}


def matrix_headers(answer: PredictionAnswer) -> dict[str, str]:
    """What the numbers are: their shape, and how many columns each head has, in order."""
    widths = {prediction.card.id: prediction.numbers.shape[1] for prediction in answer.predictions}
    return {
        "X-Prediction-Shape": f"{len(answer)},{sum(widths.values())}",
        "X-Prediction-Dtype": "float32",
        "X-Prediction-Columns": ",".join(f"{head}={width}" for head, width in widths.items()),
    }


def _matrix(answer: PredictionAnswer) -> NDArray[np.float32]:
    """(n, columns of all heads)."""
    first, *rest = (prediction.numbers for prediction in answer.predictions)
    return np.concatenate([first, *rest], axis=1) if rest else np.ascontiguousarray(first)


def _table(answer: PredictionAnswer) -> pa.Table:
    """lon, lat (the given place), h3 (the cell encoded; absent with exact), and of each head a column of values, or of
    labels and one of their probabilities."""
    lon, lat = answer.lonlat.degrees.T
    columns: list[tuple[pa.Field, pa.Array]] = [
        (pa.field("lon", pa.float64()), pa.array(lon)),
        (pa.field("lat", pa.float64()), pa.array(lat)),
    ]
    if answer.cells is not None:
        columns.append((pa.field("h3", pa.uint64()), pa.array(answer.cells)))
    for prediction in answer.predictions:
        columns += _columns(prediction)
    metadata = {b"satcle.model": answer.model, b"satcle.digest": answer.digest}
    schema = pa.schema([field for field, _ in columns], metadata)
    return pa.Table.from_arrays([array for _, array in columns], schema=schema)


def _columns(prediction: Prediction) -> Iterator[tuple[pa.Field, pa.Array]]:
    card, best = prediction.card, pa.array(np.ascontiguousarray(prediction.numbers[:, 0]))
    if prediction.ranked is None:
        yield pa.field(card.id, pa.float32(), metadata={"unit": card.unit} if card.unit else None), best
        return
    index = pa.array(prediction.ranked[:, 0].astype(np.int32))
    labels = pa.DictionaryArray.from_arrays(index, pa.array(_classes(prediction)))
    yield pa.field(card.id, labels.type), labels
    yield pa.field(f"{card.id}_probability", pa.float32()), best


def _classes(prediction: Prediction) -> tuple[str, ...]:
    assert prediction.card.classes is not None
    return prediction.card.classes
