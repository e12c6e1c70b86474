"""Networks by name: each takes [N, 3, H, W] in -1 ... 1 and returns a list of raw heatmaps, one a stack."""

from __future__ import annotations

import dataclasses
from typing import Any

from poseglass_training.networks.cnn import Cnn, CnnConfig
from poseglass_training.networks.hourglass import HourglassConfig, StackedHourglass

Config = HourglassConfig | CnnConfig
Network = StackedHourglass | Cnn

__all__ = [
    "CONFIGS",
    "Cnn",
    "CnnConfig",
    "Config",
    "HourglassConfig",
    "Network",
    "StackedHourglass",
    "architecture",
    "build",
    "config_from_json",
]

CONFIGS: dict[str, type[Config]] = {"hourglass": HourglassConfig, "cnn": CnnConfig}


def architecture(config: Config) -> str:
    """The name under which `CONFIGS` knows these settings."""
    return next(name for name, kind in CONFIGS.items() if type(config) is kind)


def build(config: Config) -> Network:
    """The network of some settings, freshly initialised."""
    return StackedHourglass(config) if isinstance(config, HourglassConfig) else Cnn(config)


def config_from_json(name: str, value: dict[str, Any]) -> Config:
    """Settings read back from a checkpoint.

    Raises:
        ValueError: no such architecture, or settings it does not have.
    """
    if name not in CONFIGS:
        raise ValueError(f"unknown architecture {name!r}; this version knows {', '.join(CONFIGS)}")
    kind = CONFIGS[name]
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := value.keys() - known:
        raise ValueError(f"architecture {name!r} has no setting {', '.join(sorted(unknown))}")
    settings: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in value.items()}
    return kind(**settings)
