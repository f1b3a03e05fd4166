import { spawnSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'release-'));
  await cp(join(root, 'scripts/check-release.mjs'), join(folder, 'scripts/check-release.mjs'));
  await writeFile(join(folder, 'package.json'), '{"version": "1.2.3"}');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function check(tag: string, changelog: string): Promise<{ status: number | null; out: string; error: string }> {
  await cp(join(root, 'docs/CHANGELOG.md'), join(folder, 'docs/CHANGELOG.md'));
  await writeFile(join(folder, 'docs/CHANGELOG.md'), changelog);
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/check-release.mjs', tag], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { status, out: stdout, error: stderr };
}

describe('a release', () => {
  const changelog = '# Changelog\n\n## 1.2.3 (2027-01-31)\n\n- new\n\n## 1.2.2 (2027-01-01)\n\n- old\n';

  it('says what is new in its version alone', async () => {
    expect(await check('v1.2.3', changelog)).toMatchObject({ status: 0, out: '- new\n' });
  });

  it.each([
    ['another tag', 'v1.2.4', changelog, 'expected v1.2.3'],
    ['a changelog without the version', 'v1.2.3', '# Changelog\n\n## Unreleased\n', 'has no section'],
    ['a section without a date', 'v1.2.3', '# Changelog\n\n## 1.2.3 (soon)\n', 'has no date'],
  ])('stops at %s', async (_, tag, text, message) => {
    const { status, error } = await check(tag, text);
    expect(status).toBe(1);
    expect(error).toContain(message);
  });

  it('has a place for what comes next', async () => {
    expect(await readFile(join(root, 'docs/CHANGELOG.md'), 'utf8')).toMatch(/^## Unreleased\n/m);
  });
});
