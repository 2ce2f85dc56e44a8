"""The look that all pages share: no script and nothing from elsewhere, as the content security policy demands."""

from __future__ import annotations

import html

from exporter import __version__

HTML = "text/html; charset=utf-8"

STYLE = """:root{color-scheme:light dark;--text:#222;--back:#fff;--line:#ddd;--code:#f3f3f3;--link:#0b57d0;--ok:#176f2c;
--bad:#b00020}
@media(prefers-color-scheme:dark){:root{--text:#ddd;--back:#181818;--line:#444;--code:#262626;--link:#8ab4f8;--ok:#7bd88f;
--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:var(--text);
background:var(--back);overflow-wrap:break-word}
a{color:var(--link)}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3em .8em .3em 0;border-bottom:1px solid var(--line);vertical-align:top}
.ok{color:var(--ok)}.bad{color:var(--bad)}code{background:var(--code);padding:.1em .3em}
pre{background:var(--code);padding:.6em .8em;overflow-x:auto}pre code{padding:0}
blockquote{margin:1em 0;padding:0 1em;border-left:3px solid var(--line)}
:target{border-left:4px solid var(--bad);padding-left:.5em}"""


def page(title: str, body: str) -> bytes:
    """Return a whole page; `title` is text, `body` is HTML."""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<nav><a href="/">MLflow exporter {html.escape(__version__)}</a> · <a href="/runbooks/">runbooks</a> ·
<a href="/metrics">metrics</a></nav>
{body}</body></html>
""".encode(errors="replace")  # a name of somebody's may hold what is no text
