/**
How a report looks, in light and dark and on paper. One style sheet, no fonts or pictures from elsewhere.
*/
export const style = `
:root {
	color-scheme: light dark;
	--ground: #ffffff; --card: #f7f7f5; --ink: #1d1f21; --soft: #63676c; --line: #dfdfda;
	--series-0: #0072b2; --series-1: #d55e00; --series-2: #009e73; --series-3: #cc79a7;
	--series-4: #b8860b; --series-5: #56b4e9; --series-6: #7a5195; --series-7: #4d4d4d;
	--many: #6f8fa8; --up: #0072b2; --down: #8fbcd9; --good: #1a7f4b; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
	:root {
		--ground: #16181b; --card: #1f2226; --ink: #e8e8e6; --soft: #a2a7ad; --line: #363b41;
		--series-0: #56b4e9; --series-1: #f0883e; --series-2: #2fc495; --series-3: #e29ac0;
		--series-4: #e6c04a; --series-5: #9ad4f5; --series-6: #b896d6; --series-7: #c4c4c4;
		--many: #7f9fb8; --up: #56b4e9; --down: #2d6a91; --good: #4cc38a; --bad: #ff8a80;
	}
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 40px 24px 64px; }
header p { margin: 4px 0 0; color: var(--soft); max-width: 80ch; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 28px; line-height: 1.2; letter-spacing: -0.01em; }
h2 { margin: 0 0 8px; font-size: 15px; font-weight: 600; }
.status { font-weight: 600; color: var(--bad); }
.status.done { color: var(--good); }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px; margin: 28px 0; }
.headline div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.headline dt { color: var(--soft); font-size: 13px; }
.headline dd { margin: 2px 0 0; font-size: 21px; font-variant-numeric: tabular-nums; white-space: nowrap; }
dl { margin: 0; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 16px; }
.pictures section:first-child { grid-column: 1 / -1; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px 18px; min-width: 0; break-inside: avoid; }
section.wide { margin-top: 16px; }
section p { margin: 8px 0 0; color: var(--soft); font-size: 13px; }
svg { width: 100%; height: auto; display: block; font-size: 12px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 0 0 6px; padding: 0; list-style: none; font-size: 13px; color: var(--soft); }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 5px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px 6px 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; font-size: 13px; }
th:first-child, td:first-child { text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 24px; color: var(--soft); font-size: 13px; }
@media (max-width: 640px) { .headline { grid-template-columns: 1fr 1fr; } main { padding: 24px 14px 40px; } }
@media print { main { padding: 0; } .pictures { grid-template-columns: 1fr 1fr; } }
`;
