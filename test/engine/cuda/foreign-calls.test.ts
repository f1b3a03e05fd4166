import { describe, expect, it } from 'vitest';
import manifest from '../../../package.json' with { type: 'json' };
import {
  FOREIGN_CALLS_PACKAGES,
  FOREIGN_CALLS_VERSION,
  foreignCalls,
  load,
} from '../../../src/engine/cuda/foreign-calls.js';
import { EngineError } from '../../../src/errors.js';
import { where } from '../../where.js';

function failure(body: () => unknown): EngineError {
  try {
    body();
  } catch (error) {
    if (error instanceof EngineError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('calls into native libraries', () => {
  it('come from optional packages that are pinned to one version', () => {
    const packages = Object.values(FOREIGN_CALLS_PACKAGES);
    expect(manifest.optionalDependencies).toEqual(
      Object.fromEntries(packages.map((name) => [name, FOREIGN_CALLS_VERSION])),
    );
  });

  const isSupported = FOREIGN_CALLS_PACKAGES[`${process.platform}-${process.arch}`] !== undefined;
  where(isSupported, 'needs a system with a cuda engine').it(
    'reach a function of the C library, its memory and its errors',
    async () => {
      const calls = foreignCalls();
      expect(calls).toBe(foreignCalls());
      const library = calls.load(cLibrary());
      expect(library.func('abs', 'int', ['int'])(-7)).toBe(7);
      const settled = new Promise((resolve, reject) => {
        library
          .func('abs', 'int', ['int'])
          .async(-8, (error: unknown, result: number) => (error ? reject(error) : resolve(result)));
      });
      expect(await settled).toBe(8);
      const bytes = Buffer.from('text\0');
      expect(library.func('strlen', 'int', ['void*'])(bytes)).toBe(4);
      const pointer = BigUint64Array.of(calls.address(bytes));
      expect(calls.decode(pointer, 'str')).toBe('text');
      expect(Buffer.from(calls.view(calls.address(bytes), 4)).toString()).toBe('text');
      expect(() => calls.load('libnone.so.9')).toThrow(/cannot open shared object file|No such file/);
    },
  );

  it('name the package that is missing, and how to get it', () => {
    const error = failure(() =>
      load('linux-arm64', () => {
        throw new Error("Cannot find module '@koromix/koffi-linux-arm64'\nRequire stack:\n- /app/main.js");
      }),
    );
    expect(error.message).toContain(
      "the cuda engine needs the optional package @koromix/koffi-linux-arm64, which cannot be loaded: Cannot find module '@koromix/koffi-linux-arm64'",
    );
    expect(error.message).not.toContain('Require stack');
    expect(error.hint).toBe(
      `Install again without --omit=optional (--no-optional), or add it: npm install @koromix/koffi-linux-arm64@${FOREIGN_CALLS_VERSION}.`,
    );
  });

  it('name a version that is another one, and a system without CUDA', () => {
    const other = failure(() => load('linux-x64', () => ({ version: '4.0.0' })));
    expect(other.message).toContain(`needs version ${FOREIGN_CALLS_VERSION}`);
    expect(other.message).toContain('found 4.0.0');
    const system = failure(() => load('darwin-arm64', () => ({})));
    expect(system.message).toContain('runs on linux-x64 and linux-arm64; this is darwin-arm64');
    expect(system.hint).toContain("createEngine('cpu')");
  });
});

/** glibc's name, or musl's. */
function cLibrary(): string {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ? 'libc.so.6' : `libc.musl-${process.arch === 'x64' ? 'x86_64' : 'aarch64'}.so.1`;
}
