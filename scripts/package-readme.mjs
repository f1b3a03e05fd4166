/**
 * README.md as npm's page shows it: addresses that are relative in a checkout become those of the version's files and of the
 * documentation's site. `prepack` writes it, `postpack` puts the checkout's own back.
 *
 *   node scripts/package-readme.mjs --write | --restore
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/**
 * @param {string} text Markdown
 * @param {{ homepage: string, repository: { url: string }, version: string }} manifest
 */
export function packagedReadme(text, { homepage, repository, version }) {
  const repo = repository.url.replace(/^git\+https:\/\/github\.com\/|\.git$/g, '');
  const absolute = (path) => {
    if (/\.(png|svg|jpe?g|gif|webp)$/.test(path))
      return `https://raw.githubusercontent.com/${repo}/v${version}/${path}`;
    const [, page] = /^docs\/(.*)\.md(?=#|$)/.exec(path) ?? [];
    if (page === undefined) return `https://github.com/${repo}/blob/v${version}/${path}`;
    const anchor = path.slice(`docs/${page}.md`.length);
    return `${homepage}${page.replace(/(^|\/)README$/, '$1index')}.html${anchor}`;
  };
  return text
    .replace(/\]\((?![a-z]+:|#)([^)\s]+)\)/g, (_, path) => `](${absolute(path)})`)
    .replace(/\b(src|srcset|href)="(?![a-z]+:|#)([^"]+)"/g, (_, name, path) => `${name}="${absolute(path)}"`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const readme = join(root, 'README.md');
  const own = join(root, '.README.md.own');
  // What an interrupted pack left behind.
  if (existsSync(own)) renameSync(own, readme);
  if (process.argv[2] === '--write') {
    const text = readFileSync(readme, 'utf8');
    writeFileSync(own, text);
    writeFileSync(readme, packagedReadme(text, JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))));
  }
}
