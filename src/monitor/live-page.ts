/** A page in the browser that follows a training run and may hold or end it. */
import { z } from 'zod';
import {
  callback,
  checkNames,
  type Given,
  lazySchema,
  type Mismatch,
  type NoMismatch,
  parseOptions,
} from '../config.js';
import type { RgbImage } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { oneLine, printable } from '../messages/one-line.js';
import { keepSecret } from '../messages/secrets.js';
import { imageDataUri } from '../page/data-uri.js';
import { requireList, requireOneObject, requireText } from '../require-given.js';
import type { TrainingControl } from '../train/callbacks.js';
import type { TrainingEvent } from '../train/events.js';
import { guardedOutput } from '../train/guarded-output.js';
import { isLoopback, randomToken } from './live-access.js';
import { RunHistory } from './live-history.js';
import type { LivePage, LivePageOptions, LiveSample } from './live-options.js';
import { type Action, MAX_SAMPLES, type ShownSample } from './live-protocol.js';
import { LiveServer } from './live-server.js';
import { LiveStreams } from './live-streams.js';

/** Messages are sent at most this often, in milliseconds: steps of small models come by the hundred. */
const FLUSH_MS = 200;
/** A sign of life for each browser, in milliseconds; `live-stream.ts` knows after twice this that a connection is lost. */
const BEAT_MS = 10_000;
/** How often it is looked whether somebody else has paused the run, in milliseconds. */
const LOOK_MS = 1000;
/** Longest edge of a sample's image, in pixels. */
const IMAGE_EDGE = 320;
/** Characters of an answer or a prompt. */
const MAX_TEXT = 4000;

const optionsSchema = lazySchema(() =>
  z.strictObject({
    port: z.int().min(0).max(65_535).optional(),
    host: z.string().min(1).max(255).default('127.0.0.1'),
    token: z
      .union([
        z.boolean(),
        // The message does not show what came: it may be a secret with a mistake in it.
        z
          .string()
          .regex(/^[\x21-\x7e]{16,}$/, 'expected at least 16 characters of ASCII without spaces, got another text'),
      ])
      .optional(),
    allowedHosts: z
      .array(z.string().regex(/^[a-z0-9._-]+$/i, 'expected a name without scheme and port'))
      .readonly()
      .default([]),
    controls: z.boolean().default(true),
    title: z.string().min(1).max(200).optional(),
    keepOpen: z.boolean().default(false),
    onOpen: callback<string>().optional(),
  }),
);
type _Input = NoMismatch<Mismatch<Given<z.input<ReturnType<typeof optionsSchema>>>, Given<LivePageOptions>>>;

/**
 * A page that shows a run in the browser: curves, progress, evaluations, answers, warnings and memory, with buttons to
 * pause, resume and stop it. It is opened when the run begins, and its address printed; it is served from this process,
 * loads nothing from anywhere else, and is open to this machine alone unless `host` says otherwise. The run never waits for
 * a browser: one that is slow misses messages and then gets a thinned history.
 * @param options by name
 * @throws ConfigError for bad options; when it opens, if it cannot listen there, which ends a run that has just begun
 * @example
 * ```ts
 * const page = livePage();
 * await new SftTrainer({ model, trainDataset, collator, callbacks: [page] }).train();
 * ```
 */
export function livePage(options: LivePageOptions = {}): LivePage {
  // biome-ignore lint/complexity/noArguments: the declared parameters stay those that may be given
  requireOneObject(arguments.length, 'livePage', 'livePage({ port, title })');
  return new RunPage(parseOptions(optionsSchema, options, 'livePage'));
}

class RunPage implements LivePage {
  readonly name = 'livePage';
  readonly isMainOnly = true;
  readonly #options: z.output<ReturnType<typeof optionsSchema>>;
  readonly #token: string | undefined;
  readonly #history = new RunHistory();
  readonly #streams = new LiveStreams({ flush: () => this.#flush(), snapshot: () => this.#history.snapshot() });
  readonly #images = new Map<number, string>();
  #samples = 0;
  /** Settles when all samples so far have their images. */
  #samplesShown: Promise<unknown> = Promise.resolve();
  #control: TrainingControl | undefined;
  #server: Promise<LiveServer> | undefined;
  #address: string | undefined;
  #flushTimer: NodeJS.Timeout | undefined;
  #timers: readonly NodeJS.Timeout[] = [];
  #isStopped = false;
  /** Runs that it did not take, and whose end it will hear of all the same. */
  #refused = 0;

  constructor(options: z.output<ReturnType<typeof optionsSchema>>) {
    const isLocal = options.host === 'localhost' || isLoopback(options.host);
    const { token = !isLocal } = options;
    if (token === false && !isLocal) {
      throw new ConfigError(`livePage: \`token: false\` with \`host\` ${JSON.stringify(options.host)}`, {
        hint: 'Whoever reaches the address could stop the run. Leave `token` out for a random one.',
      });
    }
    this.#options = options;
    this.#token = token === true ? randomToken() : token || undefined;
    if (this.#token !== undefined) keepSecret(this.#token);
  }

  get address(): string | undefined {
    return this.#address;
  }

  async open(): Promise<string> {
    this.#server ??= this.#listen();
    return (await this.#server).address;
  }

  async onStart(event: Extract<TrainingEvent, { type: 'start' }>, control: TrainingControl): Promise<void> {
    if (this.#control) {
      this.#refused++;
      throw new ConfigError('livePage: this page follows another run already', { hint: 'Make one page for each run.' });
    }
    this.#control = control;
    this.#isStopped = false;
    this.#heedSignals(false);
    this.#history.begin(event, { title: this.#options.title, controls: this.#options.controls });
    await this.open();
    (await this.#server)?.hold(true);
    this.#flush();
  }

  onEvent(event: TrainingEvent): void {
    this.#history.add(event);
    this.#flushSoon();
  }

  async onClose(error?: unknown): Promise<void> {
    if (this.#refused > 0) {
      this.#refused--;
      return;
    }
    this.#control = undefined;
    await this.#samplesShown;
    this.#history.finish(error);
    this.#flush();
    if (!this.#options.keepOpen || !this.#server) return this.close();
    this.#heedSignals(true);
  }

  showSamples(samples: readonly LiveSample[]): void {
    requireList(samples, 'showSamples: `samples`', 'samples');
    for (const sample of samples) checkSample(sample);
    // Those beyond would be dropped at once.
    const shown = samples.slice(-MAX_SAMPLES);
    // A sample without its image is better than none.
    const images = shown.map(({ image }) => image && imageDataUri(image, IMAGE_EDGE).catch(() => undefined));
    this.#samplesShown = Promise.all([this.#samplesShown, ...images]).then(([, ...uris]) => {
      for (const [i, sample] of shown.entries()) this.#showSample(sample, uris[i]);
      this.#flushSoon();
    });
  }

  async close(): Promise<void> {
    this.#heedSignals(false);
    const opening = this.#server;
    this.#server = undefined;
    if (!opening) return;
    const server = await opening.catch(() => undefined);
    this.#address = undefined;
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
    this.#flush();
    await server?.close();
  }

  readonly #onSignal = (): void => void this.close();

  #heedSignals(heeds: boolean): void {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.off(signal, this.#onSignal);
      if (heeds) process.on(signal, this.#onSignal);
    }
  }

  async #listen(): Promise<LiveServer> {
    const { port, host, allowedHosts, onOpen } = this.#options;
    let server: LiveServer | undefined;
    try {
      server = await LiveServer.listen({
        ...{ port, host, allowedHosts, token: this.#token, streams: this.#streams },
        image: (index) => this.#images.get(index),
        act: (action) => this.#act(action),
      });
      server.hold(false);
      if (onOpen) onOpen(server.address);
      else guardedOutput(process.stderr).write(`live page: ${server.address}\n`);
    } catch (error) {
      // It may be tried again.
      this.#server = undefined;
      await server?.close();
      throw error;
    }
    this.#timers = [
      setInterval(() => this.#streams.beat(), BEAT_MS).unref(),
      setInterval(() => this.#look(), LOOK_MS).unref(),
    ];
    this.#address = server.address;
    return server;
  }

  #act(action: Action): string | undefined {
    const control = this.#control;
    if (!this.#options.controls) return 'This page may only watch the run.';
    if (!control) return this.#history.state === 'waiting' ? 'The run has not begun.' : 'The run is over.';
    if (this.#isStopped) return 'The run is being stopped.';
    if (action === 'pause') control.pause();
    else if (action === 'resume') control.resume();
    else {
      this.#isStopped = true;
      control.stop('its button');
      this.#history.setStopping();
    }
    this.#look();
    this.#flush();
    return undefined;
  }

  /** Others may pause and resume the run as well. */
  #look(): void {
    if (this.#control) this.#history.setPaused(this.#control.isPaused);
    this.#flushSoon();
  }

  #showSample(sample: LiveSample, image: string | undefined): void {
    const index = ++this.#samples;
    if (image !== undefined) this.#images.set(index, image);
    // Pages that have not heard of it yet still ask for older ones.
    this.#images.delete(index - 2 * MAX_SAMPLES);
    const { id, answer, expected, correct, prompt } = sample;
    const shown: Omit<ShownSample, 'step'> = {
      ...{ index, id: oneLine(id), answer: shortened(answer), correct },
      expected: expected === undefined ? undefined : shortened(expected),
      prompt: prompt === undefined ? undefined : shortened(prompt),
      image: sample.image && image !== undefined ? shownSize(sample.image) : undefined,
    };
    this.#history.addSample(shown);
  }

  #flushSoon(): void {
    this.#flushTimer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
  }

  #flush(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    const message = this.#history.take();
    if (message) this.#streams.publish(message);
  }
}

function checkSample(sample: LiveSample): void {
  const names = { id: true, answer: true, expected: false, correct: false, prompt: false, image: false };
  checkNames(sample, names, 'showSamples');
  for (const name of ['id', 'answer', 'expected', 'prompt'] as const) {
    if (sample[name] !== undefined) requireText(sample[name], `showSamples: \`${name}\``);
  }
  const image: Partial<RgbImage> = sample.image ?? {};
  if (sample.image !== undefined && image.data?.length !== image.width! * image.height! * 3) {
    throw new DataError(`showSamples: the image of ${oneLine(sample.id)} is no RGB image`, {
      hint: 'An image has `width`, `height`, and `data` of width * height * 3 bytes, as decodeImage gives it.',
    });
  }
}

function shortened(text: string): string {
  return printable(text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);
}

function shownSize({ width, height }: RgbImage): { readonly width: number; readonly height: number } {
  const scale = Math.min(1, IMAGE_EDGE / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
