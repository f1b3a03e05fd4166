/** The tokenizer: byte-level BPE over UTF-8, with control tokens kept strictly apart from text. */
import { Tokenizer as BpeTokenizer } from '@huggingface/tokenizers';
import { withinTime } from '../async/time-limit.js';
import { checkNames, requirePath } from '../config.js';
import { ConfigError, TextError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { requireText } from '../require-given.js';
import { tokenBytes } from './byte-alphabet.js';
import { tokenizerDigest } from './tokenizer-digest.js';
import { type AddedToken, configuredToken, parseTokenizerJson, readJsonFile } from './tokenizer-files.js';

/** For a text of any length, and what it may take on top: a tenth of the usual speed. */
const MAX_MILLISECONDS = 700;
const CHARACTERS_A_MILLISECOND = 20;

/** Options of `MinistralTokenizer.encode`. */
export interface EncodeOptions {
  /**
   * Add what the file's post-processor adds, usually `<s>` in front; chat templates emit it themselves. Default: false.
   */
  readonly addSpecialTokens?: boolean;
  /**
   * Turn the names of control tokens inside the text (`[INST]`, `</s>`) into control tokens; else they are ordinary
   * characters, so that no text of a user or a file can pose as markup. Default: false.
   */
  readonly parseSpecialTokens?: boolean;
}

/** Options of `MinistralTokenizer.decode` and `streamingDecoder`. */
export interface DecodeOptions {
  /** Leave out every token that the file marks as special. Default: false. */
  readonly skipSpecialTokens?: boolean;
}

const ENCODE_OPTIONS = { addSpecialTokens: false, parseSpecialTokens: false } as const;
const DECODE_OPTIONS = { skipSpecialTokens: false } as const;
const ONE_TEXT =
  'Several texts: texts.map((text) => tokenizer.encode(text)); conversations: chatTemplate.render(messages).';

/** Tokens of a text, with the UTF-8 byte offset at which each one ends. */
export interface EncodedText {
  /** [T] */
  readonly ids: number[];
  /** [T], rising; the last is the length of the text in bytes. */
  readonly byteEnds: number[];
}

/** A piece of a text that was cut at its control tokens. */
export type TextOrControl =
  | {
      /** What stands between two control tokens; never empty. */
      readonly text: string;
      /** Absent: this piece is text. */
      readonly id?: undefined;
    }
  | {
      /** Of the control token. */
      readonly id: number;
    };

/** Turns ids into text one by one, holding back bytes until their character is complete. */
export interface StreamingDecoder {
  /** The text that this id completes; empty within a character, and for an id that `decode` leaves out. */
  push(id: number): string;
  /** What is left; an unfinished character becomes U+FFFD. */
  end(): string;
}

/**
 * Encodes and decodes text as the Hub's `tokenizer.json` describes it; equal to Hugging Face `tokenizers`, with
 * `split_special_tokens=True` unless `parseSpecialTokens` is set.
 */
export class MinistralTokenizer {
  /** In front of every conversation. */
  readonly bosTokenId: number;
  /** Closes an answer. */
  readonly eosTokenId: number;
  /** Falls back to the id of EOS. */
  readonly padTokenId: number;
  /** `[IMG]`, one for each cell of an image; undefined in a tokenizer for text only, as are the next two. */
  readonly imageTokenId: number | undefined;
  /** `[IMG_BREAK]`, at the end of each row of cells but the last. */
  readonly imageBreakTokenId: number | undefined;
  /** `[IMG_END]`, at the end of the last row. */
  readonly imageEndTokenId: number | undefined;
  /** The text of `bosTokenId`. */
  readonly bosToken: string;
  /** The text of `eosTokenId`. */
  readonly eosToken: string;
  /** The largest id plus one. */
  readonly vocabSize: number;
  /** Ids of all control tokens. */
  readonly specialTokenIds: ReadonlySet<number>;

  readonly #bpe: BpeTokenizer;
  readonly #hasKnownPatterns: boolean;
  readonly #ids: Map<string, number>;
  readonly #tokens: string[] = [];
  readonly #plainAdded: TokenMatcher;
  readonly #allAdded: TokenMatcher;
  readonly #prefix: readonly number[];
  readonly #suffix: readonly number[];
  /** Made when it is first asked for: it takes a tenth of a second. */
  #digest: string | (() => string);

  /**
   * @param tokenizerJson the parsed `tokenizer.json`
   * @param tokenizerConfig the parsed `tokenizer_config.json`; names the BOS, EOS and padding tokens. The defaults are
   *   `<s>`, `</s>` and `<pad>`
   * @param processorConfig the parsed `processor_config.json`; names the image tokens
   * @throws TextError if the tokenizer is not a byte-level BPE, or a named token is not in it
   */
  constructor(tokenizerJson: unknown, tokenizerConfig: unknown = {}, processorConfig: unknown = {}) {
    for (const [name, config] of Object.entries({ tokenizerConfig, processorConfig })) {
      if (isObject(config)) continue;
      throw new TextError(
        `MinistralTokenizer: \`${name}\`: expected the parsed JSON of a file, got ${describeGiven(config)}`,
      );
    }
    const spec = parseTokenizerJson(tokenizerJson);
    // The library only sees ordinary text: no added tokens, no post-processor, and a vocabulary without control tokens.
    try {
      this.#bpe = new BpeTokenizer(
        {
          model: spec.model,
          pre_tokenizer: spec.preTokenizer,
          normalizer: null,
          post_processor: null,
          decoder: null,
          added_tokens: [],
        },
        {},
      );
    } catch (cause) {
      throw new TextError(`tokenizer.json: no tokenizer can be made of it: ${(cause as Error).message}`, {
        hint: 'the regular expressions of its pre_tokenizer may be damaged; download the file again',
        cause,
      });
    }
    this.#hasKnownPatterns = spec.hasKnownPatterns;
    this.#ids = new Map(Object.entries(spec.vocab));
    for (const { content, id } of spec.addedTokens) this.#ids.set(content, id);
    for (const [token, id] of this.#ids) this.#tokens[id] = token;
    this.vocabSize = this.#tokens.length;
    this.specialTokenIds = new Set(spec.addedTokens.filter((token) => token.special).map((token) => token.id));
    this.#plainAdded = new TokenMatcher(spec.addedTokens.filter((token) => !token.special));
    this.#allAdded = new TokenMatcher(spec.addedTokens);

    this.bosToken = configuredToken(tokenizerConfig, 'bos_token') ?? '<s>';
    this.eosToken = configuredToken(tokenizerConfig, 'eos_token') ?? '</s>';
    this.bosTokenId = this.#requireId(this.bosToken, 'bos_token');
    this.eosTokenId = this.#requireId(this.eosToken, 'eos_token');
    const pad = configuredToken(tokenizerConfig, 'pad_token');
    this.padTokenId = pad ? this.#requireId(pad, 'pad_token') : (this.#ids.get('<pad>') ?? this.eosTokenId);
    const imageToken = (name: string, fallback: string): number | undefined => {
      const given = configuredToken(processorConfig, name);
      return given ? this.#requireId(given, name) : this.#ids.get(fallback);
    };
    this.imageTokenId = imageToken('image_token', '[IMG]');
    this.imageBreakTokenId = imageToken('image_break_token', '[IMG_BREAK]');
    this.imageEndTokenId = imageToken('image_end_token', '[IMG_END]');

    // transformers rebuilds the post-processor when the configuration speaks of BOS or EOS.
    const config = tokenizerConfig as Record<string, unknown>;
    const explicit = config.add_bos_token !== undefined || config.add_eos_token !== undefined;
    const prefix = explicit ? (config.add_bos_token ? [this.bosToken] : []) : spec.prefix;
    const suffix = explicit ? (config.add_eos_token ? [this.eosToken] : []) : spec.suffix;
    this.#prefix = prefix.map((token) => this.#requireId(token, 'post_processor'));
    this.#suffix = suffix.map((token) => this.#requireId(token, 'post_processor'));
    const { bosTokenId, eosTokenId, padTokenId, imageTokenId, imageBreakTokenId, imageEndTokenId } = this;
    const named = [bosTokenId, eosTokenId, padTokenId, imageTokenId, imageBreakTokenId, imageEndTokenId];
    const added = spec.addedTokens.map(({ content, id, special }) => [id, content, special] as const);
    added.sort(([a], [b]) => a - b);
    this.#digest = () => tokenizerDigest(this.#tokens, spec.model, [spec.preTokenizer, added, named]);
  }

  /** Differs from that of any tokenizer that may give other ids. Not of the file's own writing: 16 hexadecimal digits. */
  get digest(): string {
    if (typeof this.#digest !== 'string') this.#digest = this.#digest();
    return this.#digest;
  }

  /**
   * Reads `tokenizer.json` and, where they exist, `tokenizer_config.json` and `processor_config.json`.
   * @throws TextError if a file is missing, broken, or describes another kind of tokenizer
   */
  static async fromFolder(dir: string): Promise<MinistralTokenizer> {
    requirePath(dir, 'MinistralTokenizer.fromFolder');
    const [json, config, processor] = await Promise.all([
      readJsonFile(dir, 'tokenizer.json'),
      readJsonFile(dir, 'tokenizer_config.json'),
      readJsonFile(dir, 'processor_config.json'),
    ]);
    if (json === undefined) {
      throw new TextError(`no tokenizer.json in ${dir}`, {
        hint:
          'tekken.json alone is not enough: take tokenizer.json and tokenizer_config.json from a repository of the same ' +
          'model that has them; those of mistralai/Mistral-Small-3.1-24B-Instruct-2503 fit Mistral Small 3.2 as well ' +
          '(fromPretrained: `processor`)',
        details: { path: dir },
      });
    }
    return new MinistralTokenizer(json, config ?? {}, processor ?? {});
  }

  /** The ids of a text. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    requireText(text, 'tokenizer.encode: `text`', ONE_TEXT);
    checkNames(options, ENCODE_OPTIONS, 'tokenizer.encode');
    const { addSpecialTokens = false, parseSpecialTokens = false } = options;
    const pieces: TextOrControl[] = parseSpecialTokens ? this.splitControlTokens(text) : [{ text }];
    const ids = pieces.flatMap((piece) => (piece.id === undefined ? this.encodeText(piece.text).ids : piece.id));
    return addSpecialTokens ? [...this.#prefix, ...ids, ...this.#suffix] : ids;
  }

  /** The ids of a text in which nothing is a control token, and where each token ends. */
  encodeText(text: string): EncodedText {
    requireText(text, 'tokenizer.encodeText: `text`', ONE_TEXT);
    const ids: number[] = [];
    const byteEnds: number[] = [];
    let end = 0;
    for (const piece of this.#plainAdded.split(text)) {
      if (piece.id !== undefined) {
        ids.push(piece.id);
        end += Buffer.byteLength(this.#tokens[piece.id]!);
        byteEnds.push(end);
        continue;
      }
      for (const token of this.#tokenize(piece.text)) {
        ids.push(this.#ids.get(token)!);
        // One character of the byte alphabet is one byte.
        end += token.length;
        byteEnds.push(end);
      }
    }
    if (end !== Buffer.byteLength(text)) {
      throw new TextError(`the tokenizer covers ${end} of the ${Buffer.byteLength(text)} bytes of a text`, {
        hint: 'its merges yield tokens that its vocabulary lacks: the tokenizer.json is damaged',
        details: { text: text.slice(0, 200) },
      });
    }
    return { ids, byteEnds };
  }

  /** Cuts a trusted text, such as a template's own, at the names of its control tokens (leftmost, then longest). */
  splitControlTokens(text: string): TextOrControl[] {
    requireText(text, 'tokenizer.splitControlTokens: `text`');
    return this.#allAdded.split(text);
  }

  /**
   * The text of a list of ids. Bytes that are no UTF-8 become U+FFFD; ids outside the vocabulary are left out, as in
   * Hugging Face `tokenizers`.
   */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    checkIds(ids);
    const decoder = this.streamingDecoder(options);
    let text = '';
    for (let i = 0; i < ids.length; i++) text += decoder.push(ids[i]!);
    return text + decoder.end();
  }

  /** A decoder for ids as they are generated; what it yields, joined, equals `decode` of all of them. */
  streamingDecoder(options: DecodeOptions = {}): StreamingDecoder {
    checkNames(options, DECODE_OPTIONS, 'tokenizer.streamingDecoder');
    const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
    return {
      push: (id) => {
        const token = this.#tokens[id];
        if (token === undefined || (options.skipSpecialTokens && this.specialTokenIds.has(id))) return '';
        return utf8.decode(tokenBytes(token) ?? Buffer.from(token), { stream: true });
      },
      end: () => utf8.decode(),
    };
  }

  /** The id of a vocabulary entry or control token; byte-level entries are written in the GPT-2 byte alphabet. */
  tokenToId(token: string): number | undefined {
    return this.#ids.get(token);
  }

  /** The inverse of `tokenToId`, in the same writing; undefined for an id that no token has. */
  idToToken(id: number): string | undefined {
    return this.#tokens[id];
  }

  /**
   * A regex of a file may take exponential time on a text that it was made for. The published ones do not; another one
   * runs before a watchdog.
   */
  #tokenize(text: string): string[] {
    if (this.#hasKnownPatterns) return this.#bpe.tokenize(text);
    const tooLong = (): TextError =>
      new TextError('splitting a text by the regular expressions of tokenizer.json takes too long', {
        hint: 'they are not those of the Ministral family, and backtrack without end; use the original tokenizer.json',
        details: { text: text.slice(0, 200) },
      });
    try {
      const limit = MAX_MILLISECONDS + Math.ceil(text.length / CHARACTERS_A_MILLISECOND);
      return withinTime(limit, () => this.#bpe.tokenize(text), tooLong);
    } catch (cause) {
      if (cause instanceof TextError) throw cause;
      throw new TextError(`tokenizer.json cannot split a text: ${(cause as Error).message}`, { cause });
    }
  }

  #requireId(token: string, role: string): number {
    const id = this.#ids.get(token);
    if (id === undefined) {
      throw new TextError(`${role}: "${token}" is not a token of this tokenizer`, {
        hint: 'tokenizer.json and tokenizer_config.json (or processor_config.json) must come from the same model',
        details: { role, token },
      });
    }
    return id;
  }
}

/** A character of tokens: those that go on from here, and the id of one that ends here. */
interface TokenNode {
  readonly next: Map<number, TokenNode>;
  id?: number;
}

/** Finds whole tokens in a text: the leftmost, and of those that start there the longest. */
class TokenMatcher {
  readonly #root: TokenNode = { next: new Map() };

  constructor(tokens: readonly AddedToken[]) {
    for (const { content, id } of tokens) {
      let node = this.#root;
      for (let i = 0; i < content.length; i++) {
        const code = content.charCodeAt(i);
        const next = node.next.get(code) ?? { next: new Map() };
        node.next.set(code, next);
        node = next;
      }
      node.id = id;
    }
  }

  split(text: string): TextOrControl[] {
    const pieces: TextOrControl[] = [];
    let start = 0;
    for (let i = 0; i < text.length && this.#root.next.size > 0; ) {
      const { id, end } = this.#longestAt(text, i);
      if (id === undefined) {
        i++;
        continue;
      }
      if (i > start) pieces.push({ text: text.slice(start, i) });
      pieces.push({ id });
      start = i = end;
    }
    if (start < text.length) pieces.push({ text: text.slice(start) });
    return pieces;
  }

  #longestAt(text: string, start: number): { id: number | undefined; end: number } {
    let found: { id: number | undefined; end: number } = { id: undefined, end: start };
    let node = this.#root.next.get(text.charCodeAt(start));
    for (let i = start + 1; node; node = node.next.get(text.charCodeAt(i++))) {
      if (node.id !== undefined) found = { id: node.id, end: i };
    }
    return found;
  }
}

/** @throws ConfigError for what is no list of ids; numbers that are no token are left out later */
function checkIds(ids: unknown): void {
  const isList = Array.isArray(ids) || (ArrayBuffer.isView(ids) && !(ids instanceof DataView));
  const list = isList ? (ids as ArrayLike<unknown>) : [];
  let wrong = 0;
  while (wrong < list.length && typeof list[wrong] === 'number') wrong++;
  if (isList && wrong === list.length) return;
  const came = isList ? `${describeGiven(list[wrong])} at position ${wrong}` : describeGiven(ids);
  throw new ConfigError(`tokenizer.decode: \`ids\`: expected a list of token ids, got ${came}`, {
    hint: isList ? 'Several lists: lists.map((ids) => tokenizer.decode(ids)).' : 'Write decode([id]) for one.',
  });
}
