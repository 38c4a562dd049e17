"""The fields of a request: each is checked before anything is done with it."""

import base64
import binascii
import math
from collections.abc import Collection, Mapping
from typing import Any

from make_it_real.errors import RequestError
from make_it_real.images import decode
from make_it_real.images.decode import Picture

# Pixels of a picture, where nothing else is asked for: with its result this takes 1.2 GB.
MAX_PIXELS = 50_000_000


class Fields:
    """The JSON object of a request. Every method raises RequestError for a value out of place.

    max_pixels: of the pictures in it.
    """

    def __init__(self, values: Any, max_pixels: int = MAX_PIXELS) -> None:
        if not isinstance(values, dict):
            raise RequestError("a request is a JSON object")
        self.values: Mapping[str, Any] = values
        self.max_pixels = max_pixels

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Return a number from low to high."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RequestError(f"{name}: a number, not {value!r:.40}")
        # Also where it is not a number.
        if not low <= value <= high or math.isinf(value):
            raise RequestError(f"{name}: from {low:g} to {high:g}, not {value:g}")
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number from low to high."""
        value = self.number(name, default, low, high)
        if value != int(value):
            raise RequestError(f"{name}: a whole number, not {value:g}")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return true or false; false where it is missing."""
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            raise RequestError(f"{name}: true or false, not {value!r:.40}")
        return value

    def word(self, name: str, default: str, words: Collection[str]) -> str:
        """Return one of some words."""
        value = self.values.get(name, default)
        if value not in words:
            raise RequestError(f"{name}: one of {', '.join(words)}, not {value!r:.40}")
        return str(value)

    def seeds(self, name: str, most: int) -> list[int]:
        """Return a list of one or more seeds, at most ``most``."""
        value = self.values.get(name)
        if not isinstance(value, list) or not 0 < len(value) <= most:
            raise RequestError(f"{name}: a list of 1 to {most} seeds")
        return [Fields({name: one}).integer(name, 0, 0, 2**63 - 1) for one in value]

    def parts(self, name: str, least: int, most: int) -> list["Fields"]:
        """Return a list of objects."""
        value = self.values.get(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise RequestError(f"{name}: a list of {least} to {most} objects")
        return [Fields(one, self.max_pixels) for one in value]

    def has(self, name: str) -> bool:
        """Return whether there is such a field."""
        return self.values.get(name) is not None

    def picture(self, name: str = "picture") -> Picture:
        """Decode a picture: the bytes of its file, in base64. Raises ImageError, too."""
        value = self.values.get(name)
        if not isinstance(value, str):
            raise RequestError(f"{name}: the bytes of a picture's file, in base64")
        try:
            data = base64.b64decode(value, validate=True)
        except (ValueError, binascii.Error) as error:
            raise RequestError(f"{name}: no base64") from error
        return decode.read(data, max_pixels=self.max_pixels)
