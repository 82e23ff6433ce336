"""A bucket on this machine: moto's server, which answers as S3 does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import fsspec
import pytest
from moto.server import ThreadedMotoServer

from tests.redis_server import free_port


@contextmanager
def bucket(name: str) -> Iterator[dict[str, str]]:
    """The environment in which s3://`name` is reached."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    environment = {
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
    }
    client = boto3.client(
        "s3",
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
        endpoint_url=environment["AWS_ENDPOINT_URL"],
    )
    client.create_bucket(Bucket=name)
    client.close()
    try:
        yield environment
    finally:
        server.stop()


@contextmanager
def reachable_bucket(name: str) -> Iterator[str]:
    """s3://`name`/runs, with the way there in this process's environment."""
    with bucket(name) as environment, pytest.MonkeyPatch.context() as patched:
        for variable, value in environment.items():
            patched.setenv(variable, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield f"s3://{name}/runs"
        fsspec.get_filesystem_class("s3").clear_instance_cache()
