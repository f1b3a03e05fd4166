/** With what it was made: configuration, versions, base model, data. */

import { oneLine, printable } from '../messages/one-line.js';
import { type Html, html } from '../page/html.js';
import { parseSftConfig } from '../train/sft-config.js';
import { shownSetting } from './figures.js';
import type { RunProvenance, TrainingCourse } from './report-parts.js';
import { type ReportSection, scrolled, section } from './section.js';

/** Settings of a model or an adapter that are shown. */
const MAX_ROWS = 200;

export function provenanceSection(
  provenance: RunProvenance = {},
  config: TrainingCourse['config'],
): ReportSection | undefined {
  const origin = originRows(provenance);
  const { adapter, settings } = provenance;
  const tables = [
    origin.length > 0 && scrolled('Origin', rowsTable(origin)),
    config && configTables(config),
    adapter && named('Adapter', adapter),
    settings && named('Model and collator', settings),
  ].filter((table): table is Html => table !== undefined && table !== false);
  return tables.length === 0 ? undefined : section('provenance', 'Configuration and origin', tables);
}

function originRows({ dataset, evalDataset, command, ...known }: RunProvenance): [string, string][] {
  const set = (data: RunProvenance['dataset']): string | undefined =>
    data && `${data.samples.toLocaleString('en-US')} samples, fingerprint ${data.digest}`;
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['Base model', known.baseModel],
    ['Its commit', known.baseRevision],
    ['Engine', known.engine],
    ['Training set', set(dataset)],
    ['Evaluation set', set(evalDataset)],
    ['ministral-tune', known.version],
    ['Node.js', known.node],
    ['Command', command],
    ['Report made', known.date],
  ];
  return rows.flatMap(([name, text]) => (text === undefined || text === '' ? [] : [[name, printable(text)]]));
}

function configTables(config: Readonly<Record<string, unknown>>): Html {
  const defaults: Readonly<Record<string, unknown>> = parseSftConfig();
  const isDefault = (name: string): boolean => JSON.stringify(config[name]) === JSON.stringify(defaults[name]);
  const names = Object.keys(config).filter((name) => config[name] !== undefined);
  const rows = (chosen: readonly string[]): [string, string][] =>
    chosen.map((name) => [name, shownSetting(config[name])]);
  const [same, set] = [names.filter(isDefault), names.filter((name) => !isDefault(name))];
  return html`<h3>Training configuration</h3>
${set.length > 0 ? scrolled('Training configuration', rowsTable(rows(set))) : html`<p>All options have their defaults.</p>`}
${same.length > 0 && html`<details><summary>${`${same.length} options with their defaults`}</summary>${scrolled('Defaults', rowsTable(rows(same)))}</details>`}`;
}

function named(title: string, values: Readonly<Record<string, unknown>>): Html | undefined {
  const rows = Object.entries(values).flatMap(([name, value]): [string, string][] =>
    value === null || value === undefined ? [] : [[name, shownSetting(value)]],
  );
  if (rows.length === 0) return undefined;
  const more = rows.length - MAX_ROWS;
  return html`<details><summary>${title}</summary>${scrolled(title, rowsTable(rows.slice(0, MAX_ROWS)))}${more > 0 && html`<p class="quiet">${`${more} more are left out.`}</p>`}</details>`;
}

function rowsTable(rows: readonly (readonly [string, string])[]): Html {
  return html`<table class="settings"><tbody>${rows.map(([name, text]) => html`<tr><th scope="row">${oneLine(name)}</th><td>${text}</td></tr>`)}</tbody></table>`;
}
