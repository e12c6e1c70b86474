"""Whether a file hangs together as COCO keypoint JSON does."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

SHOWN = 10
"""Ids in an error message; `poseglass check` shows all."""


def listed(ids: Sequence[str], shown: int | None = SHOWN) -> str:
    """Ids in a row; of more than `shown` (None: any number), how many more."""
    more = f" and {len(ids) - shown} more" if shown is not None and len(ids) > shown else ""
    return f"{', '.join(ids[:shown])}{more}"


@cache
def _validator() -> Draft202012Validator:
    text = files("poseglass_training").joinpath("annotations.schema.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def structure_complaint(content: Any) -> str:
    """What keeps a file's content from being read at all, with the place; empty where nothing does."""
    error = best_match(_validator().iter_errors(content))
    if error is not None:
        where = ".".join(str(part) for part in error.absolute_path) or "the file"
        return f"{where}: {error.message if len(error.message) < 200 else f'breaks `{error.validator}`'}"
    offset = content.get("info", {}).get("keypoint_offset", (0, 0))
    if not all(math.isfinite(part) for part in offset):
        return "info.keypoint_offset: must be two finite numbers"
    for part in ("images", "annotations"):
        counts = Counter(entry["id"] for entry in content[part])
        if twice := [str(number) for number, count in counts.items() if count > 1]:
            return f"{part}: id {listed(twice)} is used more than once; give each its own"
    known = {category["id"] for category in content["categories"] if "id" in category}
    for annotation in content["annotations"]:
        if known and annotation.get("category_id", next(iter(known))) not in known:
            number = annotation["category_id"]
            return f"annotation {annotation['id']}: category_id {number} is not in `categories`"
    return ""
