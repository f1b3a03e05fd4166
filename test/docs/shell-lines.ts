/** Commands in the documents: what they call exists. */
import manifest from '../../package.json' with { type: 'json' };
import type { Block } from './snippets.js';

/** Complaints about the ```sh blocks of a page. */
export function checkShellLines(blocks: readonly Block[]): string[] {
  const complaints: string[] = [];
  for (const { file, line, language, code } of blocks) {
    if (language !== 'sh') continue;
    // A line that ends with a backslash goes on.
    const joined = code.replace(/\\\n/g, ' ');
    for (const [, script] of joined.matchAll(/\bnpm run ([\w:]+)/g)) {
      if (!Object.hasOwn(manifest.scripts, script!)) {
        complaints.push(`${file}:${line}: package.json has no script "${script}"`);
      }
    }
  }
  return complaints;
}
