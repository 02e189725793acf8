"""The style sheet of the report, for wide screens, phones, light and dark."""

# ruff: noqa: E501  # a rule a line

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark;
  --page: #f4f6f8; --card: #ffffff; --ink: #17202a; --soft: #5b6875; --line: #dde3e9;
  --fibre: #0b7fab; --glow: #12b5c9; --good: #0b7a4b; --goodbg: #e3f6ec; --bad: #b3261e;
  --badbg: #fdeceb; --mark: #c2410c; }
@media (prefers-color-scheme: dark) { :root {
  --page: #0f1419; --card: #182028; --ink: #e6ebf0; --soft: #98a5b3; --line: #2a343f;
  --fibre: #58c4e8; --glow: #3fd4e0; --good: #6fdca6; --goodbg: #143527; --bad: #ff9b93;
  --badbg: #3d1b19; --mark: #ffa366; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
header { color: #eef6fa; background: #0c1a26; padding: 44px 0 92px;
  background-image: radial-gradient(900px 260px at 85% 110%, #12506b 0, transparent 70%); }
header h1 { margin: 0 0 6px; font-size: clamp(28px, 4.4vw, 42px); line-height: 1.15;
  letter-spacing: -.015em; }
header p { margin: 0; max-width: 720px; color: #b9cbd8; }
main, .inner { max-width: 1220px; margin: 0 auto; padding: 0 24px; }
h2 { margin: 52px 0 6px; font-size: 24px; letter-spacing: -.01em; }
h3 { margin: 0 0 12px; font-size: 16px; }
p.lead { margin: 0 0 18px; max-width: 860px; color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 20px; box-shadow: 0 1px 2px rgb(15 30 45 / .05); }
.card + .card { margin-top: 18px; }
.tiles { display: grid; gap: 16px; margin-top: -58px;
  grid-template-columns: repeat(4, minmax(0, 1fr)); }
.tiles .card { margin: 0; padding: 18px 20px; }
.tiles b { display: block; font-size: 27px; line-height: 1.2; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 14px; line-height: 1.4; display: block; }
.tiles span.what { color: var(--fibre); font-weight: 600; margin-bottom: 4px; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-size: 13px; color: var(--soft); font-weight: 600; }
th, td { padding: 9px 14px 9px 0; vertical-align: top; border-top: 1px solid var(--line); }
tr:first-child th { border-top: 0; padding-top: 0; }
td:first-child { color: var(--soft); width: 34px; font-variant-numeric: tabular-nums; }
td.step { font-weight: 600; width: 250px; }
td.time, th.time { text-align: right; white-space: nowrap; padding-right: 0; width: 80px;
  font-variant-numeric: tabular-nums; }
tr.sum td { font-weight: 600; color: var(--ink); border-top-width: 2px; }
.yes, .no { display: inline-block; padding: 1px 10px; border-radius: 99px; font-weight: 700;
  color: var(--good); background: var(--goodbg); }
.no { color: var(--bad); background: var(--badbg); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 16px; padding: 0;
  list-style: none; font-size: 14px; color: var(--soft); }
.legend i { display: inline-block; width: 13px; height: 13px; border-radius: 3px;
  margin-right: 7px; vertical-align: -1px; border: 3px solid currentColor; }
.legend i.area { border-width: 0; background: currentColor; }
.pairs { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 18px; }
.pairs .card + .card { margin-top: 0; }
.pictures { display: flex; gap: 14px; align-items: flex-start; }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 8px;
  background: #0c1a26; }
figcaption { margin-top: 8px; font-size: 13px; line-height: 1.45; color: var(--soft); }
figcaption ol { margin: 6px 0 0; padding-left: 18px; }
figcaption b { color: var(--ink); font-weight: 600; }
figcaption li { overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 18px; }
.charts .card + .card { margin-top: 0; }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg text.name { fill: var(--ink); font-weight: 600; }
svg text.mark { fill: var(--mark); font-weight: 600; }
svg .grid { stroke: var(--line); } svg polyline { fill: none; stroke: var(--fibre); }
svg .thin { stroke-width: 1; opacity: .35; } svg .bold { stroke-width: 2.2; }
svg circle { fill: var(--fibre); }
svg line.mark { stroke: var(--mark); stroke-width: 1.5; stroke-dasharray: 5 4; }
.replay { display: flex; gap: 24px; align-items: flex-start; }
.replay .pictures { flex: 0 0 620px; } .replay .words { flex: 1; min-width: 0; }
.replay img { image-rendering: pixelated; }
.words p:first-child { margin-top: 0; } .words p.check:last-child { margin-bottom: 0; }
ul.ops, .words ol { padding-left: 20px; margin: 6px 0; }
details { border-top: 1px solid var(--line); } details:first-of-type { border-top: 0; }
summary { cursor: pointer; padding: 10px 0; font-weight: 600; }
pre { margin: 0 0 14px; padding: 14px; overflow-x: auto; border-radius: 8px; font-size: 12.5px;
  line-height: 1.5; background: var(--page); border: 1px solid var(--line); }
code { font: .92em ui-monospace, "SFMono-Regular", Menlo, "Liberation Mono", monospace; }
pre code { font-size: 12.5px; }
footer { color: var(--soft); font-size: 13.5px; padding: 34px 0 60px; }
@media (max-width: 1000px) {
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .pairs, .charts { grid-template-columns: minmax(0, 1fr); }
  .replay { flex-direction: column; } .replay .pictures { flex-basis: auto; width: 100%; } }
@media (max-width: 640px) {
  main, .inner { padding: 0 14px; } header { padding: 28px 0 84px; }
  h2 { margin-top: 38px; font-size: 21px; } .card { padding: 15px; }
  .tiles { gap: 10px; } .tiles .card { padding: 13px 14px; } .tiles b { font-size: 21px; }
  svg { font-size: 17px; }
  .pictures.wide { flex-direction: column; } .pictures.wide figure { width: 100%; }
  .pictures.wide figure.tall { width: 56%; }
  .pictures.close { flex-wrap: wrap; }
  .pictures.close figure:first-child { flex: 0 0 100% !important; }
  .pictures.close figure { flex: 1 1 40% !important; }
  .replay .pictures figure { flex: 1 1 0 !important; }
  tr:first-child { display: none; }
  tr { display: grid; grid-template-columns: 28px 1fr auto; padding: 9px 0;
    border-top: 1px solid var(--line); } tr:nth-child(2) { border-top: 0; }
  td, td.step, td.time { border: 0; padding: 0; width: auto; }
  td.what { grid-column: 2 / 4; grid-row: 2; color: var(--soft); font-size: 14.5px; } }
"""
