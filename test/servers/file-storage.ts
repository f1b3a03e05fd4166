/** How a storage server hands out one file: ranges, validators, digests; and the ways in which it can go wrong. */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Handler } from './scripted-server.js';

export interface StoredFile {
  readonly content: Buffer;
  readonly etag?: string;
  readonly lastModified?: string;
  /** Send the `x-goog-hash` of Google Cloud Storage. Default true. */
  readonly hash?: boolean;
}

export interface Misbehaviour {
  /** Break the connection when the answer's body reaches this offset of the file. */
  readonly cutAt?: number;
  /** Answer every request with the whole file. */
  readonly ignoreRange?: boolean;
  /** Send the rest from an offset other than that asked for, and say so. */
  readonly shiftRange?: number;
  /** Claim another total length in Content-Range. */
  readonly wrongTotal?: number;
  /** Stop sending at this offset and keep the connection open. */
  readonly stallAt?: number;
  /** End an answer without Content-Length here, as if it were whole. */
  readonly endAt?: number;
  /** Say nothing of the length. */
  readonly chunked?: boolean;
  /** Change bytes on the way. */
  readonly damage?: boolean;
}

/** Serves a file, honouring Range and If-Range. */
export function serveFile(file: StoredFile, wrong: Misbehaviour = {}): Handler {
  return (request, response) => {
    const { content } = file;
    const headers: Record<string, string> = { 'content-type': 'application/zip', 'accept-ranges': 'bytes' };
    if (file.etag) headers['etag'] = file.etag;
    if (file.lastModified) headers['last-modified'] = file.lastModified;
    if (file.hash ?? true) headers['x-goog-hash'] = `md5=${createHash('md5').update(content).digest('base64')}`;
    const asked = rangeStart(request, file, wrong);
    if (asked !== undefined && asked >= content.length) {
      response.writeHead(416, { 'content-range': `bytes */${content.length}` });
      response.end();
      return;
    }
    const start = (asked ?? 0) + (asked === undefined ? 0 : (wrong.shiftRange ?? 0));
    if (asked !== undefined) {
      const total = content.length + (wrong.wrongTotal ?? 0);
      headers['content-range'] = `bytes ${start}-${content.length - 1}/${total}`;
    }
    if (!wrong.chunked && wrong.endAt === undefined) headers['content-length'] = String(content.length - start);
    response.writeHead(asked === undefined ? 200 : 206, headers);
    const stop = Math.min(...[wrong.cutAt, wrong.stallAt, wrong.endAt].map((offset) => offset ?? content.length));
    const body = Buffer.from(content.subarray(start, Math.max(start, stop)));
    if (wrong.damage) for (let i = 0; i < body.length; i += 100) body[i]! ^= 1;
    if (stop === content.length || stop === wrong.endAt) response.end(body);
    else if (wrong.stallAt !== undefined) response.write(body);
    else cutAfter(response, body);
  };
}

function rangeStart(request: IncomingMessage, file: StoredFile, wrong: Misbehaviour): number | undefined {
  const [, start] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
  const condition = request.headers['if-range'];
  if (start === undefined || wrong.ignoreRange || (condition !== undefined && condition !== file.etag))
    return undefined;
  return Number(start);
}

/** Everything is sent, and has a moment to be read, before the connection breaks. */
function cutAfter(response: ServerResponse, body: Buffer): void {
  if (body.length === 0) response.flushHeaders();
  response.write(body, () => setTimeout(() => response.destroy(), 20));
}
