/** What meets the hub beside honest ranks. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { introduction, keyOf, newChallenge, parseGreeting, parseReply } from '../../src/distributed/handshake.js';
import { joinGroup } from '../../src/distributed/join-group.js';
import type { ProcessGroup } from '../../src/distributed/process-group.js';
import type { DistributedError } from '../../src/errors.js';
import { VERSION } from '../../src/generated/version.js';
import { closeAll, freePort, joinRanks, placeOf } from './join-ranks.js';

const SECRET = 'a secret of the tests';
const env = { MINISTRAL_TUNE_SECRET: SECRET };

let groups: ProcessGroup[] = [];
const sockets: Socket[] = [];
const servers: Server[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
  await closeAll(groups);
  groups = [];
});

const summaryOf = (joining: Promise<unknown>): Promise<string> =>
  joining.then(
    () => 'joined',
    (error: DistributedError) => error.summary,
  );

/** A connection to the hub, when it listens, and what it says. */
async function caller(port: number): Promise<{ socket: Socket; said: () => Buffer; closed: Promise<void> }> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    let bytes = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk]);
    });
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.on('data', () => resolve(true));
      socket.on('error', () => resolve(false));
    });
    if (isOpen) {
      sockets.push(socket);
      return { socket, said: () => bytes, closed };
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Introduces itself as a rank would. @returns the hub's answer */
async function introduce(port: number, identity: object, secret: string): Promise<unknown> {
  const { socket, said } = await caller(port);
  const parsed = parseGreeting(said());
  if (typeof parsed !== 'object') throw new Error('no greeting');
  const session = { key: keyOf(secret), mark: parsed.mark, asked: parsed.challenge, own: newChallenge() };
  const { length } = said();
  socket.write(introduction(session, identity));
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    const reply = parseReply(said().subarray(length), session);
    if (reply !== 'more') return typeof reply === 'object' ? reply.value : reply;
  }
}

const identityOf = (rank: number, changes: object = {}) => ({
  ...{ rank, localRank: rank, worldSize: 2, version: VERSION, host: 'h', pid: 1, machine: 'h', ...changes },
});

describe('the rendezvous', () => {
  it('is not held up by foreign bytes, idle connections and scans, before and while the group is at work', async () => {
    const port = await freePort();
    const hub = joinGroup(placeOf(0, 2, port), { env });
    const garbage = async (): Promise<void> => {
      const callers = await Promise.all(Array.from({ length: 5 }, () => caller(port)));
      callers[0]!.socket.write('GET / HTTP/1.1\r\n\r\n');
      // The right beginning, and then a text of 4 GB.
      callers[1]!.socket.write(Buffer.concat([Buffer.from('MTGROUP1'), Buffer.alloc(64, 1), Buffer.alloc(4, 0xff)]));
      callers[2]!.socket.write('MT');
      await Promise.all([callers[0]!.closed, callers[1]!.closed]);
    };
    await garbage();
    groups = await Promise.all([hub, joinGroup(placeOf(1, 2, port), { env })]);
    const answers = Promise.all(groups.map((group) => group.allGather('x', group.rank)));
    await garbage();
    expect(await answers).toEqual([
      [0, 1],
      [0, 1],
    ]);
    expect(await introduce(port, identityOf(1), SECRET)).toMatchObject({
      refused: {
        message: expect.stringContaining('there are two of rank 1: rank 1 (process 1 on host "h") came after rank 1'),
      },
    });
    expect(groups.some(({ failure }) => failure.aborted)).toBe(false);
  });

  it('closes the connection of one that trickles, in the middle of its introduction', async () => {
    const port = await freePort();
    const hub = summaryOf(joinGroup(placeOf(0, 2, port), { env, times: { helloMs: 50 }, rendezvousSeconds: 0.4 }));
    const { socket, closed } = await caller(port);
    const trickle = setInterval(() => socket.write('MTGROUP1'), 20);
    await closed;
    clearInterval(trickle);
    expect(await hub).toMatch(/^rank 1 of 2 did not come within 0.4 s \(turned away: 1 without an introduction\)$/);
  });

  it('takes nobody with another secret, and says so on both sides', async () => {
    const port = await freePort();
    const times = { otherSecretMs: 50, retryMs: 20 };
    const hub = summaryOf(joinGroup(placeOf(0, 2, port), { env, times, rendezvousSeconds: 0.8 }));
    const other = joinGroup(placeOf(1, 2, port), { env: { MINISTRAL_TUNE_SECRET: 'of somebody else' }, times });
    expect(await summaryOf(other)).toContain(`port ${port}, a hub of this job with another secret`);
    expect(await hub).toMatch(/^rank 1 of 2 did not come .*turned away: \d+ with another secret\)$/);
  });

  it.each([
    ['another number of ranks', { worldSize: 3 }, 'WORLD_SIZE is 3 for rank 1 (process 1 on host "h"), 2 for rank 0'],
    [
      'another version',
      { version: '0.0.1' },
      `have different versions of ministral-tune: rank 1 (process 1 on host "h") 0.0.1, rank 0`,
    ],
  ])('fails for all with %s', async (_, changes, said) => {
    const port = await freePort();
    const hub = summaryOf(joinGroup(placeOf(0, 2, port), { env }));
    expect(await introduce(port, identityOf(1, changes), SECRET)).toMatchObject({
      refused: { message: expect.stringContaining(said) },
    });
    expect(await hub).toContain(said);
  });

  it('names two ranks with one GPU', async () => {
    const joining = joinRanks(3, { env }, { 2: { localRank: 1 } }).catch((error: DistributedError) => error.summary);
    expect(await joining).toMatch(/ run on one machine, and both have LOCAL_RANK 1$/);
  });

  it('ends for all when one ends, also for those that come later', async () => {
    const port = await freePort();
    const hub = summaryOf(joinGroup(placeOf(0, 4, port), { env }));
    expect(await introduce(port, identityOf(1, { worldSize: 4 }), SECRET)).toEqual({ joined: true });
    for (const socket of sockets.splice(0)) socket.destroy();
    const said = 'rank 1 (process 1 on host "h") ended before all ranks had come: it closed its connection';
    expect(await hub).toBe(said);
    expect(await summaryOf(joinGroup(placeOf(2, 4, port), { env }))).toBe(said);
  });

  it('ends when it is asked to', async () => {
    const stop = new AbortController();
    const place = placeOf(0, 2, await freePort());
    const joining = joinGroup(place, { env, signal: stop.signal });
    await caller(place.masterPort);
    stop.abort(new Error('asked to stop'));
    await expect(joining).rejects.toThrow('asked to stop');
    await expect(joinGroup(place, { env, signal: stop.signal })).rejects.toThrow('asked to stop');
  });

  it('goes past ports that others have, without a byte to them, and past hubs of other jobs', async () => {
    const port = await freePort();
    let heard = 0;
    const foreign = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', (bytes) => {
        heard += bytes.length;
      });
    });
    servers.push(foreign);
    await new Promise<void>((resolve) => foreign.listen(port, '127.0.0.1', resolve));
    const jobs = await Promise.all(['a', 'b'].map((jobId) => joinRanksAt(port, 2, jobId)));
    groups = jobs.flat();
    const answers = await Promise.all(groups.map((group, i) => group.allGather('job', i < 2 ? 'a' : 'b')));
    expect(answers).toEqual([
      ['a', 'a'],
      ['a', 'a'],
      ['b', 'b'],
      ['b', 'b'],
    ]);
    expect(heard).toBe(0);
  });

  it('has one rank 0 a job', async () => {
    const port = await freePort();
    const first = joinRanksAt(port, 2, '');
    groups = await first;
    const second = summaryOf(joinGroup(placeOf(0, 2, port), { env }));
    expect(await second).toBe(`another rank 0 with MASTER_PORT ${port} listens on port ${port} of this machine`);
  });

  const joinRanksAt = (port: number, worldSize: number, jobId: string): Promise<ProcessGroup[]> =>
    Promise.all(
      Array.from({ length: worldSize }, (_, rank) =>
        joinGroup({ ...placeOf(rank, worldSize, port), jobId }, { env, times: { retryMs: 50 } }),
      ),
    );

  it('wants an address and a secret where ranks are on several machines', async () => {
    const place = { ...placeOf(0, 4, 29_500), localWorldSize: 2 };
    await expect(joinGroup(place, { env })).rejects.toThrow(/MASTER_ADDR=127.0.0.1 .*expected the host of rank 0/);
    await expect(joinGroup({ ...place, masterAddr: 'gpu-1' }, { env: {} })).rejects.toThrow(
      'MINISTRAL_TUNE_SECRET is missing',
    );
    const short = { MINISTRAL_TUNE_SECRET: 'short' };
    await expect(joinGroup({ ...place, masterAddr: 'gpu-1' }, { env: short })).rejects.toThrow(
      'at least 16 characters',
    );
    const soon = { env: { ...env, MINISTRAL_TUNE_RENDEZVOUS_SECONDS: 'soon' } };
    await expect(joinGroup(place, soon)).rejects.toThrow(/MINISTRAL_TUNE_RENDEZVOUS_SECONDS: expected seconds above 0/);
  });
});
