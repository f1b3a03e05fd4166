import { describe, expect, it } from 'vitest';
import { BoundedTemplate } from '../../src/data/bounded-jinja.js';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import type { Message } from '../../src/data/types.js';
import { TextError } from '../../src/errors.js';

const MESSAGES: Message[] = [
  { role: 'user', content: [{ type: 'image' }, { type: 'text', text: 'Is it broken?' }] },
  { role: 'assistant', content: 'yes\nit is' },
];
const INPUT = { messages: MESSAGES, bos_token: '<s>', eos_token: '</s>', add_generation_prompt: false, tools: null };

/** Starts with an eight-letter text (or a list) in ns.x and changes it sixty times. */
const repeated = (change: string, start = '"aaaaaaaa"'): string =>
  `{% set ns = namespace(x=${start}) %}{% for i in range(60) %}${change}{% endfor %}{{ ns.x }}`;

/** Two lists that are equal only when looked at in 2 ** 60 places. */
const TWINS =
  '{% set ns = namespace(x="a", y="a") %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}';

describe('BoundedTemplate', () => {
  // Texts as jinja2 3.1.2 gives them with transformers' settings; jinja-grid.test.ts has many more.
  it.each([
    ['the tutorial', TUTORIAL_TEMPLATE, '<s>[INST]\n[IMG]Is it broken?[/INST]yes\nit is</s>'],
    [
      'loops',
      '{% for m in messages if m.role != "system" %}{{ loop.index }}/{{ loop.length }} {{ m.role }}{% else %}none{% endfor %}',
      '1/2 user2/2 assistant',
    ],
    [
      'macros',
      '{% macro f(x, y=2) %}<{{ x }}{{ y }}{{ caller() }}>{% endmacro %}{% call f(1) %}a{% endcall %}{% call f(1, y=3) %}{% endcall %}',
      '<12a><13>',
    ],
    [
      'filters',
      '{{ messages[1].content | upper | trim }}{{ [3,1,2] | sort | join(", ") }}{{ messages | length }}',
      'YES\nIT IS1, 2, 32',
    ],
    [
      'filters with arguments',
      '{{ messages[1].content | indent(2, true) }}{{ messages | map(attribute="role") | list | tojson }}',
      '  yes\n  it is["user", "assistant"]',
    ],
    [
      'JSON',
      '{{ messages[1] | tojson(indent=2) }}{{ {"a": [1, 2.5, none]} | tojson(separators=(",", ":")) }}',
      '{\n  "role": "assistant",\n  "content": "yes\\nit is"\n}{"a":[1,2.5,null]}',
    ],
    [
      'selections',
      '{{ (messages | selectattr("role", "equalto", "user") | list)[0].role }}{{ messages | rejectattr("x") | list | length }}',
      'user2',
    ],
    [
      'replacements',
      '{{ "a-b-c".replace("-", "+") }}{{ "a-b" | replace("-", "") }}{{ "aaa".replace("a", "b", 2) }}',
      'a+b+cabbba',
    ],
    [
      'methods',
      '{{ "a b".split(" ")[1] }}{{ " x ".strip() }}{{ "abc".startswith("a") }}{{ messages[0].get("role") }}',
      'bxTrueuser',
    ],
    [
      'namespaces',
      '{% set ns = namespace(n=0, t="") %}{% for i in range(1, 9, 3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}',
      '12',
    ],
    [
      'blocks',
      '{% set t %}a{{ 1 + 1 }}{% endset %}{% filter upper %}x{{ t }}{% endfilter %}{{ t[::-1] if t is string else 1 }}',
      'XA22a',
    ],
    [
      'undefined names',
      '{{ nothing }}{{ nothing is defined }}{{ nothing | default("d") }}{{ messages[9] is undefined }}',
      'FalsedTrue',
    ],
    [
      'ranges',
      '{{ range(3) | list | tojson }}{{ range(2, 5) | join("") }}{{ range(5, 0, -2) | join("") }}{{ range(0) | length }}',
      '[0, 1, 2]2345310',
    ],
    ['much white space', `${' '.repeat(200_000)}{{ bos_token }}`, `${' '.repeat(200_000)}<s>`],
  ])('renders %s as jinja2 does', (_, source, text) => {
    expect(new BoundedTemplate(source).render(INPUT)).toBe(text);
  });

  it.each<[string, string, [string, string][]]>([
    ['an answer', '{{ bos_token }}{% generation %}é😀\n{% endgeneration %}\nx', [['<s>', 'é😀\n']]],
    ['no block', 'x', []],
    [
      'blocks in one another, the inner one first and at the place of the outer',
      'a{% generation %}b{% generation %}c{% endgeneration %}{% endgeneration %}',
      [
        ['a', 'b'],
        ['a', 'bc'],
      ],
    ],
    [
      'a turn of a loop',
      '{% for i in range(2) %}\n<{{ i }}>{%- generation -%}\n y{% endgeneration +%}\n{% endfor %}',
      [
        ['<0>', 'y'],
        ['<0>y\n<1>', 'y'],
      ],
    ],
  ])('says where the text of generation blocks lies: %s', (_, source, expected) => {
    const { text, generation } = new BoundedTemplate(source).renderTracked(INPUT);
    expect(generation.map(([start, end]) => [text.slice(0, start), text.slice(start, end)])).toEqual(expected);
    expect(new BoundedTemplate(source).render(INPUT)).toBe(text);
  });

  it.each([
    ['the tag include in line 2', '\n{% include "a" %}'],
    ['the filter urlencode', '{{ "a" | urlencode }}'],
    ['the method swapcase of str', '{{ "a".swapcase() }}'],
    ['integers beyond 2 ** 53', '{{ 2 ** 60 }}'],
    ['the printed form of a generator', '{{ messages | map(attribute="role") }}'],
    ['the filter pprint', '{{ messages | map("pprint") | list }}'],
  ])('refuses %s by name', (name, source) => {
    const render = (): string => new BoundedTemplate(source).render(INPUT);
    expect(render).toThrow(TextError);
    expect(render).toThrow(name);
  });

  it('does not guess a number that JavaScript has rounded', () => {
    const render = (n: number): string => new BoundedTemplate('{{ n | tojson }}').render({ n });
    expect(render(Number.MAX_SAFE_INTEGER)).toBe('9007199254740991');
    expect(render(0.1)).toBe('0.1');
    expect(() => render(2 ** 53)).toThrow(/the number 9007199254740992 in its input/);
  });

  it('raises what a template raises', () => {
    expect(() => new BoundedTemplate('{{ raise_exception("no " ~ 1) }}').render(INPUT)).toThrow('no 1');
    expect(() => new BoundedTemplate('{{ range("a", 0, 0) }}').render(INPUT)).toThrow(/range/);
    expect(() => new BoundedTemplate('{{ messages.append(1) }}').render(INPUT)).toThrow(/unsafe/);
    expect(() => new BoundedTemplate('{{ "a" + 1 }}').render(INPUT)).toThrow(/unsupported operand/);
  });

  it('has English names of days and months', () => {
    const text = new BoundedTemplate('{{ strftime_now("%d %B %b %Y %H:%M:%S %A %% %q") }}').render(INPUT);
    expect(text).toMatch(/^\d\d [A-Z][a-z]+ [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [A-Z][a-z]+day % %q$/);
  });

  const endless: [string, string][] = [
    ['a long range', '{% for i in range(10**9) %}x{% endfor %}'],
    [
      'nested loops',
      '{% for i in range(5000) %}{% for j in range(5000) %}{% for k in range(5000) %}{% endfor %}{% endfor %}{% endfor %}',
    ],
    [
      'macros that call themselves twice',
      '{% macro f(n) %}{% if n > 0 %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}',
    ],
    ['doubled texts', repeated('{% set ns.x = ns.x + ns.x %}')],
    ['doubled texts by ~', repeated('{% set ns.x = ns.x ~ ns.x %}')],
    ['doubled blocks', repeated('{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}')],
    ['lists of lists', repeated('{% set ns.x = [ns.x, ns.x] %}')],
    ['objects of objects', repeated('{% set ns.x = {"a": ns.x, "b": ns.x} %}')],
    ['lists of arguments', `{% macro f() %}{% set ns.x = varargs %}{% endmacro %}${repeated('{{ f(ns.x, ns.x) }}')}`],
    ['namespaces in one another', '{% set a = namespace() %}{% set b = namespace(x=a, y=a) %}{% set a.x = b %}{{ a }}'],
    ['replacements', repeated('{% set ns.x = ns.x.replace("a", ns.x) %}')],
    ['replacements by a filter', repeated('{% set ns.x = ns.x | replace("a", ns.x) %}')],
    ['replacements under another name', repeated('{% set f = ns.x["replace"] %}{% set ns.x = f("a", ns.x) %}')],
    ['indents', '{{ "a\nb" | indent(500000000) }}'],
    ['indents of blocks', '{% filter indent(width=500000000) %}a\nb{% endfilter %}'],
    ['long separators', `{{ range(9000) | join("${'x'.repeat(99_999)}") }}`],
    ['indented JSON', '{{ [[1], [2]] | tojson(indent=400000000) }}'],
    ['names that are not there', '{% for i in range(9000) %}{% for j in range(9000) %}{{ x }}{% endfor %}{% endfor %}'],
    ['tuples as keys', `${repeated('{% set ns.x = (ns.x, ns.x) %}')}{{ [ns.x] | unique | list | length }}`],
    ['blocks that call themselves', '{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}'],
    ['loops that call themselves', '{% for i in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}'],
    ['wide formats', '{{ "%999999999d" % 1 }}'],
    ['wide fields', '{{ "{:>999999999}".format(1) }}'],
    ['wide texts', '{{ "a".center(999999999) }}'],
    ['repeated texts', '{{ "ab" * 999999999 }}'],
    ['repeated lists', '{{ ([1, 2] * 999999999) | length }}'],
    ['joined texts', '{% set a = "x" * 200000 %}{{ a.join(["a"] * 9000) }}'],
    [
      'filters in one another',
      '{% set ns = namespace(x=[1]) %}{% for i in range(50000) %}{% set ns.x = ns.x | map("string") %}{% endfor %}{{ ns.x | list }}',
    ],
    ['sums of lists', '{{ ([[1] * 900] * 9000) | sum(start=[]) | length }}'],
    ['comparisons', `${TWINS}{{ ns.x == ns.y }}`],
    ['orders', `${TWINS}{{ ns.x < ns.y }}`],
    ['dates', '{% for i in range(9000) %}{% for j in range(9000) %}{{ strftime_now("%B") }}{% endfor %}{% endfor %}'],
    [
      'searches',
      '{% set a = range(9000) %}{% for i in range(9000) %}{% for j in range(9000) %}{{ "z" in a }}{% endfor %}{% endfor %}',
    ],
  ];
  it.each(endless)('stops %s', (_, source) => {
    const template = new ChatTemplate(source);
    const start = process.cpuUsage();
    const before = process.memoryUsage().heapUsed;
    let error: unknown;
    try {
      template.render(MESSAGES);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(TextError);
    expect((error as TextError).message).toMatch(/^the chat template is out of bounds: /);
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(2);
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(150e6);
  });

  it.each([
    ['is too long', 'x'.repeat(300_000)],
    ['nests too deeply', `{{ ${'('.repeat(50_000)}`],
    ['nests blocks too deeply', '{% if true %}'.repeat(15_000)],
  ])('does not parse a template that %s', (_, source) => {
    expect(() => new ChatTemplate(source)).toThrow(TextError);
  });

  it.each([
    "{{ ''.constructor.constructor('return process')() }}",
    '{{ messages.constructor("return 1")() }}',
    '{{ raise_exception.constructor("return 1")() }}',
    '{{ range.call(1) }}',
  ])('reaches no JavaScript: %s', (source) => {
    expect(() => new ChatTemplate(source).render(MESSAGES)).toThrow(TextError);
  });

  it('finds no globals of JavaScript', () => {
    const names = ['globalThis', 'process', 'require', 'module', 'Function', '__proto__', 'constructor', 'this'];
    const source = names.map((name) => `{{ ${name} is defined }}{{ messages[0].${name} is defined }}`).join('');
    expect(new ChatTemplate(source).render(MESSAGES)).toBe('False'.repeat(2 * names.length));
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('lets long conversations through', () => {
    const turn = (i: number): Message => ({
      role: i % 2 ? 'assistant' : 'user',
      content: `${i} ${'word '.repeat(40)}`,
    });
    const messages = Array.from({ length: 1000 }, (_, i) => turn(i));
    const source = '{% for m in messages %}{{ messages[loop.index0:][0].content }}{% endfor %}';
    expect(new ChatTemplate(source).render(messages)).toBe(messages.map(({ content }) => content).join(''));
  });
});
