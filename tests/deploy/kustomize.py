"""What `kubectl kustomize` makes of deploy/kubernetes, as far as these files use it, for machines without kubectl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
CLUSTER_WIDE = {"Namespace"}
KNOWN = {
    *("apiVersion", "kind", "namespace", "resources", "components", "labels", "images", "configMapGenerator"),
    "patches",
}


def render(folder: Path) -> list[Manifest]:
    """The manifests of the kustomization in `folder`; a ConfigMap keeps its name, without a hash."""
    return _render(folder, [])


def _render(folder: Path, manifests: list[Manifest]) -> list[Manifest]:
    """A component works on the manifests of who includes it; else these are none."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(kustomization) <= KNOWN, f"{folder}: {set(kustomization) - KNOWN} is not rendered here"
    for name in kustomization.get("resources", []):
        path = folder / name
        manifests += render(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for generator in kustomization.get("configMapGenerator", []):
        _generate(folder, generator, manifests)
    for component in kustomization.get("components", []):
        manifests = _render(folder / component, manifests)
    for patch in kustomization.get("patches", []):
        (target,) = [manifest for manifest in manifests if _is(manifest, patch["target"])]
        for operation in yaml.safe_load(patch["patch"]):
            _apply(operation, target)
    for manifest in manifests:
        _transform(manifest, kustomization)
    return manifests


def _generate(folder: Path, generator: dict[str, Any], manifests: list[Manifest]) -> None:
    data = dict(literal.split("=", 1) for literal in generator["literals"])
    data |= {name: (folder / name).read_text() for name in generator.get("files", [])}
    target = {"kind": "ConfigMap", "name": generator["name"]}
    if generator.get("behavior") == "merge":
        (existing,) = [manifest for manifest in manifests if _is(manifest, target)]
        existing["data"] |= data
    else:
        metadata = {"name": generator["name"]}
        manifests.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _is(manifest: Manifest, target: dict[str, str]) -> bool:
    return manifest["kind"] == target["kind"] and manifest["metadata"]["name"] == target["name"]


def _apply(operation: dict[str, Any], manifest: Manifest) -> None:
    """One operation of RFC 6902."""
    *parents, last = operation["path"].strip("/").split("/")
    at: Any = manifest
    for key in parents:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if isinstance(at, list):
        assert (operation["op"], last) == ("add", "-")
        at.append(operation["value"])
    else:
        assert operation["op"] == "add" or (operation["op"] == "replace" and last in at)
        at[last] = operation["value"]


def _transform(manifest: Manifest, kustomization: Manifest) -> None:
    metadata = manifest["metadata"]
    if (namespace := kustomization.get("namespace")) and manifest["kind"] not in CLUSTER_WIDE:
        metadata["namespace"] = namespace
    for label in kustomization.get("labels", []):
        metadata["labels"] = metadata.get("labels", {}) | label["pairs"]
    for image in kustomization.get("images", []):
        if manifest["kind"] in ("Deployment", "Job"):
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                if container["image"].partition(":")[0] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
