/**
A model hub on a free port of this machine: addresses as Hugging Face has them, large files behind a redirect, and faults on demand.
*/
import {createHash} from 'node:crypto';
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import type {ExecutionContext} from 'ava';

export type HubFile = {
	readonly content: Buffer;
	/** Told instead of the right hash. */
	readonly sha256?: string;
	/** So many bytes are sent the first time, then nothing until `breakOff`. */
	readonly holdsAfterBytes?: number;
	/** Not behind a redirect, with git's id of the blob as etag. */
	readonly isSmall?: boolean;
};

export type Request = {readonly method: string; readonly path: string; readonly range: string | undefined};

export type Hub = {readonly url: string; readonly requests: Request[]; readonly breakOff: () => void};

export const commit = 'c0ffee';

/** Serves the files of one model, by name; everything else is 404, and `gated/model` is 401. */
export async function serveHub(t: ExecutionContext, model: string, files: Record<string, HubFile>): Promise<Hub> {
	const requests: Request[] = [];
	const held: ServerResponse[] = [];
	const server = createServer((request, response) => {
		const [path = '', range] = [request.url, request.headers.range];
		requests.push({method: request.method ?? '', path, range});
		if (path.startsWith('/gated/')) return void response.writeHead(401).end();
		const [, place, name = ''] = /^\/(storage|.*\/resolve\/[^/]+)\/([^/]+)$/.exec(path) ?? [];
		const file = files[name];
		if (!file || (place !== 'storage' && !new RegExp(`^${model}/resolve/(main|${commit})$`).test(place ?? ''))) {
			return void response.writeHead(404).end();
		}
		if (place !== 'storage' && !file.isSmall) return redirect(response, name, file);
		const isHeld = file.holdsAfterBytes !== undefined && request.method === 'GET' && held.length === 0;
		if (isHeld) held.push(response);
		send(request, response, file, isHeld);
	});
	await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
	t.teardown(() => {
		server.closeAllConnections();
		server.close();
	});
	return {
		url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
		requests,
		breakOff: () => held[0]?.destroy(),
	};
}

function redirect(response: ServerResponse, name: string, file: HubFile): void {
	const sha256 = file.sha256 ?? createHash('sha256').update(file.content).digest('hex');
	response.writeHead(302, {
		location: `/storage/${name}`,
		'x-linked-etag': `"${sha256}"`,
		'x-linked-size': file.content.length,
		'x-repo-commit': commit,
	});
	response.end();
}

function send(request: IncomingMessage, response: ServerResponse, file: HubFile, isHeld: boolean): void {
	const {content} = file;
	const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
	const blobId = createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
	const etag = file.isSmall ? `"${blobId}"` : '"storage"';
	response.writeHead(start > 0 ? 206 : 200, {etag, 'content-length': content.length - start, 'x-repo-commit': commit});
	if (request.method === 'HEAD') return void response.end();
	if (isHeld) response.write(content.subarray(start, start + (file.holdsAfterBytes ?? 0)));
	else response.end(content.subarray(start));
}
