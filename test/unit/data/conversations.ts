/** Messages and a template for tests. */
import type { Message } from '../../../src/data/types.js';

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
