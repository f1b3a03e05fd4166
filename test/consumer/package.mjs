/** The packed package: what publint and arethetypeswrong say of it, its size, and what it must not carry. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

/** Bytes that a user downloads. */
const MOST_BYTES = 1_000_000;

const folder = await mkdtemp(join(tmpdir(), 'consumer-package-'));
try {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const shell = process.platform === 'win32';
  const packed = execFileSync(npm, ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { shell });
  const [{ filename, files, unpackedSize }] = JSON.parse(packed.toString());
  const tarball = join(folder, filename);
  const { size } = await stat(tarball);
  assert.ok(size < MOST_BYTES, `the package has ${size} bytes, at most ${MOST_BYTES - 1} are wanted`);
  assert.deepEqual(
    files
      .map(({ path }) => path)
      .filter((path) => !/^(dist|examples)\/|^(README\.md|LICENSE|package\.json)$/.test(path)),
    [],
  );
  assert.deepEqual(
    files.map(({ path }) => path).filter((path) => /\.(map|png|svg|jpe?g)$/.test(path)),
    [],
  );

  const bytes = await readFile(tarball);
  const archive = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const { messages, pkg } = await publint({ pack: { tarball: archive }, strict: true });
  assert.deepEqual(
    messages.map((message) => formatMessage(message, pkg)),
    [],
  );

  // Its program, as what it checks with is a dependency of it.
  const manifest = createRequire(import.meta.url).resolve('@arethetypeswrong/cli/package.json');
  const { bin } = JSON.parse(await readFile(manifest, 'utf8'));
  execFileSync(process.execPath, [join(dirname(manifest), bin.attw), '--quiet', tarball], { stdio: 'inherit' });
  console.log(`${(size / 1000).toFixed(0)} kB packed, ${(unpackedSize / 1e6).toFixed(2)} MB unpacked`);
} finally {
  await rm(folder, { recursive: true });
}
