/** Answers that mean harm: without end, too slow, too large, or from page to page for ever. */
import { gzipSync } from 'node:zlib';
import { answer, type Handler } from './scripted-server.js';

/** One byte at a time, for ever. */
export function trickle(everyMs: number, headers: Record<string, string> = {}): Handler {
  return (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', ...headers });
    const timer = setInterval(() => response.write(' '), everyMs);
    response.on('close', () => clearInterval(timer));
  };
}

/** As fast as it can, for ever. */
export function endless(headers: Record<string, string> = {}): Handler {
  return (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream', ...headers });
    const piece = Buffer.alloc(64 * 1024, 32);
    const send = (): void => {
      while (!response.destroyed && response.write(piece));
      if (!response.destroyed) response.once('drain', send);
    };
    send();
  };
}

/** `bytes` of `{}` in a list. */
export const manyObjects = (bytes: number): Handler =>
  answer(200, `[${'{},'.repeat(bytes / 3)}{}]`, { 'content-type': 'application/json' });

export const deepNesting = (depth: number): Handler =>
  answer(200, '['.repeat(depth) + ']'.repeat(depth), { 'content-type': 'application/json' });

/** JSON that is small on the way and `bytes` long in memory. */
export function compressedBomb(bytes: number): Handler {
  const packed = gzipSync(Buffer.alloc(bytes, 32));
  return (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
    response.end(packed);
  };
}

/** Informational answers, and never a final one. */
export const onlyInformation: Handler = (_request, response) => {
  const timer = setInterval(() => response.writeProcessing(), 1);
  response.on('close', () => clearInterval(timer));
};

/** A header that goes on and on. */
export const endlessHeader: Handler = (request) => {
  const { socket } = request;
  socket.write('HTTP/1.1 200 OK\r\n');
  const timer = setInterval(() => socket.write(`x-${'y'.repeat(1000)}: z\r\n`), 1);
  socket.on('close', () => clearInterval(timer));
  socket.on('error', () => undefined);
};

/** Pages that always name a next one. `search` gives its query for the page's number. */
export function endlessPages(search: (page: number) => string, entries: (page: number) => object[]): Handler {
  let page = 0;
  return (request, response) => {
    page++;
    const { pathname } = new URL(request.url!, 'http://host');
    answer(200, entries(page), { link: `<${pathname}?${search(page)}>; rel="next"` })(request, response);
  };
}

export const fileEntry = (path: string): object => ({ type: 'file', path, size: 1, oid: 'a'.repeat(40) });
