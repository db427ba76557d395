"""Languages: how a tag is written, what it falls back to, and the CLDR data that its words come from.

Source: BCP 47 (tags), Unicode CLDR (likely scripts, parents), as Babel carries them.
"""

import re
from functools import lru_cache
from typing import Any

from babel.core import Locale, UnknownLocaleError, get_global

_TAG = re.compile(r"([a-z]{2,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?", re.IGNORECASE)
_LAST_RESORT = Locale("en")


def normal_locale(tag: str) -> str:
    """`fr_ca` and `FR-CA` are `fr-CA`, `zh_hant_tw` is `zh-Hant-TW`; empty: no tag that we know to read."""
    match = _TAG.fullmatch(tag.replace("_", "-"))
    if match is None:
        return ""
    language, script, region = match.groups()
    parts = (language.lower(), script.title() if script else "", region.upper() if region else "")
    return "-".join(part for part in parts if part)


@lru_cache(maxsize=4096)
def fallbacks(tag: str) -> tuple[str, ...]:
    """The tag and its parents, nearest first: `es-MX`, `es-419`, `es`; `zh-TW`, `zh-Hant-TW`, `zh-Hant`.

    A language in a script that is not its usual one has no parent: who reads `zh-Hant` may not read `zh`.
    """
    found: list[str] = []
    current = normal_locale(tag)
    while current and current not in found:
        found.append(current)
        current = _parent(current)
    return tuple(found)


@lru_cache(maxsize=1024)
def cldr_locale(tag: str) -> Locale:
    """What CLDR knows of the nearest of the tag's fallbacks; English when it knows none of them."""
    for candidate in fallbacks(tag):
        try:
            return Locale.parse(candidate, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return _LAST_RESORT


def is_right_to_left(tag: str) -> bool:
    """Whether the language is written from right to left."""
    return cldr_locale(tag).text_direction == "rtl"


def plural_forms(tag: str) -> tuple[str, ...]:
    """The plural forms of the language, in CLDR's order: `one`, `other`; Arabic has six."""
    known = {*cldr_locale(tag).plural_form.tags, "other"}
    return tuple(form for form in ("zero", "one", "two", "few", "many", "other") if form in known)


def _parent(tag: str) -> str:
    exceptions: Any = get_global("parent_exceptions")
    named = exceptions.get(tag.replace("-", "_"))
    if named is not None:
        return "" if named == "root" else str(named).replace("_", "-")
    language, script, region = _parts(tag)
    usual = _script(language)
    if region:
        # a region that writes in another script than the language elsewhere: zh-TW is zh-Hant-TW
        own = script or _script(f"{language}_{region}") or usual
        if not script and own != usual:
            return f"{language}-{own}-{region}"
        return f"{language}-{script}" if script and script != usual else language
    return "" if not script or script != usual else language


def _parts(tag: str) -> tuple[str, str, str]:
    match = _TAG.fullmatch(tag)
    assert match is not None, "made by normal_locale"
    language, script, region = match.groups()
    return language, script or "", region or ""


def _script(tag: str) -> str:
    likely: Any = get_global("likely_subtags")
    found = likely.get(tag)
    return "" if found is None else str(found).split("_")[1]
