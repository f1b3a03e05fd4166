import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import { readSecret, secretPath, writeSecret } from '../../src/distributed/secret-file.js';
import { onPosix } from '../where.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'secret-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

onPosix.describe('the file with the secret of ranks on one machine', () => {
  onPosix.it('is new each time, and for this user alone', () => {
    const path = secretPath(1234, join(dir, 'own'));
    const first = writeSecret(path);
    const second = writeSecret(path);
    expect(second).not.toBe(first);
    expect(readSecret(path)).toBe(second);
    expect([statSync(join(dir, 'own')).mode & 0o777, statSync(path).mode & 0o777]).toEqual([0o700, 0o600]);
  });

  onPosix.it('is not made where others can write', () => {
    chmodSync(dir, 0o777);
    expect(() => writeSecret(secretPath(1, dir))).toThrow('is no folder that belongs to this user alone');
    symlinkSync(join(dir), `${dir}-link`);
    expect(() => writeSecret(secretPath(1, `${dir}-link`))).toThrow('belongs to this user alone');
    rmSync(`${dir}-link`);
  });

  onPosix.it('is not believed where others can have written it, or what is no secret', () => {
    const path = join(dir, 'rendezvous-1');
    const write = (text: string, mode: number): void => {
      writeFileSync(path, text);
      chmodSync(path, mode);
    };
    write('ab'.repeat(32), 0o644);
    expect(readSecret(path)).toBeUndefined();
    write('ab'.repeat(32), 0o600);
    expect(readSecret(path)).toBe('ab'.repeat(32));
    symlinkSync(path, `${path}-link`);
    expect(readSecret(`${path}-link`)).toBeUndefined();
    write('short', 0o600);
    expect(readSecret(path)).toBeUndefined();
    expect(readSecret(dir)).toBeUndefined();
    expect(readSecret(join(dir, 'none'))).toBeUndefined();
  });
});
