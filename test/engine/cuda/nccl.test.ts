import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { FOREIGN_CALLS_PACKAGES, foreignCalls } from '../../../src/engine/cuda/foreign-calls.js';
import type { DevicePointer } from '../../../src/engine/cuda/launch.js';
import { Nccl, ncclVersion } from '../../../src/engine/cuda/nccl.js';
import { where } from '../../where.js';
import { hasCompiler } from './emulated-card.js';

const isSupported = FOREIGN_CALLS_PACKAGES[`${process.platform}-${process.arch}`] !== undefined;

where(isSupported && hasCompiler(), 'needs g++ and a system with a cuda engine').describe(
  'NCCL by foreign calls',
  () => {
    let folder: string;
    let path: string;
    const load = () => ({ library: foreignCalls().load(path), path });

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'nccl-stub-'));
      path = join(folder, 'libnccl-stub.so');
      const source = fileURLToPath(new URL('nccl-stub.cpp', import.meta.url));
      execFileSync('g++', ['-shared', '-fPIC', '-o', path, source]);
    });
    afterEach(() => vi.unstubAllEnvs());
    afterAll(() => rmSync(folder, { recursive: true }));

    it('passes ids by value, a short configuration, and sums of float32', async () => {
      vi.stubEnv('NCCL_NVLS_ENABLE', undefined);
      const nccl = new Nccl(load);
      expect([nccl.version, ncclVersion(nccl.version), process.env.NCCL_NVLS_ENABLE]).toEqual([22803, '2.28.3', '0']);
      // As versions were written up to 2.8.
      expect(ncclVersion(2708)).toBe('2.7.8');
      const communicator = nccl.begin(5, nccl.uniqueId(), 2);
      expect([1, 2, 3].map(() => nccl.isReady(communicator))).toEqual([false, false, true]);
      expect(nccl.device(communicator)).toBe(3);
      // What it was given is its last message.
      const refused = () => nccl.allReduce(communicator, 0x7f12_3456_7890 as DevicePointer, 0, 77);
      expect(refused).toThrow(
        'NCCL: ncclAllReduce failed: ncclInvalidArgument (invalid argument); its last message: ' +
          '0x7f1234567890 0x7f1234567890 0 7 0 1 0x4d',
      );
      nccl.allReduce(communicator, 4096 as DevicePointer, 3_000_000_000, 77);
      expect([1, 2].map(() => nccl.isReady(communicator))).toEqual([false, true]);
      await nccl.abort(communicator);
    });

    it('tells what a non-blocking call came to, and which rank it began as', () => {
      vi.stubEnv('NCCL_NVLS_ENABLE', '1');
      const nccl = new Nccl(load);
      expect(process.env.NCCL_NVLS_ENABLE).toBe('1');
      const communicator = nccl.begin(2, nccl.uniqueId(), 1);
      expect(() => nccl.isReady(communicator + 1)).toThrow('1 of 2, config 24 cafebeef 21400 0');
      nccl.allReduce(communicator, 4096 as DevicePointer, 1, 1);
      expect(() => nccl.isReady(communicator)).toThrow(
        'NCCL: the connection of the ranks failed: ncclRemoteError (remote process exited)',
      );
    });

    it('refuses a library without non-blocking communicators', () => {
      vi.stubEnv('NCCL_STUB_VERSION', '21304');
      expect(() => new Nccl(load)).toThrow(/needs NCCL 2\.14\.0 or later, but .*libnccl-stub\.so is 2\.13\.4/);
    });
  },
);
