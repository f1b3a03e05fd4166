/** The parts of the page that are text: progress, values, answers, evaluations, messages, configuration. */
import {
  addBounded,
  type LiveSnapshot,
  type LiveUpdate,
  LOG,
  MAX_NOTES,
  MAX_SAMPLES,
  type Note,
  type RunFacts,
  type RunStatus,
  type ShownSample,
  STEP,
} from '../live-protocol.js';
import type { Curves } from './curves.js';
import { byId, make, setText } from './dom.js';
import { formatCount, formatDuration, formatMemory, formatNumber, formatPercent, NO_VALUE } from './format.js';

/** Rows of the table of evaluations. */
const SHOWN_EVALUATIONS = 50;

export class Sections {
  readonly #curves: Curves;
  readonly #image: (index: number) => Promise<string | undefined>;
  readonly #notes: Note[] = [];
  readonly #samples: ShownSample[] = [];
  /** Cards by index: an image is asked for once. */
  readonly #cards = new Map<number, HTMLElement>();
  #facts: RunFacts | null = null;

  constructor(curves: Curves, image: (index: number) => Promise<string | undefined>) {
    this.#curves = curves;
    this.#image = image;
  }

  load(snapshot: LiveSnapshot): void {
    this.#facts = snapshot.facts;
    this.#notes.splice(0, this.#notes.length, ...snapshot.notes);
    this.#samples.splice(0, this.#samples.length, ...snapshot.samples);
    this.#showFacts();
    this.#showSamples();
    this.#showNotes();
    this.#showEvaluations();
  }

  add(update: LiveUpdate): void {
    if (update.notes) {
      addBounded(this.#notes, update.notes, MAX_NOTES);
      this.#showNotes();
    }
    if (update.samples) {
      addBounded(this.#samples, update.samples, MAX_SAMPLES);
      this.#showSamples();
    }
    if (update.evaluations) this.#showEvaluations();
  }

  showStatus(status: RunStatus): void {
    const total = this.#facts?.totalSteps ?? 0;
    const share = total > 0 ? status.step / total : 0;
    const progress = byId<HTMLProgressElement>('progress');
    progress.max = Math.max(1, total);
    progress.value = status.step;
    const left = status.secondsLeft === null ? '' : `about ${formatDuration(status.secondsLeft)} left`;
    const parts = [`${(100 * share).toFixed(0)} %`, left, `${formatDuration(status.seconds)} of training`];
    setText(byId('progress-text'), this.#facts ? parts.filter((part) => part !== '').join(' · ') : '');
    const title = this.#facts?.title ?? 'Training run';
    const short = ['running', 'paused'].includes(status.state) ? `${(100 * share).toFixed(0)} %` : status.state;
    document.title = [this.#facts ? short : '', status.state === 'paused' ? 'paused' : left, title]
      .filter((part) => part !== '')
      .join(' – ');
    const { steps, logs, evaluations } = this.#curves;
    const [row, log] = [steps.rows.at(-1), logs.rows.at(-1)];
    const values: Record<string, string> = {
      step: this.#facts ? `${formatCount(status.step)} of ${formatCount(total)}` : NO_VALUE,
      epoch: this.#facts ? status.epoch.toFixed(2) : NO_VALUE,
      loss: formatNumber(this.#curves.smoothedLoss),
      'eval-loss': formatNumber(evaluations.at(-1)?.evalLoss),
      'learning-rate': formatNumber(row?.[STEP.learningRate]),
      throughput: log ? `${formatNumber(log[LOG.tokensPerSecond])} tokens/s` : NO_VALUE,
      memory: log ? `${formatMemory(log[LOG.memoryBytes])} (peak ${formatMemory(log[LOG.peakMemoryBytes])})` : NO_VALUE,
      waiting: formatPercent(log?.[LOG.dataWaitShare]),
    };
    for (const [name, text] of Object.entries(values)) setText(byId(`value-${name}`), text);
  }

  #showFacts(): void {
    const facts = this.#facts;
    setText(byId('title'), facts?.title ?? 'Training run');
    const about = facts
      ? `${formatCount(facts.samples)} samples, ${formatCount(facts.trainableParameters)} trainable parameters`
      : '';
    setText(byId('about'), about);
    const rows = (facts?.config ?? []).map(([name, value]) =>
      make('tr', {}, make('th', { scope: 'row' }, name), make('td', {}, value)),
    );
    byId('config').replaceChildren(...rows);
  }

  #showSamples(): void {
    byId('samples-section').hidden = this.#samples.length === 0;
    const known = new Set(this.#samples.map(({ index }) => index));
    for (const index of this.#cards.keys()) if (!known.has(index)) this.#cards.delete(index);
    const cards = this.#samples.map((sample) => {
      const card = this.#cards.get(sample.index) ?? this.#card(sample);
      this.#cards.set(sample.index, card);
      return card;
    });
    byId('samples').replaceChildren(...cards.reverse());
  }

  #card(sample: ShownSample): HTMLElement {
    const verdict = sample.correct === undefined ? '' : sample.correct ? 'right' : 'wrong';
    const lines = [
      ['Asked', sample.prompt],
      ['Expected', sample.expected],
      ['Answered', sample.answer],
    ].flatMap(([name, text]) => (text === undefined ? [] : [make('dt', {}, name!), make('dd', {}, text)]));
    // The end of a path says which file it is.
    const name = sample.id.slice(Math.max(sample.id.lastIndexOf('/'), sample.id.lastIndexOf('\\')) + 1) || sample.id;
    const head = make('h3', { title: sample.id }, name);
    if (verdict)
      head.append(
        ' ',
        make('span', { class: sample.correct ? 'good' : 'bad' }, `${sample.correct ? '✓' : '✗'} ${verdict}`),
      );
    const card = make(
      'li',
      { class: 'card' },
      head,
      make('p', { class: 'quiet' }, `at step ${formatCount(sample.step)}`),
    );
    if (sample.image) {
      const { width, height } = sample.image;
      const image = make('img', { alt: `Image of ${sample.id}`, width: String(width), height: String(height) });
      card.append(image);
      void this.#image(sample.index).then((uri) => {
        if (uri === undefined) image.replaceWith(make('p', { class: 'quiet' }, 'The image is no longer kept.'));
        else image.src = uri;
      });
    }
    card.append(make('dl', {}, ...lines));
    return card;
  }

  #showNotes(): void {
    byId('notes-section').hidden = this.#notes.length === 0;
    const items = this.#notes.map(({ kind, step, text, time }) => {
      const when = new Date(time);
      const clock = make('time', { datetime: when.toISOString(), class: 'quiet' }, when.toLocaleTimeString('en-GB'));
      const label = kind === 'warning' ? [make('strong', { class: 'warn' }, 'Warning'), ' '] : [];
      const body = make('span', { class: 'note-text' }, text);
      return make('li', {}, clock, ` step ${formatCount(step)}: `, ...label, body);
    });
    byId('notes').replaceChildren(...items.reverse());
  }

  #showEvaluations(): void {
    const { evaluations } = this.#curves;
    byId('evaluations-section').hidden = evaluations.length === 0;
    const names = [...new Set(evaluations.flatMap(({ metrics }) => Object.keys(metrics)))];
    const head = ['Step', 'Epoch', 'Loss', ...names].map((name) => make('th', { scope: 'col', class: 'number' }, name));
    const rows = evaluations
      .slice(-SHOWN_EVALUATIONS)
      .reverse()
      .map(({ step, epoch, evalLoss, metrics }) => {
        const values = [epoch.toFixed(2), ...[evalLoss, ...names.map((name) => metrics[name])].map(formatNumber)];
        const cells = values.map((value) => make('td', { class: 'number' }, value));
        return make('tr', {}, make('th', { scope: 'row', class: 'number' }, formatCount(step)), ...cells);
      });
    const hidden = evaluations.at(-1)?.moreMetrics ?? 0;
    const notes = [
      ...(hidden > 0 ? [`${hidden} more metrics are not shown.`] : []),
      ...(evaluations.length > SHOWN_EVALUATIONS ? [`The newest ${SHOWN_EVALUATIONS} evaluations.`] : []),
    ];
    setText(byId('evaluations-note'), notes.join(' '));
    byId('evaluations').replaceChildren(make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...rows));
  }
}
