"""What can go wrong when the service is asked for something. These errors know nothing of HTTP.

ServiceError
├── InvalidSetting      a SATCLE_* variable that cannot be
├── InvalidRequest      well formed but wrong; names each item at fault
├── MalformedBody       bytes that do not parse as what they claim to be
├── TooLarge            more points or bytes than the limit
├── UnknownModel        no such model is served
├── ReloadForbidden     models are reloaded only by those who have a key, and none is configured
├── UnknownTile         no such tile matrix set, or no such tile in it
├── UnknownLayer        the model has nothing of that kind to show
├── UnknownHead         the model has no such head
├── UnsupportedMediaType a body of a kind that is not read
├── NotAcceptable       only kinds of answer that are not written were asked for
├── Overloaded          the queue is full, counted in points
├── DeadlineExceeded    the deadline passed before the answer was ready
├── ClientGone          the caller left before the answer was ready
├── NotReady            loading or draining
├── BackendFailed       the backend raised, or returned something that is not an embedding
├── ProviderUnavailable the execution provider asked for is not the one that would run
├── BadTable            a file that is not the table it is said to be, or lacks the columns it needs
├── BadRow              a row of a table that cannot be read or names no place; says where it is
├── PartFailed          a worker could not make its part of a dataset; has the worker's words
└── OutputExists        the output is there already, and overwriting was not asked for
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_REPORTED_ITEMS = 20


class ServiceError(Exception):
    """Base of every domain error; the message says what is wrong and what to do about it."""


@dataclass(frozen=True)
class ItemError:
    """One item at fault: its JSON pointer in the request ("" for the whole), and why."""

    pointer: str
    message: str


class InvalidRequest(ServiceError):
    """Holds the first `MAX_REPORTED_ITEMS` item errors of `total`."""

    def __init__(self, items: list[ItemError], total: int | None = None) -> None:
        self.items = items[:MAX_REPORTED_ITEMS]
        self.total = total if total is not None else len(items)
        first = items[0]
        rest = f" (and {self.total - 1} more)" if self.total > 1 else ""
        super().__init__(f"{first.pointer}: {first.message}{rest}" if first.pointer else first.message + rest)


class InvalidSetting(ServiceError):
    pass


class MalformedBody(ServiceError):
    pass


class TooLarge(ServiceError):
    pass


class UnknownModel(ServiceError):
    pass


class ReloadForbidden(ServiceError):
    pass


class UnknownTile(ServiceError):
    pass


class UnknownLayer(ServiceError):
    pass


class UnknownHead(ServiceError):
    pass


class Overloaded(ServiceError):
    """`retry_after_s` is an estimate of when there will be room."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class UnsupportedMediaType(ServiceError):
    pass


class NotAcceptable(ServiceError):
    pass


class ClientGone(ServiceError):
    pass


class DeadlineExceeded(ServiceError):
    pass


class NotReady(ServiceError):
    pass


class BackendFailed(ServiceError):
    pass


class ProviderUnavailable(ServiceError):
    pass


class BadTable(ServiceError):
    pass


class BadRow(ServiceError):
    pass


class PartFailed(ServiceError):
    pass


class OutputExists(ServiceError):
    pass
