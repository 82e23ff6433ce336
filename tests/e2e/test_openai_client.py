"""OpenAI's own Python client, unchanged, against a real service."""

from __future__ import annotations

import httpx
import numpy as np
import openai
import pytest

from tests.e2e.conftest import Serve, Served

KEY = "k-e2e"
MODEL = "earth-l30"
PLACES = [[116.4, 39.9], [2.35, 48.86]]


@pytest.fixture(scope="module")
def keyed(serve: Serve, tmp_path_factory: pytest.TempPathFactory):
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(KEY)
    with serve(
        SATCLE_API_KEYS_FILE=str(keys), SATCLE_MAX_POINTS_PER_REQUEST="100", SATCLE_MAX_QUEUE_POINTS="100"
    ) as it:
        yield it


def client_of(served: Served, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.url + "/v1", api_key=key, max_retries=0)


def test_embeddings_by_default_in_base64_are_those_in_floats(keyed: Served) -> None:
    with client_of(keyed) as client:
        answer = client.embeddings.create(model=MODEL, input=PLACES)
        floats = client.embeddings.create(model=MODEL, input=PLACES, encoding_format="float")
    assert answer.model == MODEL
    assert answer.usage.prompt_tokens == 2
    assert [item.index for item in answer.data] == [0, 1]
    rows = np.float32([item.embedding for item in answer.data])
    assert rows.shape == (2, 256)
    np.testing.assert_array_equal(rows, np.float32([item.embedding for item in floats.data]))


def test_our_own_options_pass_as_extra_body(keyed: Served) -> None:
    with client_of(keyed) as client:
        answer = client.embeddings.create(model=MODEL, input=PLACES, extra_body={"exact": True, "normalize": True})
    np.testing.assert_allclose(np.linalg.norm([item.embedding for item in answer.data], axis=1), 1, atol=1e-6)
    assert "cell" not in answer.data[0].model_extra


def test_models_are_listed_and_shown(keyed: Served) -> None:
    with client_of(keyed) as client:
        assert [model.id for model in client.models.list()] == [MODEL]
        assert client.models.retrieve(MODEL).owned_by == "satcle"


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (openai.NotFoundError, {"model": "nope", "input": PLACES}),
        (openai.UnprocessableEntityError, {"model": MODEL, "input": [[0, 100]]}),
        (openai.APIStatusError, {"model": MODEL, "input": [[0, 0]] * 101}),
    ],
)
def test_errors_are_its_own(keyed: Served, error: type[openai.APIStatusError], asked: dict) -> None:
    with client_of(keyed) as client, pytest.raises(error) as raised:
        client.embeddings.create(**asked)
    assert raised.value.code in {"not_found", "invalid_request", "too_large"}
    assert raised.value.message


def test_a_wrong_key_is_its_authentication_error(keyed: Served) -> None:
    with client_of(keyed, "wrong") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert httpx.get(keyed.url + "/readyz").status_code == 200
