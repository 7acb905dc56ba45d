"""Quantities (`500m`, `128Mi`): parsing and the canonical form that the API server returns."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

_FORM = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def parse(value: object) -> Decimal:
    """The number that a quantity stands for.

    Raises:
        ValueError: Not a quantity, in Kubernetes' words.
    """
    return _parts(value)[0]


def _parts(value: object) -> tuple[Decimal, str]:
    text = str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
    found = _FORM.match(text)
    if not found:
        raise ValueError(_WRONG)
    digits, suffix = Decimal(found[1]), found[2] or ""
    if suffix in _BINARY:
        return digits * (1024 ** _BINARY[suffix]), "binary"
    if suffix in _DECIMAL:
        return digits.scaleb(_DECIMAL[suffix]), "decimal"
    return digits.scaleb(int(suffix[1:])), "exponent"


def canonical(value: object) -> str:
    """The quantity with the largest suffix that leaves it whole, as the API server writes it.

    Raises:
        ValueError: Not a quantity, in Kubernetes' words.
    """
    number, family = _parts(value)
    if family == "binary" and number == number.to_integral_value():
        for suffix in reversed(_BINARY):
            unit = 1024 ** _BINARY[suffix]
            if number and number % unit == 0:
                return f"{int(number / unit)}{suffix}"
        return str(int(number))
    number = number.scaleb(9).to_integral_value(ROUND_CEILING).scaleb(-9)
    for suffix in reversed(_DECIMAL):
        scaled = number.scaleb(-_DECIMAL[suffix])
        if number and scaled == scaled.to_integral_value():
            power = _DECIMAL[suffix]
            return f"{int(scaled)}e{power}" if family == "exponent" and power else f"{int(scaled)}{suffix}"
    return "0"
