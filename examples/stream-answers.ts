/**
 * A small web service that streams answers as server-sent events: `npx tsx examples/stream-answers.ts --model NAME`, where
 * NAME is a model or an adapter. By default a tiny model of random weights answers, in nonsense.
 *
 *   curl -N --json '{"question": "What is it?", "image": "'$(base64 -w0 xray.png)'"}' http://127.0.0.1:8080/answers
 *
 * One question is answered at a time and one may wait; others get 503. Uploads are bounded in size and number, a client that
 * leaves ends its answer, Ctrl-C and SIGTERM let answers end, and nothing but this machine is listened to: put a proxy with
 * accounts and TLS in front for others.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { parseArgs } from 'node:util';
import { abortOnSignals, fromPretrained, ImageError, type Message, streamText, VlmCollator } from 'ministral-tune';
import { prepareDemonstration } from 'ministral-tune/demo';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    port: { type: 'string', default: '8080' },
    out: { type: 'string', default: 'runs/stream' },
  },
});
const MAX_BYTES = 8 * 1024 * 1024;
const MAX_CHARACTERS = 2000;
const MAX_NEW_TOKENS = 200;
const MAX_CLIENTS = 32;
const port = Number(values.port);
if (!(Number.isInteger(port) && port >= 0 && port < 65_536))
  throw new Error(`--port ${values.port}: expected 0 to 65535`);

const drawn = await prepareDemonstration({ outputDir: values.out, data: false, model: !values.model });
const { model, processor } = await fromPretrained(values.model ?? drawn.model);
const collator = new VlmCollator(processor);

/** What the client did wrong, by its status. */
class BadRequest extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The place for the next question; undefined while one waits there. */
let waiting = false;
let turn: Promise<void> = Promise.resolve();

/** Runs one after the other; a third is refused. */
async function inTurn(work: () => Promise<void>, isIdle: () => boolean): Promise<void> {
  if (waiting) throw new BadRequest(503, 'busy: one question is being answered and one waits');
  waiting = true;
  const before = turn;
  const own = (async () => {
    await before.catch(() => undefined);
    waiting = false;
    // Who has left while waiting costs nothing.
    if (!isIdle()) await work();
  })();
  turn = own;
  await own;
}

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new BadRequest(413, `more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new BadRequest(400, 'the body is no JSON');
  }
}

function messagesOf(body: unknown): Message[] {
  const { question, image } = (body ?? {}) as { question?: unknown; image?: unknown };
  if (typeof question !== 'string' || question === '' || question.length > MAX_CHARACTERS) {
    throw new BadRequest(400, `expected a \`question\` of 1 to ${MAX_CHARACTERS} characters`);
  }
  if (image !== undefined && typeof image !== 'string') throw new BadRequest(400, 'expected `image` in base64');
  // Control tokens in the question stay text, and an image is decoded within bounds, or refused.
  const parts =
    image === undefined ? [] : [{ type: 'image', image: new Uint8Array(Buffer.from(image, 'base64')) } as const];
  return [{ role: 'user', content: [{ type: 'text', text: question }, ...parts] }];
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'POST' || request.url !== '/answers')
    throw new BadRequest(404, 'POST /answers is all there is');
  const left = new AbortController();
  response.on('close', () => left.abort());
  const messages = messagesOf(await readBody(request));
  const work = async (): Promise<void> => {
    const prompts = await collator.collatePrompts([{ messages }], { signal: left.signal });
    const pieces = streamText(model, collator.tokenizer, prompts, {
      maxNewTokens: MAX_NEW_TOKENS,
      signal: left.signal,
    });
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    // JSON, as an event's data may hold no line breaks. Nobody waits for a slow reader: an answer is short enough to keep.
    for await (const text of pieces) response.write(`data: ${JSON.stringify({ text })}\n\n`);
    response.end('event: done\ndata: {}\n\n');
  };
  await inTurn(work, () => left.signal.aborted);
}

function fail(error: unknown, request: IncomingMessage, response: ServerResponse): void {
  if (response.destroyed) return; // the client has left
  // What is wrong with the image is said; what else goes wrong is nobody's business outside.
  const known =
    error instanceof BadRequest ? error : error instanceof ImageError ? new BadRequest(400, error.summary) : undefined;
  if (!known) console.error(error);
  const { status, message } = known ?? { status: 500, message: 'internal error' };
  if (response.headersSent) response.end(`event: error\ndata: ${JSON.stringify({ message })}\n\n`);
  else {
    const busy = status === 503 ? { 'Retry-After': '5' } : {};
    // What is left of an upload is not read.
    response.writeHead(status, { 'Content-Type': 'application/json', Connection: 'close', ...busy });
    response.end(`${JSON.stringify({ message })}\n`, () => request.destroy());
  }
}

export const server = createServer((request, response) => {
  answer(request, response).catch((error: unknown) => fail(error, request, response));
});
server.requestTimeout = 30_000;
server.maxConnections = MAX_CLIENTS;
server.listen(port, '127.0.0.1', () => {
  const address = server.address();
  const own = typeof address === 'object' && address ? address.port : port;
  console.log(`${model.engine.description}\nlistening on http://127.0.0.1:${own}/answers`);
});
// The first Ctrl-C or SIGTERM lets answers end, a second ends the process at once.
const stop = abortOnSignals({ onStop: () => void server.close() });
server.on('close', () => {
  stop.dispose();
  void turn.catch(() => undefined).then(() => model.dispose());
});
