"""The pages behind links: a sentence and at most one button, in the customer's language, without scripts."""

import hashlib
from base64 import b64encode
from html import escape
from typing import Final

from services.channel.domain.links import Purpose
from services.channel.entrypoints.web_words import CHANNELS, PAGES, Page
from services.vocabulary.words import Channel

LANGUAGES: Final = frozenset(PAGES)
BUTTONS: Final = {
    Purpose.OPT_OUT: ("List-Unsubscribe", "One-Click"),
    Purpose.OPT_IN: ("Subscribe-Again", "Yes"),
}
"""What a button posts; the first is also what mail programs post (RFC 8058 §3.2)."""

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ground:#f3f4f6;--ink:#1a202c;--soft:#4a5568;
--deep:#1d4ed8;--on:#fff}
@media (prefers-color-scheme:dark){:root{--paper:#1e2430;--ground:#12161e;--ink:#f1f4f8;--soft:#b6c0cf;
--deep:#7ba7ff;--on:#0d1526}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.25rem;background:var(--ground);
color:var(--ink);font:1.0625rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{width:100%;max-width:30rem;padding:2.25rem 2rem;border-radius:1rem;background:var(--paper);
box-shadow:0 1px 2px rgb(0 0 0/.08),0 12px 32px rgb(0 0 0/.08)}
h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25;letter-spacing:-.01em}
p{margin:0;color:var(--soft)}
button{width:100%;margin-top:1.75rem;padding:.9rem 1.25rem;border:0;border-radius:.625rem;cursor:pointer;
background:var(--deep);color:var(--on);font:inherit;font-weight:600}
button:hover{filter:brightness(1.08)}
button:focus-visible{outline:3px solid var(--ink);outline-offset:3px}
""".strip()
STYLE_SOURCE: Final = f"'sha256-{b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
"""What the page's Content-Security-Policy lets through."""


def language_of(wanted: str, accepted: str, default: str) -> str:
    """The customer's language, else the first of Accept-Language that we have, else the default."""
    candidates = [wanted, *(part.partition(";")[0] for part in accepted[:500].split(",")), default]
    for candidate in candidates:
        language = candidate.strip().replace("_", "-").partition("-")[0].lower()
        if language in LANGUAGES:
            return language
    return "en"


def page(which: Page, language: str, channel: Channel = Channel.EMAIL, purpose: Purpose | None = None) -> str:
    """The page as HTML; with a purpose it has the button that posts it to its own address."""
    words = PAGES[language][which]
    named = CHANNELS[language].get(channel, channel.value)
    form = ""
    if purpose is not None:
        name, value = BUTTONS[purpose]
        form = (
            f'<form method="post"><input type="hidden" name="{name}" value="{value}">'
            f"<button>{escape(words.button)}</button></form>"
        )
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="robots" content="noindex"><title>{escape(words.title)}</title><style>{_STYLE}</style>'
        f"</head><body><main><h1>{escape(words.title)}</h1>"
        f"<p>{escape(words.text.format(channel=named))}</p>{form}</main></body></html>"
    )
