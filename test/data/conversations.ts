/** Messages and a template for tests. */
import type { Message, Tool, ToolCall } from '../../src/data/types.js';

export function message(role: Message['role'], content: Message['content']): Message {
  return { role, content };
}

/** A template of several turns in the style of the Instruct models: system prompt, checked order, EOS after answers. */
export const TURNS_TEMPLATE = `{{- bos_token }}
{%- set ns = namespace(turn=0) %}
{%- for m in messages %}
    {%- if m.role == 'system' %}
        {{- '[SYSTEM_PROMPT]' + m.content + '[/SYSTEM_PROMPT]' }}
    {%- else %}
        {%- if (m.role == 'user') != (ns.turn % 2 == 0) %}
            {{- raise_exception('roles must alternate') }}
        {%- endif %}
        {%- set ns.turn = ns.turn + 1 %}
        {%- if m.role == 'user' %}{{- '[INST]' }}{%- endif %}
        {%- if m.content is string %}
            {{- m.content }}
        {%- else %}
            {%- for part in m.content %}
                {{- '[IMG]' if part.type == 'image' else part.text }}
            {%- endfor %}
        {%- endif %}
        {{- '[/INST]' if m.role == 'user' else eos_token }}
    {%- endif %}
{%- endfor %}`;

export const ZOOM: Tool = {
  type: 'function',
  function: { name: 'zoom', description: 'Looks closer.', parameters: { type: 'object', properties: {} } },
};

export function callOf(args: ToolCall['function']['arguments'], name = 'zoom', id = 'abcdefghi'): ToolCall {
  return { id, type: 'function', function: { name, arguments: args } };
}

const CONTENT = `{%- macro text_of(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- else -%}
        {%- for part in content -%}
            {%- if part.type == 'text' -%}
                {{- part.text -}}
            {%- elif part.type == 'image' -%}
                {{- '[IMG]' -}}
            {%- elif part.type == 'thinking' -%}
                {{- '[THINK]' + part.thinking -}}
                {%- if part.get('closed', true) -%}{{- '[/THINK]' -}}{%- endif -%}
            {%- else -%}
                {{- raise_exception('no such part') -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}`;

/** In the style of the newest templates: a name, control tokens and JSON for each call; thoughts; system messages. */
export const TOOLS_TEMPLATE = `${CONTENT}{{- bos_token }}
{%- if tools %}{{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {{- '[INST]' -}}{{- text_of(m.content) -}}{{- '[/INST]' }}
    {%- elif m.role == 'system' %}
        {{- '[SYSTEM_PROMPT]' -}}{{- text_of(m.content) -}}{{- '[/SYSTEM_PROMPT]' }}
    {%- elif m.role == 'tool' %}
        {{- '[TOOL_RESULTS]' + m.content | string + '[/TOOL_RESULTS]' }}
    {%- else %}
        {%- if m.content %}{{- text_of(m.content) -}}{%- endif %}
        {%- for call in m.tool_calls or [] %}
            {%- set args = call.function.arguments %}
            {%- if args is not string %}{%- set args = args | tojson %}{%- endif %}
            {{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + args }}
        {%- endfor %}
        {{- eos_token }}
    {%- endif %}
{%- endfor %}`;

/**
 * In the style of the first templates with tools: system text and tools at the last question, calls as one list of JSON
 * with ids of nine characters and never beside text, results as JSON in which a number is a number.
 */
export const OLD_TOOLS_TEMPLATE = `{{- bos_token }}
{%- set ns = namespace(system='', last=0) %}
{%- for m in messages %}
    {%- if m.role == 'system' %}{%- set ns.system = m.content %}{%- endif %}
    {%- if m.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for m in messages %}
    {%- if m.role == 'user' %}
        {%- if loop.index0 == ns.last and tools %}
            {{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST]' }}
        {%- if loop.index0 == ns.last and ns.system != '' %}{{- ns.system + '\\n\\n' }}{%- endif %}
        {{- m.content + '[/INST]' }}
    {%- elif m.role == 'assistant' and m.tool_calls %}
        {%- if m.content | length > 0 %}{{- raise_exception('not both content and calls') }}{%- endif %}
        {{- '[TOOL_CALLS][' }}
        {%- for call in m.tool_calls %}
            {%- if call.id | length != 9 %}{{- raise_exception('an id has nine characters') }}{%- endif %}
            {%- set args = call.function.arguments %}
            {%- if args is not string %}{%- set args = args | tojson %}{%- endif %}
            {{- '{"name": "' + call.function.name + '", "arguments": ' + args + ', "id": "' + call.id + '"}' }}
            {%- if not loop.last %}{{- ', ' }}{%- endif %}
        {%- endfor %}
        {{- ']' + eos_token }}
    {%- elif m.role == 'assistant' %}
        {{- m.content + eos_token }}
    {%- elif m.role == 'tool' %}
        {%- set number = m.content | int %}
        {%- set content = number if number | string == m.content else m.content %}
        {{- '[TOOL_RESULTS]' + {'content': content, 'call_id': m.tool_call_id} | tojson + '[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}`;

/** ChatML: it takes strings, and closes a turn with a token that need not be EOS. */
export const CHATML_TEMPLATE =
  `{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}` +
  `{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}`;

/** ChatML with calls as text between tags, in the style of Hermes and Qwen. */
export const TAGGED_TOOLS_TEMPLATE = `{%- for m in messages %}
    {%- if m.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>' + m.content + '</tool_response><|im_end|>\\n' }}
    {%- elif m.tool_calls %}
        {{- '<|im_start|>assistant' }}
        {%- if m.content %}{{- '\\n' + m.content }}{%- endif %}
        {%- for call in m.tool_calls %}
            {{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson }}{{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`;
