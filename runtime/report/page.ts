/**
The report as one HTML page that needs no script and no other file. Every text of the run is escaped.
*/
import {bytesText, secondsText} from '../units.ts';
import {
	barsMax,
	bytesChart,
	colourOf,
	coloursMax,
	evaluationChart,
	lossChart,
	rateChart,
	stalenessChart,
	stepsInMean,
} from './charts.ts';
import {factsOf} from './facts.ts';
import {type Figures, figuresOf} from './figures.ts';
import {type Beside, type Comparison, type RecordedRun, valueAt} from './read.ts';
import {style} from './style.ts';

/** The page of a run. */
export function pageOf(recorded: RecordedRun): string {
	const {config} = recorded;
	const figures = figuresOf(recorded);
	const name = escaped(valueAt(config, 'scenario.name') ?? valueAt(config, 'run') ?? 'run');
	const description = escaped(valueAt(config, 'scenario.description') ?? '');
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${name} - Cutlayer</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<h1>${name}</h1>
<p>${description}</p>
<p><span class="status ${figures.status === 'done' ? 'done' : ''}">${escaped(figures.status)}</span> ${escaped(figures.reason)}</p>
</header>
${headline(figures, valueAt(config, 'clock') === 'virtual' ? 'virtual time' : 'time')}
<div class="pictures">
${pictures(figures).join('\n')}
</div>
${clientTable(figures)}
${droppedTable(figures)}
${besideTable(recorded)}
<section class="wide"><h2>This run</h2><dl class="facts">
${factsOf(config)
	.map(([term, value]) => `<dt>${escaped(term)}</dt><dd>${escaped(value)}</dd>`)
	.join('\n')}
</dl></section>
<footer>Made by Cutlayer from config.json, metrics.jsonl and summary.json of this folder.</footer>
</main>
</body>
</html>
`;
}

const entities: Record<string, string> = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;'};

/** A text that is safe between tags and in quoted attributes. */
export const escaped = (value: unknown): string => String(value).replace(/[&<>"']/g, character => entities[character]!);

function headline(
	{clients, evaluations, seconds, tokens, rounds, roundsVoid, bytesUp, bytesDown}: Figures,
	timeName: string,
): string {
	const mean = (pick: (client: Figures['clients'][number]) => number) =>
		clients.reduce((total, client) => total + pick(client), 0) / clients.length;
	const change = (first: number, last: number) => `${first.toFixed(3)} → ${last.toFixed(3)}`;
	const none = '–';
	const items: [string, string][] = [
		[
			'training loss',
			clients.length > 0
				? change(
						mean(client => client.lossFirst),
						mean(client => client.lossLast),
					)
				: none,
		],
		['validation loss', evaluations.length > 0 ? change(evaluations[0]!.loss, evaluations.at(-1)!.loss) : none],
		['perplexity, last', evaluations.at(-1)?.perplexity.toFixed(2) ?? none],
		['rounds', roundsVoid > 0 ? `${rounds} (${roundsVoid} void)` : String(rounds)],
		[timeName, secondsText(seconds)],
		['tokens a second', seconds > 0 ? (tokens / seconds).toPrecision(3) : none],
		['sent by clients', bytesText(bytesUp)],
		['received by clients', bytesText(bytesDown)],
	];
	const cells = items.map(([term, value]) => `<div><dt>${term}</dt><dd>${value}</dd></div>`);
	return `<dl class="headline">${cells.join('')}</dl>`;
}

function pictures({steps, evaluations, clients, rates, staleness}: Figures): string[] {
	const names = clients.map(({client}) => client);
	const byBytes = clients.toSorted((a, b) => b.bytesUp + b.bytesDown - (a.bytesUp + a.bytesDown));
	const shown = clients.length > barsMax ? byBytes.slice(0, barsMax) : clients;
	const most = clients.length > barsMax ? ` The ${barsMax} of ${clients.length} clients with the most bytes.` : '';
	const window = stepsInMean(steps);
	return [
		picture(
			'Loss of each client',
			steps.length > 0 && legend(names) + lossChart(steps, names),
			window > 1 ? `Thin: the steps. Thick: the mean over the last ${window} steps.` : 'Of each step.',
		),
		picture(
			'Validation loss',
			evaluations.length > 0 && evaluationChart(evaluations),
			'Of the global client adapter with the main server’s, on fixed rows.',
		),
		picture(
			'Bytes of each client',
			clients.length > 0 && bytesChart(shown),
			`Bodies of all messages, without headers.${most}`,
		),
		picture('Speed', rates.length > 0 && rateChart(rates), 'Tokens of the steps that ended in each interval.'),
		picture(
			'Server staleness',
			staleness.length > 0 && stalenessChart(staleness),
			'Updates of the main server between the last one a client had seen and its step.',
		),
	];
}

const picture = (title: string, svg: string | false, caption: string): string =>
	`<section><h2>${title}</h2>${svg || '<p>Nothing was recorded.</p>'}<p>${caption}</p></section>`;

function legend(clients: readonly string[]): string {
	if (clients.length > coloursMax) return '';
	const items = clients.map(
		(client, index) => `<li><i style="background:${colourOf(index, clients.length)}"></i>${escaped(client)}</li>`,
	);
	return `<ul class="legend">${items.join('')}</ul>`;
}

function clientTable({clients}: Figures): string {
	const head = ['client', 'steps', 'tokens', 'first loss', 'last loss', 'sent', 'received', 'mean staleness'];
	const rows = clients.map(({client, steps, tokens, lossFirst, lossLast, bytesUp, bytesDown, stalenessMean}) => [
		client,
		steps,
		tokens,
		lossFirst.toFixed(4),
		lossLast.toFixed(4),
		bytesText(bytesUp),
		bytesText(bytesDown),
		stalenessMean.toFixed(2),
	]);
	return tableSection('Clients', head, rows, 'No client has finished a step.');
}

/** Only of a run that imposed its devices in real time. */
function besideTable({summary}: RecordedRun): string {
	const beside = valueAt(summary, 'beside');
	if (beside === undefined) return '';
	const {run, rounds, passes} = beside as Comparison;
	const line = (what: string, {predicted, measured}: Beside) => [what, predicted.toFixed(2), measured.toFixed(2)];
	const rows = [
		line('the run', run),
		...rounds.map(round => line(`end of round ${round.round}`, round)),
		...Object.entries(passes).map(([role, both]) => line(`passes of ${role}`, both)),
	];
	return tableSection('Predicted and measured, s', ['', 'predicted', 'measured'], rows, '');
}

function droppedTable({dropped}: Figures): string {
	return tableSection('Dropped messages', ['reason', 'messages'], dropped, 'No message was refused.');
}

function tableSection(
	title: string,
	head: readonly string[],
	rows: readonly (readonly unknown[])[],
	none: string,
): string {
	const line = (tag: string, cells: readonly unknown[]) =>
		`<tr>${cells.map(cell => `<${tag}>${escaped(cell)}</${tag}>`).join('')}</tr>`;
	const table = `<div class="scroll"><table><thead>${line('th', head)}</thead><tbody>${rows
		.map(row => line('td', row))
		.join('')}</tbody></table></div>`;
	return `<section class="wide"><h2>${title}</h2>${rows.length > 0 ? table : `<p>${none}</p>`}</section>`;
}
