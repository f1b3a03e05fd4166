/** Chat templates: rendering as `apply_chat_template` does, and the same text in pieces that know where they are from. */
import { checkNames, requirePath } from '../config.js';
import { TextError } from '../errors.js';
import { describeGiven, isKind } from '../messages/given-kind.js';
import { showValue } from '../messages/show-value.js';
import { requireText } from '../require-given.js';
import { type Arrangement, TemplateArranger } from './arrange-template.js';
import { BoundedTemplate } from './bounded-jinja.js';
import { checkMessage } from './sft-messages.js';
import { isLearned, type RenderRequest } from './template-view.js';
import { configuredToken, readJsonFile, readTextFile } from './tokenizer-files.js';
import type { Message, Tool } from './types.js';

/**
 * A short template for one question and one answer: BOS, `[INST]`, a newline, the user's parts in their order,
 * `[/INST]`; when training also the answer and EOS. It knows no system message and no second turn.
 */
export const TUTORIAL_TEMPLATE = `{{ bos_token }}[INST]
{% for turn in messages -%}
  {%- if turn.role == 'user' -%}
    {%- if turn.content is string -%}
      {{ turn.content }}
    {%- else -%}
      {%- for part in turn.content -%}
        {%- if part.type == 'image' -%} [IMG]
        {%- elif part.type == 'text' -%} {{ part.text }}
        {%- endif -%}
      {%- endfor -%}
    {%- endif -%}
  {%- endif -%}
{%- endfor -%}
[/INST]
{%- if not add_generation_prompt -%}
  {%- for turn in messages -%}
    {%- if turn.role == 'assistant' -%}
      {%- if turn.content is string -%} {{ turn.content }} {%- else -%} {{ turn.content[0].text }} {%- endif -%}
      {{ eos_token }}
    {%- endif -%}
  {%- endfor -%}
{%- endif -%}`;

/** A chat template by name: `tutorial` is {@link TUTORIAL_TEMPLATE}, short and without the model's own system prompt. */
export type ChatTemplateName = 'tutorial';

/** Names of tokens for a `ChatTemplate`; the collator wants them equal to the tokenizer's. */
export interface ChatTemplateOptions {
  /** What `bos_token` stands for in the template. Default: `<s>`. */
  readonly bosToken?: string;
  /** What `eos_token` stands for in the template. Default: `</s>`. */
  readonly eosToken?: string;
}

/** Options of `ChatTemplate.render` and `segments`. */
export interface RenderOptions {
  /** Stop where the model is to answer; some templates ignore it. Default: false. */
  readonly addGenerationPrompt?: boolean;
  /** Stop right after the text of the last message, an assistant's: its answer is to be continued. Default: false. */
  readonly continueFinalMessage?: boolean;
  /** Tools that the assistant may call. Default: none. */
  readonly tools?: readonly Tool[] | undefined;
}

/** A stretch of the rendered conversation. Joined, the texts of all segments are what `render` gives. */
export interface TemplateSegment {
  /** As rendered; never empty. */
  readonly text: string;
  /** True for what the template wrote: only there may names of control tokens be control tokens. */
  readonly fromTemplate: boolean;
  /** The message that the text is from; absent in the template's own text and in definitions of tools. */
  readonly messageIndex?: number;
  /** Of that message; absent where `messageIndex` is. */
  readonly role?: Message['role'];
  /** True for text of an assistant message: its answer, its thoughts, its calls of tools. */
  readonly isAssistantText: boolean;
  /**
   * What the model learns to say: by `{% generation %}` where the template has it; else text of an assistant message
   * and what the template writes to open its calls and thoughts and between its texts. Not in a turn with `weight: 0`.
   * The token that closes an answer is not decided here, unless by `{% generation %}`.
   */
  readonly isLearned: boolean;
  /** The assistant's message that its text is from, or that made the template write it. */
  readonly answerIndex?: number;
  /** Present on what belongs to a call of a tool. */
  readonly isCall?: true;
}

/**
 * A Jinja chat template with the names of BOS and EOS. It runs within bounds of time and memory, as templates are
 * untrusted files, and reaches nothing but the conversation.
 * @example
 * ```ts
 * const chatTemplate = new ChatTemplate(TUTORIAL_TEMPLATE, tokenizer);
 * const own = await ChatTemplate.fromFolder('models/ministral-3b'); // chat_template.jinja of a folder
 * ```
 */
export class ChatTemplate {
  /** Jinja, with `\n` for every kind of line end. */
  readonly source: string;
  /** What `bos_token` stands for in the template. */
  readonly bosToken: string;
  /** What `eos_token` stands for in the template. */
  readonly eosToken: string;
  /** Whether it has `{% generation %}` blocks: they say what is learned. */
  readonly marksAnswers: boolean;
  readonly #arranger: TemplateArranger;
  #answerTail: string | undefined;

  /** @throws TextError if the source is no valid Jinja */
  constructor(source: string, options: ChatTemplateOptions = {}) {
    if (typeof source !== 'string') {
      throw new TextError(`ChatTemplate: expected the source of a Jinja template, got ${showValue(source)}`, {
        hint: 'e.g. TUTORIAL_TEMPLATE; ChatTemplate.fromFolder reads the template of a model folder.',
      });
    }
    if (!/\{[{%]/.test(source)) {
      const isFile = /\.(jinja2?|json|txt)$|[/\\]/.test(source) && !source.includes('\n');
      throw new TextError(
        `ChatTemplate: expected the source of a Jinja template, got a text without {{ }} and {% %}: ${showValue(source)}`,
        {
          hint: isFile
            ? 'A path is read by ChatTemplate.fromFolder(folder).'
            : 'It would render the same text for every conversation. Give the text of a template, e.g. TUTORIAL_TEMPLATE.',
        },
      );
    }
    checkTokens(options);
    // Jinja reads every kind of line end as one newline.
    this.source = source.replace(/\r\n?/g, '\n');
    this.bosToken = options.bosToken ?? '<s>';
    this.eosToken = options.eosToken ?? '</s>';
    this.marksAnswers = /\{%[-+]?\s*generation\s*[-+]?%\}/.test(this.source);
    try {
      const template = new BoundedTemplate(this.source);
      const { bosToken: bos_token, eosToken: eos_token, source: text, marksAnswers } = this;
      this.#arranger = new TemplateArranger(template, { bos_token, eos_token }, text, marksAnswers);
    } catch (cause) {
      if (cause instanceof TextError) throw cause;
      throw new TextError(`the chat template cannot be parsed: ${(cause as Error).message}`, {
        hint: 'check its {% %} and {{ }} pairs; the template must be the one of the Hugging Face repository',
        cause,
      });
    }
  }

  /**
   * Reads the template of a model folder: `chat_template.jinja`, else `chat_template.json`, else the `chat_template`
   * of `tokenizer_config.json` (of several named ones the one called `default`).
   * @throws TextError if there is none
   */
  static async fromFolder(dir: string): Promise<ChatTemplate> {
    const template = await ChatTemplate.findInFolder(dir);
    if (template) return template;
    throw new TextError(`no chat template in ${dir}`, {
      hint: 'base models have none: give the collator `chatTemplate: "tutorial"`, or a template of your own',
      details: { path: dir },
    });
  }

  /** The same, but undefined if there is none: Base repositories have none. */
  static async findInFolder(dir: string): Promise<ChatTemplate | undefined> {
    requirePath(dir, 'ChatTemplate.fromFolder');
    const config = await readJsonFile(dir, 'tokenizer_config.json');
    const source =
      (await readTextFile(dir, 'chat_template.jinja')) ??
      templateOf(await readJsonFile(dir, 'chat_template.json')) ??
      templateOf(config);
    if (source === undefined) return undefined;
    const bosToken = configuredToken(config, 'bos_token');
    const eosToken = configuredToken(config, 'eos_token');
    return new ChatTemplate(source, { ...(bosToken && { bosToken }), ...(eosToken && { eosToken }) });
  }

  /**
   * The conversation as one string, equal to `tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)`.
   * Where the template takes strings alone, messages of text parts are given to it as strings, their texts joined
   * without anything between; where it takes lists of parts alone, strings as lists.
   * @throws TextError with the template's own message if it raises one
   */
  render(messages: readonly Message[], options: RenderOptions = {}): string {
    checkRequest(messages, options, 'chatTemplate.render');
    if (options.continueFinalMessage) {
      return this.segments(messages, options)
        .map(({ text }) => text)
        .join('');
    }
    return this.#arranger.render(requestOf(messages, options));
  }

  /**
   * The conversation in pieces: text of messages apart from text of the template.
   *
   * Every text is rendered between two private-use characters that occur nowhere else, so that no search for
   * `[/INST]` and the like is needed; without the marks the result must be the plain rendering.
   * @throws TextError if the template changes texts, leaves one out, or puts messages in another order; if the last
   *   message cannot be continued
   */
  segments(messages: readonly Message[], options: RenderOptions = {}): TemplateSegment[] {
    checkRequest(messages, options, 'chatTemplate.segments');
    const learned = messages.map(isLearned);
    const { pieces } = options.continueFinalMessage
      ? this.#arranger.continuation(requestOf(messages, options))
      : this.#arranger.arrange(requestOf(messages, options));
    return pieces.map(({ text, leaf, owner, isCall, inRange }): TemplateSegment => {
      const role = leaf?.role;
      const isOwn = owner !== undefined && messages[owner]?.role === 'assistant' && learned[owner]!;
      // A range may hold text of others too, as in transformers; what the assistant's message masks stays masked.
      const isMasked = owner !== undefined && messages[owner]?.role === 'assistant' && !learned[owner];
      return {
        text,
        fromTemplate: !leaf,
        ...(leaf?.messageIndex !== undefined && { messageIndex: leaf.messageIndex }),
        ...(role !== undefined && { role }),
        isAssistantText: role === 'assistant',
        isLearned: this.marksAnswers ? inRange && !isMasked : isOwn,
        ...(owner !== undefined && messages[owner]?.role === 'assistant' && { answerIndex: owner }),
        ...(isCall && { isCall: true as const }),
      };
    });
  }

  /**
   * How the end of a prompt (`addGenerationPrompt`) is not what stands before an answer in a conversation, in words that
   * follow on "the chat template": the model is then asked in another way than it is trained. Undefined where it is, and
   * where the template refuses the plainest question.
   */
  promptFault(): string | undefined {
    return this.#arranger.promptFault();
  }

  /** What it writes after the last answer of a conversation; empty if it refuses the plainest one. */
  answerTail(): string {
    this.#answerTail ??= tailOf((messages) => this.#arranger.arrange({ messages, addGenerationPrompt: false }));
    return this.#answerTail;
  }
}

/** The template that is meant: itself, or the one of this name with the tokens of a tokenizer. */
export function namedTemplate<T>(given: T | ChatTemplateName, tokens: ChatTemplateOptions): T | ChatTemplate {
  return given === 'tutorial' ? new ChatTemplate(TUTORIAL_TEMPLATE, tokens) : (given as T);
}

/** A tokenizer will do as well: it has both. */
function checkTokens(options: ChatTemplateOptions): void {
  if (!isKind(options, 'tokenizer')) checkNames(options, { bosToken: false, eosToken: false }, 'ChatTemplate');
  for (const name of ['bosToken', 'eosToken'] as const) {
    if (options[name] !== undefined) requireText(options[name], `ChatTemplate: \`${name}\``);
  }
}

function checkRequest(messages: readonly Message[], options: RenderOptions, what: string): void {
  if (!Array.isArray(messages)) {
    throw new TextError(`${what}: expected a list of messages, got ${describeGiven(messages)}`, {
      hint: isKind(messages, 'sample') ? 'Give its `messages`.' : "Write [{ role: 'user', content: 'What is it?' }].",
    });
  }
  checkNames(options, RENDER_OPTIONS, what);
  messages.forEach(checkMessage);
}

const RENDER_OPTIONS = { addGenerationPrompt: false, continueFinalMessage: false, tools: false } as const;

function requestOf(messages: readonly Message[], options: RenderOptions): RenderRequest {
  const { addGenerationPrompt = false, tools } = options;
  return { messages, addGenerationPrompt, ...(tools && { tools }) };
}

function tailOf(arrange: (messages: readonly Message[]) => Arrangement): string {
  const question: Message = { role: 'user', content: 'a' };
  const answer: Message = { role: 'assistant', content: 'b' };
  for (const messages of [
    [question, answer],
    [{ role: 'system', content: 'c' } as const, question, answer],
  ]) {
    try {
      const { pieces } = arrange(messages);
      const end = pieces.findLastIndex(({ leaf }) => leaf?.role === 'assistant');
      return pieces
        .slice(end + 1)
        .map(({ text }) => text)
        .join('');
    } catch (error) {
      if (!(error instanceof TextError)) throw error;
    }
  }
  return '';
}

/** The template of a configuration file: a string, or a list of { name, template }. */
function templateOf(config: unknown): string | undefined {
  const value = (config as Record<string, unknown> | null | undefined)?.chat_template;
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const named = (value as ({ name?: unknown; template?: unknown } | null)[]).filter(
    (entry) => typeof entry?.template === 'string',
  );
  return (named.find((entry) => entry?.name === 'default') ?? named[0])?.template as string | undefined;
}
