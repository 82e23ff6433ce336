"""What an expression in PromQL asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import promql_parser

from service.metrics import Metrics

FROM_PROMETHEUS = {"job", "instance", "namespace", "pod"}
"""Labels that a scrape adds to every series."""


def exported() -> dict[str, set[str]]:
    """The series that the service exports, each with its labels."""
    series: dict[str, set[str]] = {"up": set(FROM_PROMETHEUS)}
    for metric in vars(Metrics()).values():
        if not (kind := getattr(metric, "_type", None)):
            continue
        name, labels = metric.describe()[0].name, {*metric._labelnames, *FROM_PROMETHEUS}
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[kind]
        series |= {name + suffix: labels | ({"le"} if suffix == "_bucket" else set()) for suffix in suffixes}
    return series


def unknown_in(expression: str) -> list[str]:
    """The series and labels that `expression` names and the service does not export. Raises where it does not parse."""
    known = exported()
    tree = list(nodes(promql_parser.parse(expression)))
    selectors = [node for node in tree if isinstance(node, promql_parser.VectorSelector)]
    assert selectors, f"{expression} asks for nothing"
    unknown = [selector.name for selector in selectors if selector.name not in known]
    labels = set.intersection(*(known.get(selector.name, set()) for selector in selectors))
    for selector in selectors:
        matched = {matcher.name for matcher in selector.matchers.matchers}
        unknown += sorted(f"{selector.name}{{{label}}}" for label in matched - known.get(selector.name, set()))
    for node in tree:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            unknown += sorted(f"by ({label})" for label in set(node.modifier.labels) - labels)
    return unknown


def nodes(node: Any) -> Iterator[Any]:
    """`node` and all below it."""
    if isinstance(node, promql_parser.MatrixSelector):
        node = node.vector_selector
    yield node
    for name in ("lhs", "rhs", "expr"):
        if (child := getattr(node, name, None)) is not None:
            yield from nodes(child)
    for argument in getattr(node, "args", []):
        yield from nodes(argument)
