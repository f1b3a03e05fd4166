import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import { lifeOf, ownIdentity, type ProcessIdentity } from '../../src/files/process-identity.js';
import { onLinux } from '../where.js';

const own = ownIdentity();
const isLinux = process.platform === 'linux';
const startOf = (pid: number): number =>
  Number(
    readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')[19],
  );

describe('lifeOf', () => {
  it('knows this process, and its names', () => {
    expect(own).toMatchObject({ host: hostname(), pid: process.pid });
    expect(lifeOf({ ...own })).toBe(isLinux ? 'alive' : 'unknown');
  });

  it('tells a process that has ended from a living one, at once', async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    const there: ProcessIdentity = { ...own, pid: child.pid!, started: isLinux ? startOf(child.pid!) : undefined };
    expect(lifeOf(there)).not.toBe('dead');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(lifeOf(there)).toBe('dead');
  });

  onLinux.it('sees that a number was given to another process since', () => {
    expect(lifeOf({ ...own, started: own.started! - 1 })).toBe('dead');
    expect(lifeOf({ ...own, pid: process.ppid, started: startOf(process.ppid) })).toBe('alive');
    expect(lifeOf({ ...own, pid: process.ppid, started: startOf(process.ppid) + 7 })).toBe('dead');
    // Without a start time it may be either.
    expect(lifeOf({ ...own, started: undefined })).toBe('unknown');
  });

  onLinux.it('counts a zombie as dead: in a container nobody may ask for its exit status', async () => {
    // The shell's child ends after the shell has become a program that never waits for it.
    const parent = spawn('sh', ['-c', 'sleep 0.2 & echo $!; exec sleep 30']);
    const [text] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(text.toString());
    const zombie = { ...own, pid, started: startOf(pid) };
    while (!/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(lifeOf(zombie)).toBe('dead');
    parent.kill('SIGKILL');
  });

  it('says nothing of a process in another container, on another host or before a reboot', () => {
    const dead = { ...own, pid: 4_000_000 };
    expect(lifeOf(dead)).toBe('dead');
    const [boot, pids, clock] = (own.space ?? '//').split('/');
    for (const space of [undefined, '', `${boot}/pid:[1]/${clock}`, `0-0-0/${pids}/${clock}`, `darwin/${hostname()}`]) {
      expect(lifeOf({ ...dead, space })).toBe('unknown');
    }
  });
});
