"""The settings that a store's labels were computed with, and how two of them differ."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from ndsc.codes.base import flat
from ndsc.codes.specification import CalculatorSpec, canonical
from ndsc.files import read_json, write_text
from ndsc.reference.store import Label, LabelStore

log = logging.getLogger(__name__)

#: Labels read from a store that does not list its settings yet.
SAMPLE = 50


def settings_of(spec: CalculatorSpec) -> dict[str, Any]:
    """The settings of a calculator that enter a label's key."""
    return {
        "calculator": spec.name,
        "parameters": dict(spec.parameters),
        "kgrid": canonical(spec.kgrid),
    }


def settings_id(settings: Mapping[str, Any]) -> str:
    """A short name of settings, the same for the same ones."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """One line for each setting that differs: ``parameters.mode.ecut: 350 there, 400 here``."""
    old, new = (
        {name: json.dumps(value, sort_keys=True) for name, value in flat(settings).items()}
        for settings in (there, here)
    )
    return [
        f"{name}: {old.get(name, 'not given')} there, {new.get(name, 'not given')} here"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def note_settings(store: LabelStore, spec: CalculatorSpec) -> None:
    """List the settings in ``settings/`` of the store, so that they are known without reading labels."""
    folder = store.path / "settings"
    # The first time, those of labels that are there already are listed too.
    earlier = [] if folder.is_dir() else known_settings(store)
    for settings in (*earlier, settings_of(spec)):
        path = folder / f"{settings_id(settings)}.json"
        if not path.exists():
            write_text(path, json.dumps(settings, indent=1) + "\n")


def known_settings(store: LabelStore) -> list[dict[str, Any]]:
    """All settings that a store lists; of one that lists none, those of its first labels."""
    found = {}
    for path in sorted((store.path / "settings").glob("*.json")):
        try:
            content = read_json(path)
            settings = canonical({name: content[name] for name in ("calculator", "parameters", "kgrid")})
            found[settings_id(settings)] = settings
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            log.warning("The settings %s cannot be read: %s", path, error)
    if not found:
        for key in islice(store.keys(), SAMPLE):
            try:
                recorded = recorded_settings(store.load(key).provenance)
            except (OSError, ValueError):
                continue
            if recorded is not None:
                found[settings_id(recorded)] = recorded
    return list(found.values())


def recorded_settings(provenance: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings that a label records."""
    if "calculator" not in provenance:
        return None
    return {name: provenance.get(name) for name in ("calculator", "parameters", "kgrid")}


def describe_other_settings(store: LabelStore, spec: CalculatorSpec) -> list[str]:
    """A line for each other settings of the store, and how they differ from these."""
    here = settings_of(spec)
    return [
        f"The store {store.path} also holds labels with other settings, which are not used: "
        f"{'; '.join(differences(there, here))}."
        for there in known_settings(store)
        if settings_id(there) != settings_id(here)
    ]


def describe_code_versions(labels: Iterable[Label]) -> list[str]:
    """A line when labels that are used together come from different versions of a code."""
    versions = Counter(str(label.provenance.get("code", "an unnamed code")) for label in labels)
    if len(versions) < 2:
        return []
    counted = ", ".join(f"{count} with {code}" for code, count in versions.most_common())
    return [f"The labels were computed with different versions of the code: {counted}."]
