"""The report's page: its frame and its dress. Parts go where the comments stand."""

HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title><!--title--> · rfprobe</title>
<style><!--style--></style>
</head>
<body>
<p class="warning" role="note"><!--warning--></p>
<!--uncalibrated--><main>
"""
"""From the first byte to the page's content."""

TITLE = """\
<header>
<p class="kind">Ablation report</p>
<h1><!--title--></h1>
<p class="subtitle"><!--subtitle--></p>
</header>
<!--verdict-->
"""
"""What it is the report of, and the verdict."""

FOOT = """\
<footer>
<p><strong><!--warning--></strong></p>
<p>Session <!--session_id-->. The plotted data are in this file, as JSON, in the element #session-data.</p>
</footer>
</main>
<!--data-->
</body>
</html>
"""
"""The page's end."""

PAGE = (
    HEAD
    + TITLE
    + """\
<section aria-label="Key figures">
<dl class="tiles"><!--tiles--></dl>
<p class="fine"><!--judged--></p>
</section>
<section class="plots" aria-label="Plots"><!--plots--></section>
<section>
<h2>What happened</h2>
<div class="events scroll"><!--events--></div>
</section>
<section>
<h2>Figures</h2>
<div class="figures scroll"><!--figures--></div>
</section>
<section>
<h2>Plan</h2>
<pre><!--plan_text--></pre>
</section>
<section>
<h2>Hardware profile</h2>
<pre><!--profile_text--></pre>
</section>
<section>
<h2>What was watched</h2>
<div class="limits scroll"><!--limits--></div>
</section>
<section class="pair">
<div><h2>Values on the device</h2><div class="settings scroll"><!--settings--></div></div>
<div><h2>Versions and digests</h2><div class="scroll"><!--versions--></div></div>
</section>
"""
    + FOOT
)

PAGE_OF_CHANNELS = (
    HEAD
    + TITLE
    + """\
<section>
<h2>Figures of the device</h2>
<div class="figures scroll"><!--figures--></div>
</section>
<!--channels-->
<section>
<h2>What happened</h2>
<div class="events scroll"><!--events--></div>
</section>
<section>
<h2>Plan</h2>
<pre><!--plan_text--></pre>
</section>
<!--settings-->
<section>
<h2>Versions and digests</h2>
<div class="scroll"><!--versions--></div>
</section>
"""
    + FOOT
)
"""Of a run of two channels: one title, a section for each channel, then what they share."""

CHANNEL = """\
<section class="channel" id="<!--id-->">
<h2 class="channel"><!--title--></h2>
<p class="subtitle"><!--subtitle--></p>
<!--verdict-->
<dl class="tiles"><!--tiles--></dl>
<p class="fine"><!--judged--></p>
<div class="plots"><!--plots--></div>
<h3>Figures</h3>
<div class="figures scroll"><!--figures--></div>
</section>
"""

CHANNEL_SETTINGS = """\
<section>
<h2><!--title-->: hardware profile</h2>
<pre><!--profile_text--></pre>
</section>
<section>
<h2><!--title-->: what was watched</h2>
<div class="limits scroll"><!--limits--></div>
</section>
<section>
<h2><!--title-->: values on the device</h2>
<div class="settings scroll"><!--settings--></div>
</section>
"""

CHANNEL_STYLE = """
section.channel { margin-top: 2.75rem; padding-top: 1.25rem; border-top: 3px solid var(--ink); }
h2.channel { font-size: 1.5rem; }
h3 { margin: 0 0 .6rem; font-size: 1rem; }
.channel .verdict { margin: 1rem 0; } .channel .verdict h2 { font-size: 1.125rem; }
.channel .plots { margin-top: 1.5rem; }
.events td:nth-child(2) { width: 6rem; white-space: nowrap; }
@media print { section.channel { break-before: page; border-top: 0; } }
"""

STYLE = """
:root {
  /*palette*/
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", "DejaVu Sans Mono", monospace;
  --page: #ffffff; --card: #f6f7f9; --line: #dfe3e8; --quiet: #4d5663;
  --warn-ink: #3a2a00; --warn-back: #ffd666;
  --good: #00714f; --middling: #8a5a00; --bad: #b3261e; --unknown: #4d5663;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ink: #e8eaed; --faint: #9aa4b2; --grid: #2c323a; --heating: #251e17; --holding: #33271b;
    --control: #ff9248; --boundary: #5bb8f5; --guard: #35c99a; --peak: #e58bbf;
    --power: #e0a060; --duty: #8fb4d9; --impedance: #a99bf0;
    --page: #14171b; --card: #1d2127; --line: #323943; --quiet: #aab3bf;
    --warn-ink: #2a1e00; --warn-back: #e8b93a;
    --good: #4ad3a4; --middling: #f0b95c; --bad: #ff8a80; --unknown: #aab3bf;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 var(--sans);
}
.warning {
  position: sticky; top: 0; z-index: 2; margin: 0; padding: .4rem 1rem; text-align: center;
  background: var(--warn-back); color: var(--warn-ink);
  font-weight: 650; font-size: .875rem; line-height: 1.35;
}
.warning.uncalibrated { top: 1.95rem; background: #b3261e; color: #ffffff; }
main { max-width: 68rem; margin: 0 auto; padding: 1.75rem 1.25rem 3rem; }
header { margin-bottom: 1.25rem; }
.kind { margin: 0; color: var(--quiet); font-size: .8125rem; letter-spacing: .02em; }
h1 {
  margin: .1rem 0 .25rem;
  font-size: clamp(1.6rem, 1.2rem + 2vw, 2.25rem); line-height: 1.15; font-weight: 680;
}
h2 { margin: 0 0 .6rem; font-size: 1.125rem; line-height: 1.3; font-weight: 650; }
.subtitle, .fine, footer { color: var(--quiet); font-size: .875rem; }
.subtitle, .fine { margin: 0; }
section, .verdict { margin-top: 2rem; }
.verdict {
  margin-top: 0; padding: .9rem 1.1rem; background: var(--card); border: 1px solid var(--line);
  border-left: .45rem solid var(--look); border-radius: .4rem;
}
.verdict h2 { margin: 0 0 .25rem; font-size: 1.5rem; color: var(--look); }
.verdict p { margin: .1rem 0 0; }
.good { --look: var(--good); } .middling { --look: var(--middling); }
.bad { --look: var(--bad); } .unknown { --look: var(--unknown); }
.tiles {
  display: grid; grid-template-columns: repeat(4, 1fr); margin: 0 0 .5rem;
  border: 1px solid var(--line); border-radius: .4rem; overflow: hidden;
}
.tiles > div {
  padding: .65rem .85rem .7rem; margin: 0 -1px -1px 0;
  border-right: 1px solid var(--line); border-bottom: 1px solid var(--line);
}
.tiles dt { color: var(--quiet); font-size: .8125rem; }
.tiles dd {
  margin: 0; font-size: 1.375rem; font-weight: 620; line-height: 1.25; font-variant-numeric: tabular-nums;
}
.tiles small { display: block; color: var(--quiet); font-size: .75rem; font-weight: 400; line-height: 1.35; }
figure { margin: 0 0 1.5rem; }
figcaption { font-weight: 650; margin-bottom: .1rem; }
figcaption small { margin-left: .75rem; color: var(--quiet); font-weight: 400; font-size: .8125rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit !important; }
svg[class^="narrow"] { display: none; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; line-height: 1.4; }
th, td {
  padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
}
th { font-weight: 550; }
thead th { color: var(--quiet); font-size: .8125rem; }
tbody th, table:not(:has(thead)) th { white-space: nowrap; color: var(--quiet); }
.figures th { width: 16rem; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.events td:first-child { text-align: right; white-space: nowrap; width: 4.5rem; }
.events td:nth-child(2) { color: var(--quiet); width: 4rem; }
.events tr.host td { color: var(--quiet); }
.events tr.text td:last-child { font-family: var(--mono); white-space: pre-wrap; }
.limits td:nth-child(2), .limits td:nth-child(3) { text-align: right; white-space: nowrap; }
.limits td:nth-child(-n+5) { white-space: nowrap; }
.limits td:first-child, .settings th { font-family: var(--mono); font-size: .8125rem; }
.settings td:last-child { text-align: right; padding-right: 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 2rem; }
.pair > div { min-width: 0; }
pre {
  margin: 0; padding: .75rem .9rem; overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .4rem; font: .8125rem/1.5 var(--mono);
}
footer { margin-top: 2.5rem; padding-top: 1rem; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
footer p { margin: 0 0 .25rem; }
footer strong { color: var(--ink); }
@media screen and (max-width: 40rem) {
  .warning.uncalibrated { position: static; }
  main { padding: 1.25rem 1rem 2rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  svg[class^="narrow"] { display: block; }
  svg[class^="wide"] { display: none; }
  .figures th { width: 9.5rem; white-space: normal; }
  .limits td:nth-child(6), .limits th:nth-child(6) { min-width: 14rem; }
}
@page {
  size: A4; margin: 14mm 14mm 16mm;
  @bottom-center { content: "<!--warning-->"; font: 8pt sans-serif; }
  @bottom-right { content: counter(page) " / " counter(pages); font: 8pt sans-serif; }
}
@media print {
  body { font-size: 10pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  main { max-width: none; padding: 4mm 0 0; }
  .warning { position: static; border: 1px solid var(--warn-ink); }
  figure, .verdict, .tiles > div, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll, pre { overflow: visible; }
  pre { white-space: pre-wrap; font-size: 7.5pt; }
  table { font-size: 8.5pt; }
  th, td { padding: .14rem .75rem .14rem 0; }
}
"""
