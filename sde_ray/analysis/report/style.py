"""The report's looks: colours by role in light and dark, a page that reads at 360 pixels, figures that scale."""

VARIABLES = """
:root { color-scheme: light dark; --ground: #ffffff; --raised: #f5f6f8; --ink: #1c2126;
  --quiet: #5b6570;
  --rule: #d9dde2; --home: #1f5fbf; --away: #b4540a; --gain: #1f5fbf; --loss: #b4540a; --faint: #9aa4af;
  --good: #0b6b3a; --bad: #a3231f; --mark: #fff0b8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171b; --raised: #1d2228; --ink: #e4e8ec; --quiet: #9fa9b4; --rule: #343b43; --home: #79aef7;
    --away: #f0a05c; --gain: #79aef7; --loss: #f0a05c; --faint: #5f6973; --good: #6fce9a; --bad: #f28b82;
    --mark: #4a3f14; } }
svg { font: 12px system-ui, sans-serif; }
svg .label { fill: var(--ink); } svg .group { fill: var(--quiet); font-weight: 600; }
svg .name { paint-order: stroke; stroke: var(--ground); stroke-width: 3px; stroke-linejoin: round; }
svg .leader { stroke: var(--home); stroke-width: 1; }
svg .tick { fill: var(--quiet); font-size: 11px; }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .zero { stroke: var(--quiet); stroke-width: 1.5; }
svg .bar { stroke-width: 2; } svg .bar.home { stroke: var(--home); } svg .bar.away { stroke: var(--away); }
svg .dot.home { fill: var(--home); } svg .dot.away { fill: var(--away); } svg .dot.faint { fill: var(--faint); }
svg .dot.hollow { fill: var(--ground); stroke: var(--home); stroke-width: 2; }
svg .dot.away.hollow { stroke: var(--away); }
svg .cell.gain { fill: var(--gain); } svg .cell.loss { fill: var(--loss); }
svg .cell.noise { fill: var(--quiet); } svg .sure { fill: var(--ink); }
svg .front { fill: none; stroke: var(--home); stroke-width: 1.5; stroke-dasharray: 4 3; }
svg .curve { fill: none; stroke: var(--faint); stroke-width: 1.2; stroke-opacity: .45; }
svg .curve.best { stroke: var(--home); stroke-width: 2.5; stroke-opacity: 1; }
svg .curve.pruned { stroke-dasharray: 3 3; }
"""

PAGE = (
    VARIABLES
    + """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; } h2 { font-size: 1.3rem; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; } p { margin: .5rem 0; }
.quiet, figcaption, caption { color: var(--quiet); }
nav a { margin-right: 1rem; } a { color: var(--home); }
.verdict { border-left: 4px solid var(--home); background: var(--raised); padding: .8rem 1rem; margin: 1rem 0; }
.verdict strong { display: block; font-size: 1.1rem; }
.verdict p { margin: .4rem 0 0; }
.warning { border-left: 4px solid var(--bad); background: var(--raised); padding: .8rem 1rem; margin: 1rem 0; }
.warning strong { display: block; }
.confusion { width: auto; } .confusion td { min-width: 3rem; }
td.right.shade1 { background: color-mix(in srgb, var(--good) 8%, transparent); }
td.right.shade2 { background: color-mix(in srgb, var(--good) 16%, transparent); }
td.right.shade3 { background: color-mix(in srgb, var(--good) 26%, transparent); }
td.right.shade4 { background: color-mix(in srgb, var(--good) 38%, transparent); }
td.right.shade5 { background: color-mix(in srgb, var(--good) 50%, transparent); }
td.wrong.shade1 { background: color-mix(in srgb, var(--bad) 8%, transparent); }
td.wrong.shade2 { background: color-mix(in srgb, var(--bad) 16%, transparent); }
td.wrong.shade3 { background: color-mix(in srgb, var(--bad) 26%, transparent); }
td.wrong.shade4 { background: color-mix(in srgb, var(--bad) 38%, transparent); }
td.wrong.shade5 { background: color-mix(in srgb, var(--bad) 50%, transparent); }
.scroll { overflow-x: auto; margin: .6rem 0; } table { border-collapse: collapse; font-size: .9rem; width: 100%; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { text-align: left; padding: .3rem .5rem; vertical-align: top;
  border-bottom: 1px solid var(--rule); overflow-wrap: normal; }
th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
.number { text-align: right; font-variant-numeric: tabular-nums; } td.number { white-space: nowrap; }
td.long { min-width: 13rem; }
@media (max-width: 34rem) {
  table { font-size: .82rem; } th, td { padding: .3rem .25rem; } td.long { min-width: 8rem; } }
tr.chosen td { background: var(--raised); font-weight: 600; }
.better { color: var(--good); } .worse { color: var(--bad); }
figure { margin: .8rem 0; max-width: 38rem; } figure.wide { max-width: none; }
svg.figure, img.figure { width: 100%; height: auto; display: block; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1rem; }
h4 { font-size: 1rem; margin: 1.2rem 0 .3rem; } ul { padding-left: 1.2rem; } summary { cursor: pointer; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--raised); padding: .7rem; margin: .3rem 0;
  font: .85rem/1.45 ui-monospace, monospace; unicode-bidi: plaintext; }
mark { background: var(--mark); color: inherit; }
"""
)
