/** Renders a conversation in pieces, each with the message that it belongs to. */
import { TextError } from '../errors.js';
import {
  assignOwners,
  commonLength,
  cutAtRanges,
  gapsBefore,
  type OwnedPiece,
  openedByTemplate,
  type Ranges,
  requireOrder,
} from './assistant-spans.js';
import type { BoundedTemplate } from './bounded-jinja.js';
import { OutOfBoundsError } from './jinja/error.js';
import { cutAtMarks, isUnmarked, type Marking, type Marks, marker, type Piece, unusedMarks } from './marked-texts.js';
import { partsOf } from './sft-messages.js';
import { isAboutForm, isAboutType, leaked, refused, requireComplete, requireHarmless } from './template-faults.js';
import {
  changesLists,
  changesNothing,
  FORMS,
  type Forms,
  type Leaf,
  type Put,
  type RenderRequest,
  viewOf,
} from './template-view.js';
import type { ContentPart, Message } from './types.js';

type ArrangedPiece = OwnedPiece & { readonly inRange: boolean };

/** A rendering in pieces; joined they are what the template writes without marks. */
export interface Arrangement {
  readonly text: string;
  readonly pieces: readonly ArrangedPiece[];
}

/** What the template writes where the model is to answer, found with the plainest question. */
interface PromptEnd {
  readonly prompt: string;
  /** The white space that it writes from there to the answer. */
  readonly lead: string;
  /** How what stands before an answer in a conversation is not what a prompt ends with, in words. */
  readonly fault?: string;
}

interface Cut {
  readonly text: string;
  readonly pieces: readonly Piece[];
  readonly ranges: Ranges;
  readonly forms: Forms;
  readonly keepEnds: boolean;
}

const asIs: Put = ({ text }) => text;
const PROBE = 'x';

export class TemplateArranger {
  readonly #template: BoundedTemplate;
  readonly #names: Readonly<Record<string, string>>;
  readonly #text: string;
  readonly #isUnmarked: boolean;
  readonly #forms: readonly Forms[];
  readonly #marksAnswers: boolean;
  #prompt: PromptEnd | undefined;

  constructor(
    template: BoundedTemplate,
    names: Readonly<Record<string, string>>,
    source: string,
    marksAnswers: boolean,
  ) {
    this.#template = template;
    this.#names = names;
    this.#text = source + Object.values(names).join('');
    const reasoning = source.includes('reasoning_content');
    this.#forms = reasoning ? FORMS.map((forms) => ({ ...forms, reasoning })) : FORMS;
    this.#isUnmarked = isUnmarked(this.#text);
    this.#marksAnswers = marksAnswers;
  }

  render(request: RenderRequest): string {
    const given = FORMS[0]!;
    const { leak } = this.#marksFor(request);
    let text: string | undefined;
    let failure: unknown;
    try {
      text = this.#run(request, given, leak, asIs).text;
    } catch (error) {
      if (error instanceof OutOfBoundsError) throw error;
      failure = error;
    }
    const leaks = text?.includes(leak) ?? false;
    if (text !== undefined && !leaks && !lacksText(text, request.messages)) return text;
    try {
      return this.#cut(request).text;
    } catch (error) {
      if (text === undefined) throw failure;
      if (leaks) throw error;
      return text;
    }
  }

  arrange(request: RenderRequest): Arrangement {
    const cut = this.#cut(request);
    const { text, pieces, ranges } = cut;
    const opened = this.#marksAnswers ? [] : openedByTemplate(pieces);
    const headers = opened.length > 0 ? this.#headers(request, cut, opened) : undefined;
    const owned = assignOwners(pieces, (index, gap, offset) => {
      if (this.#marksAnswers) return gap.length;
      if (headers && opened.includes(index)) return this.#startOf(request, cut, headers, index, gap, offset);
      // Between the generation prompt and the text the model writes, for instance an empty thought.
      const { prompt, lead } = this.#generationPrompt();
      const found = prompt === '' ? -1 : gap.lastIndexOf(prompt);
      if (found >= 0) return found + prompt.length;
      return prompt === '' && gap.endsWith(lead) ? gap.length - lead.length : gap.length;
    });
    return { text, pieces: cutAtRanges(owned, ranges) };
  }

  /** Up to the end of the last message's text, without what the template writes to close it. */
  continuation({ messages, tools }: RenderRequest): Arrangement {
    const last = messages.at(-1);
    const index = messages.length - 1;
    if (last?.role !== 'assistant' || (last.tool_calls?.length ?? 0) > 0) {
      const found = last === undefined ? 'no message' : last.role === 'assistant' ? 'one that calls tools' : last.role;
      throw new TextError(`the last message cannot be continued: expected text of the assistant, got ${found}`, {
        hint: 'an answer begins with a last message { role: "assistant", content: "…", prefix: true }',
      });
    }
    const { content } = last;
    const end = typeof content === 'string' ? undefined : content.at(-1);
    // A closed thought is followed by text of the template that belongs to it: up to where an answer would begin.
    const isClosed = end?.type === 'thinking' && end.closed !== false;
    const probe: ContentPart = { type: 'text', text: PROBE };
    const probed = isClosed
      ? messages.with(-1, { ...last, content: [...(content as ContentPart[]), probe] })
      : messages;
    const { pieces } = this.arrange({ messages: probed, addGenerationPrompt: false, ...(tools && { tools }) });
    const stop = pieces.findLastIndex((piece) => piece.leaf?.messageIndex === index);
    if (stop < 0) {
      throw new TextError('the last message cannot be continued: it has no text', {
        hint: 'leave it out, and the answer begins anew',
      });
    }
    const kept = pieces.slice(0, isClosed ? stop : stop + 1);
    return { text: kept.map(({ text }) => text).join(''), pieces: kept };
  }

  #marksFor({ messages, tools }: RenderRequest): Marks {
    // Hardly any text has something of them, and telling so is quick.
    const isPlain = this.#isUnmarked && !tools && messages.every(hasPlainTexts);
    return isPlain
      ? unusedMarks('')
      : unusedMarks(this.#text + JSON.stringify(viewOf({ messages, tools }, FORMS[0]!, 'leak', asIs)));
  }

  #run(
    request: RenderRequest,
    forms: Forms,
    leak: string,
    put: Put,
    tracked = false,
  ): { text: string; ranges: Ranges } {
    const items = {
      ...viewOf(request, forms, leak, put),
      add_generation_prompt: request.addGenerationPrompt,
      ...this.#names,
    };
    try {
      if (!tracked) return { text: this.#template.render(items), ranges: [] };
      const { text, generation } = this.#template.renderTracked(items);
      return { text, ranges: generation };
    } catch (cause) {
      if (cause instanceof TextError) throw cause;
      throw refused(cause as Error, request.messages);
    }
  }

  /** In the first form of the messages that the template takes without losing or changing anything. */
  #cut(request: RenderRequest): Cut {
    const marks = this.#marksFor(request);
    let first: TextError | undefined;
    let reported: TextError | undefined;
    for (const [i, forms] of this.#forms.entries()) {
      if (i > 0 && changesNothing(request, forms)) continue;
      // A list that is read in part is not one that should have been a string.
      if (first && !isAboutForm(first) && changesLists(request, forms)) continue;
      try {
        return this.#cutAs(request, forms, marks);
      } catch (error) {
        if (!(error instanceof TextError) || error instanceof OutOfBoundsError) throw error;
        first ??= error;
        // In another form the list may be no fault any more, but something else.
        if (!reported || (isAboutType(reported) && !isAboutForm(error))) reported = error;
      }
    }
    throw reported;
  }

  #cutAs(request: RenderRequest, forms: Forms, marks: Marks): Cut {
    const { text, ranges } = this.#run(request, forms, marks.leak, asIs, this.#marksAnswers);
    if (text.includes(marks.leak)) throw leaked(request.messages);
    const markings: Marking[] = [
      { keepEnds: true, tools: true },
      // For templates that trim.
      { keepEnds: false, tools: true },
      ...(request.tools?.length ? [true, false].map((keepEnds) => ({ keepEnds, tools: false })) : []),
    ];
    for (const marking of markings) {
      const leaves: Leaf[] = [];
      const rendered = this.#tryRun(request, forms, marks, marker(marks, marking, leaves));
      const pieces = rendered === undefined ? undefined : cutAtMarks(rendered, marks, leaves);
      if (!pieces || pieces.map((piece) => piece.text).join('') !== text) continue;
      if (!marking.tools) requireHarmless(request);
      requireComplete(pieces, leaves, request);
      requireOrder(pieces);
      return { text, pieces, ranges, forms, keepEnds: marking.keepEnds };
    }
    throw new TextError('the chat template changes the texts of messages, so text and markup cannot be told apart', {
      hint: 'filters such as `upper`, `replace` or `truncate` on message content are not supported; `trim` is',
    });
  }

  /** Marks may be what a template refuses, for instance in an id whose length it asks for. */
  #tryRun(request: RenderRequest, forms: Forms, marks: Marks, put: Put): string | undefined {
    try {
      const { text } = this.#run(request, forms, marks.leak, put);
      return text.includes(marks.leak) ? undefined : text;
    } catch (error) {
      if (!(error instanceof TextError) || error instanceof OutOfBoundsError) throw error;
      return undefined;
    }
  }

  /** The text before an answer of plain text in the place of these messages, where the template renders one. */
  #headers(request: RenderRequest, { forms, keepEnds }: Cut, opened: readonly number[]): Map<number, string> {
    const headers = new Map<number, string>();
    // With the calls, as roles may be counted by them; without, as some templates take either text or calls.
    for (const keepsCalls of [true, false]) {
      const messages = request.messages.map((message, i): Message => {
        if (!opened.includes(i) || headers.has(i)) return message;
        const { content, tool_calls, ...rest } = message;
        const probe: ContentPart = { type: 'text', text: PROBE };
        const probed = typeof content === 'string' ? PROBE : [probe, ...(keepsCalls ? content : [])];
        return { ...rest, content: probed, ...(keepsCalls && tool_calls && { tool_calls }) };
      });
      const marks = this.#marksFor({ ...request, messages });
      const leaves: Leaf[] = [];
      // The gap before an answer begins where it began in the cut: white space behind a question is in both or in none.
      const put = marker(marks, { keepEnds, tools: true }, leaves);
      const rendered = this.#tryRun({ ...request, messages }, forms, marks, put);
      const pieces = rendered === undefined ? undefined : cutAtMarks(rendered, marks, leaves);
      const isProbe = ({ leaf, text }: Piece) =>
        leaf?.kind === 'text' && text === PROBE && opened.includes(leaf.messageIndex!);
      for (const [index, gap] of gapsBefore(pieces ?? [], isProbe)) if (!headers.has(index)) headers.set(index, gap);
      if (opened.every((index) => headers.has(index))) break;
    }
    return headers;
  }

  promptFault(): string | undefined {
    return this.#generationPrompt().fault;
  }

  /** Texts are empty if the template refuses the plainest question. */
  #generationPrompt(): PromptEnd {
    this.#prompt ??= this.#findPrompt();
    return this.#prompt;
  }

  #findPrompt(): PromptEnd {
    const question: Message = { role: 'user', content: 'a' };
    const of = (messages: readonly Message[], addGenerationPrompt: boolean) =>
      unlessRefused(() => this.render({ messages, addGenerationPrompt }));
    const open = of([question], true);
    const closed = of([question], false);
    if (open === undefined) return { prompt: '', lead: '' };
    const prompt = closed && open.startsWith(closed) ? open.slice(closed.length) : '';
    const answered = of([question, { role: 'assistant', content: PROBE }], false);
    if (answered === undefined) return { prompt, lead: '' };
    // White space that a prompt ends with may be part of the answer's first token.
    if (!answered.startsWith(open.trimEnd())) {
      const end = JSON.stringify((prompt || open.slice(commonLength(open, answered))).slice(-60));
      return { prompt, lead: '', fault: `it ends a prompt with ${end}, which does not stand before an answer` };
    }
    const end = answered.startsWith(open) ? answered.indexOf(PROBE, open.length) : -1;
    const lead = end < 0 ? '' : answered.slice(open.length, end);
    if (prompt !== '' || lead.trim() === '') return { prompt, lead };
    const shown = JSON.stringify(lead.slice(0, 60));
    return { prompt, lead: '', fault: `it writes ${shown} before an answer, but not at the end of a prompt` };
  }

  /** Where in the text before a message its own part begins. */
  #startOf(
    request: RenderRequest,
    { text, forms }: Cut,
    headers: ReadonlyMap<number, string>,
    index: number,
    gap: string,
    offset: number,
  ): number {
    const header = headers.get(index);
    if (header !== undefined) return commonLength(gap, header);
    const before = { ...request, messages: request.messages.slice(0, index) };
    const { leak } = this.#marksFor(request);
    const run = (addGenerationPrompt: boolean) =>
      unlessRefused(() => this.#run({ ...before, addGenerationPrompt }, forms, leak, asIs).text);
    const [open, closed] = [run(true), run(false)];
    if (open !== undefined && text.startsWith(open) && open.length >= offset) return open.length - offset;
    const prompt = closed !== undefined && open?.startsWith(closed) ? open.slice(closed.length) : '';
    const found = prompt === '' ? -1 : gap.lastIndexOf(prompt);
    if (found >= 0) return found + prompt.length;
    throw new TextError(`it cannot be told where the answer of message ${index} begins in the chat template`, {
      hint: 'put {% generation %} and {% endgeneration %} around what the template writes for the assistant',
      details: { index, before: gap.slice(0, 200) },
    });
  }
}

function unlessRefused(render: () => string): string | undefined {
  try {
    return render();
  } catch {
    return undefined;
  }
}

/** Whether a message is texts and images alone, without anything that is used for marks. */
function hasPlainTexts({ content, tool_calls, tool_call_id, name }: Message): boolean {
  if (tool_calls || tool_call_id !== undefined || name !== undefined) return false;
  return partsOf(content).every((part) => part.type === 'image' || (part.type === 'text' && isUnmarked(part.text)));
}

/** Whether a text of the messages is nowhere in a rendering: perhaps it was given in a form that is not read. */
function lacksText(rendered: string, messages: readonly Message[]): boolean {
  return messages.some(({ content }) =>
    partsOf(content).some((part) => part.type === 'text' && !rendered.includes(part.text.trim())),
  );
}
