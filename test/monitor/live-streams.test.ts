import { createServer, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventStreamParser, type StreamMessage } from '../../src/monitor/event-stream-parser.js';
import { RunHistory } from '../../src/monitor/live-history.js';
import type { LiveUpdate } from '../../src/monitor/live-protocol.js';
import { LiveStreams } from '../../src/monitor/live-streams.js';

describe('streams of the live page', () => {
  let now = 0;
  let flushes = 0;
  let server: Server;
  let streams: LiveStreams;
  const responses: ServerResponse[] = [];
  const update = (text: string) => ({ name: 'update', data: { text } as unknown as LiveUpdate }) as const;

  beforeEach(async () => {
    now = 0;
    flushes = 0;
    const history = new RunHistory();
    streams = new LiveStreams({ flush: () => void flushes++, snapshot: () => history.snapshot() }, () => now);
    server = createServer((_, response) => {
      responses.push(response);
      streams.add(response, undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
    responses.length = 0;
  });

  /** A browser that has the headers and reads nothing more until it is resumed. */
  async function slowBrowser() {
    const { port } = server.address() as AddressInfo;
    const messages: StreamMessage[] = [];
    const parser = new EventStreamParser();
    const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
      request({ port, host: '127.0.0.1', agent: false }, resolve).on('error', reject).end();
    });
    response.on('error', () => {});
    (response.socket as Socket).pause();
    return {
      messages,
      response,
      read: () => {
        response.setEncoding('utf8').on('data', (text: string) => messages.push(...parser.feed(text)));
        (response.socket as Socket).resume();
      },
    };
  }

  const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

  it('do not wait for a slow browser, hold a bounded amount for it, and then give it the history', async () => {
    const browser = await slowBrowser();
    const large = 'x'.repeat(200_000);
    let most = 0;
    // Far beyond what the system's buffers take.
    for (let i = 0; i < 200; i++) {
      streams.publish(update(`${i} ${large}`));
      most = Math.max(most, responses[0]!.writableLength);
      if (i % 20 === 0) await turn();
    }
    expect(most).toBeGreaterThan(500_000);
    expect(most).toBeLessThan(1_500_000);
    browser.read();
    while (!browser.messages.at(-1)?.id.endsWith('.200')) await turn();
    const names = browser.messages.map(({ name }) => name);
    expect(names.length).toBeLessThan(100);
    expect(names.at(-1)).toBe('snapshot');
    // What had not been published is not to come once more.
    expect(flushes).toBe(names.filter((name) => name === 'snapshot').length);
    streams.publish(update('next'));
    while (browser.messages.at(-1)!.name !== 'update') await turn();
    expect(browser.messages.at(-1)!.data).toBe('{"text":"next"}');
    const ids = browser.messages.map(({ id }) => Number(id.split('.')[1]));
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
  });

  it('give a browser up that has read nothing for a minute, and only that', async () => {
    const [silent, reading] = [await slowBrowser(), await slowBrowser()];
    reading.read();
    const large = 'x'.repeat(200_000);
    for (let i = 0; i < 200 && responses[0]!.writableLength < 1_048_576; i++) {
      streams.publish(update(large));
      await turn();
    }
    streams.publish(update('that is missed'));
    streams.beat();
    expect(streams.size).toBe(2);
    now = 61_000;
    streams.beat();
    const ended = new Promise((resolve) => silent.response.once('close', resolve));
    silent.read();
    await ended;
    expect(streams.size).toBe(1);
  });

  it('end without waiting longer than asked', async () => {
    const browser = await slowBrowser();
    for (let i = 0; i < 200; i++) streams.publish(update('x'.repeat(200_000)));
    await streams.end(10);
    expect(responses[0]!.writableEnded).toBe(true);
    browser.response.destroy();
  });
});
