import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import manifest from '../package.json' with { type: 'json' };
import build from '../tsup.config.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const DOORS = [
  'index',
  'data',
  'engine',
  'safetensors',
  'hub',
  'charts',
  'audit',
  'eval',
  'plan',
  'monitor',
  'report',
  'demo',
  'distributed',
  'types',
];

interface Door {
  /** Called or constructed. */
  readonly values: string[];
  readonly types: string[];
}

/** Names that a door gives; it holds nothing but lists of what it passes on. */
function exportsOf(door: string): Door {
  const path = `${root}src/${door}.ts`;
  const names: Door = { values: [], types: [] };
  for (const statement of ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest).statements) {
    if (!ts.isExportDeclaration(statement) || !statement.exportClause || !ts.isNamedExports(statement.exportClause)) {
      throw new Error(`src/${door}.ts has more than lists of exports`);
    }
    for (const { name, isTypeOnly } of statement.exportClause.elements) {
      (statement.isTypeOnly || isTypeOnly ? names.types : names.values).push(name.text);
    }
  }
  return names;
}

const doors = new Map(DOORS.map((door) => [door, exportsOf(door)]));

describe('the doors of the package', () => {
  it('are all in the program whose types each version of TypeScript checks', () => {
    const consumer = readFileSync(`${root}test/consumer/consumer.ts`, 'utf8');
    const missing = DOORS.filter(
      (door) => !consumer.includes(` from 'ministral-tune${door === 'index' ? '' : `/${door}`}'`),
    );
    expect(missing).toEqual([]);
  });

  it('are the same for Node, the build, the documentation', () => {
    const subpaths = DOORS.map((door) => (door === 'index' ? '.' : `./${door}`));
    expect(Object.keys(manifest.exports)).toEqual([...subpaths, './package.json']);
    for (const [i, subpath] of subpaths.entries()) {
      const file = `./dist/${DOORS[i]}`;
      expect(manifest.exports[subpath as '.']).toEqual({
        import: { types: `${file}.d.ts`, default: `${file}.js` },
        require: { types: `${file}.d.cts`, default: `${file}.cjs` },
      });
      // For those who do not read `exports`: TypeScript with the resolution "node".
      if (subpath !== '.') expect(manifest.typesVersions['*'][DOORS[i] as 'data']).toEqual([`${file}.d.cts`]);
    }
    expect([manifest.main, manifest.types]).toEqual(['./dist/index.cjs', './dist/index.d.cts']);
    const sources = DOORS.map((door) => `src/${door}.ts`);
    expect((build as { entry: string[] }).entry).toEqual(sources);
    expect(manifest.bin).toEqual({ 'ministral-tune': 'dist/cli/main.js' });
    expect(manifest.typedocOptions.entryPoints).toEqual(sources);
  });

  it('give each name once', () => {
    const all = [...doors.values()].flatMap(({ values, types }) => [...values, ...types]);
    expect(all.filter((name, i) => all.indexOf(name) !== i)).toEqual([]);
  });

  it('keep the main one to what fits on a page', () => {
    const { values, types } = doors.get('index')!;
    expect(values.length + types.length).toBeLessThanOrEqual(80);
    expect(types.length).toBeLessThan(values.length);
  });

  it('of parts have these to call', () => {
    const values = Object.fromEntries([...doors].map(([door, names]) => [door, [...names.values].sort()]));
    expect(values).toMatchObject({
      data: [
        'BYTE_TO_CHAR',
        'ClassLabel',
        'DataLoader',
        'IGNORE_INDEX',
        'ImageProcessor',
        'MersenneTwister',
        'MinistralTokenizer',
        'counterHash',
        'decodeImage',
        'formatMask',
        'imageSize',
        'maskView',
        'renderMaskPage',
      ],
      engine: ['Tape', 'accumulateGradients', 'evaluateLoss'],
      safetensors: ['SafetensorsFile', 'ShardedCheckpoint', 'writeSafetensors'],
      hub: ['MODEL_FILES', 'snapshotDownload'],
      charts: [
        'barChart',
        'comparisonMarkdown',
        'confusionChart',
        'contactSheet',
        'escapeMarkdown',
        'lineChart',
        'renderPng',
        'reportMarkdown',
        'writeContactSheet',
      ],
      audit: [
        'AUDIT_STYLES',
        'auditDataset',
        'auditSection',
        'auditThumbnails',
        'deduplicate',
        'formatAudit',
        'imageKey',
        'leakFreeSplit',
        'renderAuditPage',
      ],
      eval: [
        'abstainBelow',
        'accuracyScore',
        'averageMetrics',
        'balancedAccuracyScore',
        'bootstrapIntervals',
        'brierScoreLoss',
        'calibrationCurve',
        'cohenKappaScore',
        'compareSamples',
        'compareSubsets',
        'confusionMatrix',
        'errorCost',
        'logLoss',
        'matthewsCorrcoef',
        'mcnemarChiSquare',
        'mcnemarExact',
        'normalizeConfusion',
        'occurringClasses',
        'pairedDifferenceInterval',
        'precisionRecallFscoreSupport',
        'predictionsCsv',
        'predictionsJsonl',
        'readPredictions',
        'riskCoverageArea',
        'riskCoverageCurve',
        'softmax',
        'subsetReport',
        'subsetsMarkdown',
        'thresholdForRisk',
        'topKAccuracyScore',
        'wilsonInterval',
        'writePredictions',
      ],
      monitor: ['jsonLines', 'livePage', 'scalarsOf', 'showProgress', 'tensorBoard'],
      report: ['renderRunReport', 'writeRunReport'],
      demo: [
        'DEMONSTRATION_CONFIG',
        'FRACTURE_CLASSES',
        'RADIOGRAPH_HEIGHT',
        'RADIOGRAPH_WIDTH',
        'drawRadiograph',
        'drawRadiographs',
        'prepareDemonstration',
        'writeTinyCheckpoint',
      ],
      distributed: ['isMainProcess', 'mainProcessFirst', 'onMainProcess', 'processGroup', 'rankPlace'],
      types: [],
      plan: ['formatTrainingPlan', 'plan'],
    });
  });
});
