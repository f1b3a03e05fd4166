/** Programs of child processes in one file each: with tsx every child loads the library module by module. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));

export interface ChildProgram {
  /** For `node`. */
  readonly path: string;
  readonly remove: () => Promise<void>;
}

/** @param source of the program, from the root of the repository */
export async function childProgram(source: string): Promise<ChildProgram> {
  // Packages are found from below the repository only.
  const cache = join(root, 'node_modules/.cache');
  await mkdir(cache, { recursive: true });
  const dir = await mkdtemp(join(cache, 'child-program-'));
  const path = join(dir, basename(source).replace(/\.ts$/, '.mjs'));
  await build({
    absWorkingDir: root,
    entryPoints: [source],
    outfile: path,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    packages: 'external',
    logLevel: 'warning',
  });
  return { path, remove: () => rm(dir, { recursive: true, force: true }) };
}
