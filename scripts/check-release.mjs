/**
 * Says what is new in the version of a tag, from docs/CHANGELOG.md. Fails if the tag, package.json and the changelog do not
 * agree, or a date is missing.
 *
 *   node scripts/check-release.mjs v1.2.3
 */
import { readFileSync } from 'node:fs';

const tag = process.argv[2] ?? '';
const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const { version } = JSON.parse(read('package.json'));
if (tag !== `v${version}`)
  throw new Error(`the tag is "${tag}", package.json has version ${version}: expected v${version}`);

const sections = read('docs/CHANGELOG.md').split(/^## /m).slice(1);
const section = sections.find((text) => text.startsWith(`${version} `));
if (!section) throw new Error(`docs/CHANGELOG.md has no section "## ${version} (YYYY-MM-DD)"`);
const [heading, ...lines] = section.split('\n');
if (!/^\S+ \(\d{4}-\d{2}-\d{2}\)$/.test(heading)) throw new Error(`docs/CHANGELOG.md: "${heading}" has no date`);
console.log(lines.join('\n').trim());
