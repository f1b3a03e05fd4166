/** Writes each mutant as soon as it is tested, so that a run that is stopped keeps what it has found. */
import { appendFileSync, mkdirSync } from 'node:fs';
import { relative } from 'node:path';
import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin';

class LinesReporter {
  static inject = [];
  #file = `${process.env.MUTATION_REPORTS}/${process.env.MUTATION_AREA}.jsonl`;

  constructor() {
    mkdirSync(process.env.MUTATION_REPORTS, { recursive: true });
  }

  onMutantTested({ fileName, location, mutatorName, replacement, status, killedBy }) {
    const mutant = {
      fileName: relative(process.cwd(), fileName),
      location,
      mutatorName,
      replacement,
      status,
      killedBy: killedBy?.[0],
    };
    appendFileSync(this.#file, `${JSON.stringify(mutant)}\n`);
  }
}

export const strykerPlugins = [declareClassPlugin(PluginKind.Reporter, 'lines', LinesReporter)];
