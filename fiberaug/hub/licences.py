"""Licences as the Hub calls them."""

from typing import Any

__all__ = ["licence_fields"]

_KNOWN = frozenset({
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m",
    "openrail++", "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd",
    "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0",
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cdla-sharing-1.0", "cdla-permissive-1.0",
    "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0",
    "eupl-1.1", "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl",
    "lgpl-2.1", "lgpl-3.0", "isc", "lppl-1.3c", "ms-pl", "mpl-2.0", "odc-by", "odbl",
    "ofl-1.1", "osl-3.0", "postgresql", "ncsa", "unlicense", "zlib", "pddl",
    "unknown", "other",
})  # fmt: skip
_NAMES = {"cc0": "cc0-1.0", "public domain": "cc0-1.0", "apache 2.0": "apache-2.0"}


def licence_fields(licence: str | None) -> dict[str, Any]:
    """Return the fields of a card's front matter that say a licence.

    Args:
        licence: An SPDX name, or any text; None or empty: it is not known.

    >>> licence_fields("CC0-1.0"), licence_fields("Ours alone")
    ({'license': 'cc0-1.0'}, {'license': 'other', 'license_name': 'ours-alone'})
    """
    if not licence or not licence.strip():
        return {}
    plain = " ".join(licence.lower().split())
    known = _NAMES.get(plain, plain)
    if known in _KNOWN:
        return {"license": known}
    name = "".join(one if one.isalnum() or one in ".+" else "-" for one in plain)
    return {"license": "other", "license_name": name.strip("-")[:96] or "other"}
