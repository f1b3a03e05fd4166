/** The curves of a run: their data, thinned as on the server, and their charts. */
import {
  addEvaluation,
  type EvaluationPoint,
  type LiveSnapshot,
  type LiveUpdate,
  LOG,
  LOG_COLUMNS,
  MAX_ROWS,
  STEP,
  STEP_COLUMNS,
} from '../live-protocol.js';
import { type Cell, ThinnedTable } from '../thinned-table.js';
import { Chart, type ChartData, type ChartSeries } from './chart.js';
import { byId } from './dom.js';
import { memoryUnit } from './format.js';

const COLORS = ['--series-2', '--series-3', '--series-4', '--series-5', '--series-1'];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [5, 5]];
/** Indices of the series of the loss chart. */
const [LOSS_MAX, LOSS_MIN] = [0, 1];

export class Curves {
  readonly steps = new ThinnedTable(STEP_COLUMNS, MAX_ROWS);
  readonly logs = new ThinnedTable(LOG_COLUMNS, MAX_ROWS);
  readonly evaluations: EvaluationPoint[] = [];
  /** Steps that the smoothed loss is a mean of, about. */
  window = 16;
  /** Share of the steps that is shown, from the last one back. */
  share = 1;
  readonly #announce: (text: string) => void;
  readonly #loss: Chart;
  readonly #learningRate: Chart;
  readonly #gradNorm: Chart;
  readonly #throughput: Chart;
  readonly #memory: Chart;
  #metrics: Chart | undefined;
  #metricNames: readonly string[] = [];

  constructor(announce: (text: string) => void) {
    this.#announce = announce;
    this.#loss = this.#add('Loss', [
      { label: 'greatest', color: '--mark', isEdge: true },
      { label: 'least', color: '--mark', isEdge: true },
      { label: 'not smoothed', color: '--quiet', width: 1 },
      { label: 'smoothed', color: '--series-1', width: 3 },
      { label: 'evaluation', color: '--series-2', dash: [8, 4], points: true },
    ]);
    this.#loss.element.classList.add('wide');
    this.#learningRate = this.#add('Learning rate', [{ label: 'learning rate', color: '--series-1' }]);
    this.#gradNorm = this.#add('Gradient norm', [{ label: 'before clipping', color: '--series-4', width: 1 }]);
    this.#throughput = this.#add('Throughput', [{ label: 'tokens a second', color: '--series-3' }]);
    this.#memory = this.#add('Memory of the engine', [
      { label: 'now', color: '--series-1' },
      { label: 'most so far', color: '--series-2', dash: [8, 4] },
    ]);
  }

  set isLog(isLog: boolean) {
    this.#loss.isLog = isLog;
  }

  load(snapshot: LiveSnapshot): void {
    this.steps.load(snapshot.steps);
    this.logs.load(snapshot.logs);
    this.evaluations.splice(0, this.evaluations.length, ...snapshot.evaluations);
  }

  add({ steps = [], logs = [], evaluations = [] }: LiveUpdate): void {
    for (const row of steps) this.steps.add(row);
    for (const row of logs) this.logs.add(row);
    for (const point of evaluations) addEvaluation(this.evaluations, point);
  }

  /** The newest smoothed loss. */
  get smoothedLoss(): Cell {
    return this.#smoothed().at(-1) ?? null;
  }

  draw(): void {
    const rows = this.steps;
    const steps = rows.column(STEP.step);
    const loss = rows.column(STEP.loss);
    const isThinned = rows.stride > 1;
    const edge = (column: number): (Cell | undefined)[] => (isThinned ? rows.column(column) : loss.map(() => null));
    const note = isThinned
      ? `Each value is the mean of ${rows.stride} steps; the shade reaches from the least to the greatest of them.`
      : '';
    const train = [steps, edge(STEP.lossMax), edge(STEP.lossMin), loss, this.#smoothed()];
    const evaluated = [this.evaluations.map(({ step }) => step), this.evaluations.map(({ evalLoss }) => evalLoss)];
    this.#loss.show(this.#part(joined(train, evaluated)), note);
    this.#learningRate.show(this.#part([steps, rows.column(STEP.learningRate)]));
    this.#gradNorm.show(this.#part([steps, rows.column(STEP.gradNorm)]));
    const logged = this.logs.column(LOG.step);
    this.#throughput.show(this.#part([logged, this.logs.column(LOG.tokensPerSecond)]));
    const [now, peak] = [this.logs.column(LOG.memoryBytes), this.logs.column(LOG.peakMemoryBytes)];
    // In one unit, whose labels are round.
    const unit = memoryUnit(peak.at(-1));
    const inUnit = (column: Cell[]): Cell[] => column.map((bytes) => bytes && bytes / unit.bytes);
    this.#memory.show(this.#part([logged, inUnit(now), inUnit(peak)]), logged.length > 0 ? `In ${unit.name}.` : '');
    this.#drawMetrics();
  }

  #smoothed(): Cell[] {
    // A row may be of several steps.
    return smoothed(this.steps.column(STEP.loss), (1 - 1 / this.window) ** this.steps.stride);
  }

  /** The chart is made when the first metric comes: a run may have none. */
  #drawMetrics(): void {
    const all = [...new Set(this.evaluations.flatMap(({ metrics }) => Object.keys(metrics)))];
    const names = all.slice(0, COLORS.length);
    if (names.join('\n') !== this.#metricNames.join('\n')) {
      this.#metrics?.element.remove();
      this.#metricNames = names;
      const series = names.map((label, i) => ({ label, color: COLORS[i]!, dash: DASHES[i]!, points: true }));
      this.#metrics = names.length === 0 ? undefined : this.#add('Evaluation', series);
      if (this.#metrics) this.#loss.element.after(this.#metrics.element);
    }
    const note = all.length > names.length ? `${all.length - names.length} more are in the table below.` : '';
    const columns = names.map((name) => this.evaluations.map(({ metrics }) => metrics[name] ?? null));
    this.#metrics?.show(this.#part([this.evaluations.map(({ step }) => step), ...columns]), note);
  }

  #add(title: string, series: readonly ChartSeries[]): Chart {
    const band = series[LOSS_MAX]?.isEdge ? ([LOSS_MAX, LOSS_MIN] as const) : undefined;
    const chart = new Chart({ title, series, announce: this.#announce, ...(band ? { band } : {}) });
    byId('charts').append(chart.element);
    return chart;
  }

  /** The steps to be shown. */
  #part(data: ChartData): ChartData {
    const first = this.steps.rows[0]?.[STEP.step] ?? 0;
    const last = this.steps.rows.at(-1)?.[STEP.step] ?? 0;
    const from = this.share >= 1 ? Number.NEGATIVE_INFINITY : last - (last - first) * this.share;
    const start = data[0]!.findIndex((step) => step! >= from);
    return start <= 0 ? data : data.map((column) => column.slice(start));
  }
}

/**
 * Exponential moving average, corrected at its beginning, where it would lean towards 0.
 * @param weight of what came before, 0 to 1
 */
function smoothed(values: readonly Cell[], weight: number): Cell[] {
  let mean = 0;
  let left = 1;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    left *= weight;
    return left < 1 ? mean / (1 - left) : value;
  });
}

/** Two sets of columns over the steps of both; undefined where one has no value. */
function joined(a: ChartData, b: ChartData): ChartData {
  const steps = [...new Set([...a[0]!, ...b[0]!])].sort((x, y) => x! - y!);
  const spread = ([own, ...columns]: ChartData): (Cell | undefined)[][] => {
    const places = new Map(own!.map((step, i) => [step, i]));
    return columns.map((column) => steps.map((step) => (places.has(step) ? column[places.get(step)!] : undefined)));
  };
  return [steps, ...spread(a), ...spread(b)];
}
