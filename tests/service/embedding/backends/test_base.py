import numpy as np
import pytest

from service.bundle import LonLat
from service.embedding.backends.base import embed_checked
from service.errors import BackendFailed

PLACES = LonLat.from_degrees([[1, 2], [3, 4]])


class Answering:
    """Returns what it was made with; raises it where it is an exception."""

    embedding_dim = 3
    provider = "test"

    def __init__(self, answer):
        self.answer = answer

    def embed(self, lonlat):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_sound_rows_pass_untouched():
    rows = np.ones((2, 3), np.float32)
    assert embed_checked(Answering(rows), PLACES) is rows


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (np.ones((2, 4), np.float32), r"float32 \(2, 4\), not float32 \(2, 3\)"),
        (np.ones((1, 3), np.float32), r"float32 \(1, 3\), not"),
        (np.ones(6, np.float32), r"float32 \(6,\), not"),
        (np.ones((2, 3), np.float64), r"float64 \(2, 3\), not float32"),
        (None, "object"),
        ([[1, 2, 3], [4, 5, 6]], "int64"),
        ([[1, 2], [3]], "inhomogeneous"),
        (np.array([[0, 0, 0], [0, np.nan, 0]], np.float32), "not finite"),
        (np.array([[0, 0, 0], [0, 0, -np.inf]], np.float32), "not finite"),
        (ValueError("bad weights"), "failed on a batch of 2 places: bad weights"),
        (MemoryError("full"), "failed on a batch of 2 places: full"),
        (BackendFailed("as it is"), "^as it is$"),
    ],
    ids=str,
)
def test_whatever_goes_wrong_in_a_backend_is_one_error(answer, message):
    with pytest.raises(BackendFailed, match=message):
        embed_checked(Answering(answer), PLACES)
