/** Chat templates: rendering as `apply_chat_template` does, and the same text in pieces that know where they are from. */
import { requirePath } from '../config.js';
import { TextError } from '../errors.js';
import { showValue } from '../show-value.js';
import { BoundedTemplate } from './bounded-jinja.js';
import { checkMessage } from './sft-messages.js';
import { configuredToken, readJsonFile, readTextFile } from './tokenizer-files.js';
import type { Message } from './types.js';

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

/** Names of tokens for a `ChatTemplate`; the collator wants them equal to the tokenizer's. */
export interface ChatTemplateOptions {
  /** What `bos_token` stands for in the template. Default `<s>`. */
  readonly bosToken?: string;
  /** What `eos_token` stands for in the template. Default `</s>`. */
  readonly eosToken?: string;
}

/** Options of `ChatTemplate.render` and `segments`. */
export interface RenderOptions {
  /** Stop where the model is to answer. Default false. Some templates ignore it. */
  readonly addGenerationPrompt?: boolean;
}

/** A stretch of the rendered conversation. Joined, the texts of all segments are what `render` gives. */
export interface TemplateSegment {
  /** As rendered; never empty. */
  readonly text: string;
  /** True for what the template wrote: only there may names of control tokens be control tokens. */
  readonly fromTemplate: boolean;
  /** The message that the text is from; absent in the template's own text. */
  readonly messageIndex?: number;
  /** Of that message; absent in the template's own text. */
  readonly role?: Message['role'];
  /** True for text of an assistant message: what the model learns to say. */
  readonly isAssistantText: boolean;
}

/**
 * A Jinja chat template with the names of BOS and EOS. It runs within bounds of time and memory, as templates are files
 * of strangers, and reaches nothing but the conversation.
 */
export class ChatTemplate {
  /** Jinja, with `\n` for every kind of line end. */
  readonly source: string;
  /** What `bos_token` stands for in the template. */
  readonly bosToken: string;
  /** What `eos_token` stands for in the template. */
  readonly eosToken: string;
  readonly #template: BoundedTemplate;

  /** @throws TextError if the source is no valid Jinja */
  constructor(source: string, options: ChatTemplateOptions = {}) {
    if (typeof source !== 'string') {
      throw new TextError(`ChatTemplate: expected the source of a Jinja template, got ${showValue(source)}`, {
        hint: 'e.g. TUTORIAL_TEMPLATE; ChatTemplate.fromFolder reads the template of a model folder.',
      });
    }
    // Jinja reads every kind of line end as one newline.
    this.source = source.replace(/\r\n?/g, '\n');
    this.bosToken = options.bosToken ?? '<s>';
    this.eosToken = options.eosToken ?? '</s>';
    try {
      this.#template = new BoundedTemplate(this.source);
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
      hint: 'base models have none: pass `new ChatTemplate(TUTORIAL_TEMPLATE)` or a template of your own',
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
   * The conversation as one string, equal to `tokenizer.apply_chat_template(messages, tokenize=False)`.
   * @throws TextError with the template's own message if it raises one
   */
  render(messages: readonly Message[], options: RenderOptions = {}): string {
    messages.forEach(checkMessage);
    try {
      return this.#template.render({
        messages: messages.map(({ role, content }) => ({ role, content: withoutImages(content) })),
        tools: null,
        documents: null,
        add_generation_prompt: options.addGenerationPrompt ?? false,
        bos_token: this.bosToken,
        eos_token: this.eosToken,
      });
    } catch (cause) {
      if (cause instanceof TextError) throw cause;
      throw new TextError(`the chat template refuses the conversation: ${(cause as Error).message}`, {
        hint: 'the message is the template’s own; check roles and their order, or give all content as lists of parts',
        details: { roles: messages.map((message) => message.role) },
        cause,
      });
    }
  }

  /**
   * The conversation in pieces: text of messages apart from text of the template.
   *
   * Every text is rendered between two private-use characters that occur nowhere else, so that no search for
   * `[/INST]` and the like is needed; without the marks the result must be the plain rendering.
   * @throws TextError if the template changes texts, leaves one out, or puts messages in another order
   */
  segments(messages: readonly Message[], options: RenderOptions = {}): TemplateSegment[] {
    const plain = this.render(messages, options);
    const marks = unusedCharacters(plain + this.source + JSON.stringify(messages.map((m) => withoutImages(m.content))));
    // Second try for templates that trim: white space at the ends of a text stays outside the marks.
    for (const keepEnds of [true, false]) {
      const marked = markTexts(messages, marks, keepEnds);
      const cut = cutAtMarks(this.render(marked.messages, options), marks, marked.texts);
      if (cut && cut.segments.map((segment) => segment.text).join('') === plain) {
        checkComplete(cut, marked.texts, messages, options);
        return cut.segments;
      }
    }
    throw new TextError('the chat template changes the texts of messages, so text and markup cannot be told apart', {
      hint: 'filters such as `upper`, `replace` or `truncate` on message content are not supported; `trim` is',
    });
  }
}

/** Content as the template sees it; the pictures themselves are none of its business. */
function withoutImages(content: Message['content']): Message['content'] {
  if (typeof content === 'string') return content;
  return content.map((part) => (part.type === 'text' ? { type: 'text', text: part.text } : { type: 'image' }));
}

interface Marks {
  readonly open: string;
  readonly middle: string;
  readonly close: string;
}

/** A text that was marked: which message it is from, and what stands between its marks. */
interface MarkedText {
  readonly messageIndex: number;
  readonly role: Message['role'];
  readonly text: string;
}

/** Three characters of the private use area (U+E000 to U+F8FF) that do not occur in the text. */
function unusedCharacters(text: string): Marks {
  const used = new Set(text);
  const free: string[] = [];
  for (let code = 0xe000; code <= 0xf8ff && free.length < 3; code++) {
    const char = String.fromCharCode(code);
    if (!used.has(char)) free.push(char);
  }
  const [open, middle, close] = free;
  if (!open || !middle || !close) {
    throw new TextError('the conversation uses every private-use character, none is left to mark its parts');
  }
  return { open, middle, close };
}

function markTexts(messages: readonly Message[], marks: Marks, keepEnds: boolean) {
  const texts: MarkedText[] = [];
  const mark = (text: string, messageIndex: number): string => {
    // Templates test for empty content, so that stays empty.
    const core = keepEnds ? text : text.trim();
    if (core === '') return text;
    const { open, middle, close } = marks;
    const start = text.indexOf(core);
    texts.push({ messageIndex, role: messages[messageIndex]!.role, text: core });
    const wrapped = `${open}${texts.length - 1}${middle}${core}${close}`;
    return text.slice(0, start) + wrapped + text.slice(start + core.length);
  };
  const marked = messages.map(({ role, content }, i): Message => {
    if (typeof content === 'string') return { role, content: mark(content, i) };
    return {
      role,
      content: content.map((part) => (part.type === 'text' ? { ...part, text: mark(part.text, i) } : part)),
    };
  });
  return { messages: marked, texts };
}

/** A marked rendering in pieces, and which of the marked texts occur in it. */
interface CutRendering {
  readonly segments: TemplateSegment[];
  readonly shown: Set<MarkedText>;
}

/** Undefined if a mark or a text between two was tampered with. */
function cutAtMarks(rendered: string, marks: Marks, texts: readonly MarkedText[]): CutRendering | undefined {
  const segments: TemplateSegment[] = [];
  const shown = new Set<MarkedText>();
  let position = 0;
  while (position < rendered.length) {
    const open = rendered.indexOf(marks.open, position);
    const end = open < 0 ? rendered.length : open;
    if (end > position) {
      segments.push({ text: rendered.slice(position, end), fromTemplate: true, isAssistantText: false });
    }
    if (open < 0) break;
    const middle = rendered.indexOf(marks.middle, open);
    const source = texts[Number(rendered.slice(open + 1, middle))];
    if (middle < 0 || !source || !rendered.startsWith(source.text + marks.close, middle + 1)) return undefined;
    shown.add(source);
    const { text, messageIndex, role } = source;
    segments.push({ text, fromTemplate: false, messageIndex, role, isAssistantText: role === 'assistant' });
    position = middle + 1 + text.length + 1;
  }
  return { segments, shown };
}

/** A template that drops or reorders what it was given would train on something else than the data says. */
function checkComplete(
  { segments, shown }: CutRendering,
  texts: readonly MarkedText[],
  messages: readonly Message[],
  options: RenderOptions,
): void {
  const lastAsked = messages.findLastIndex((message) => message.role !== 'assistant');
  for (const text of texts) {
    // With a generation prompt a template may well leave out the answer that is to be generated.
    if (shown.has(text) || (options.addGenerationPrompt && text.messageIndex > lastAsked)) continue;
    throw new TextError(`the chat template leaves out text of message ${text.messageIndex} (${text.role})`, {
      hint: 'use a template that knows this role and kind of content, or give the content as a list of parts',
      details: { ...text, text: text.text.slice(0, 200) },
    });
  }
  const order = segments.flatMap((segment) => segment.messageIndex ?? []);
  const swapped = order.findIndex((messageIndex, i) => i > 0 && messageIndex < order[i - 1]!);
  if (swapped > 0) {
    throw new TextError(`the chat template puts message ${order[swapped - 1]} before message ${order[swapped]}`, {
      hint: 'it is made for a single turn; use the template of the model for longer conversations',
      details: { order },
    });
  }
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
