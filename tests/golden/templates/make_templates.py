"""Renders small chat templates with transformers, as the expectation for src/text/template.rs.

The templates are written for this test; each exercises what the templates of a family of models do.
Run in this folder: python make_templates.py   (needs transformers and jinja2; writes templates.json)
"""
import datetime
import json
import transformers
import transformers.utils.chat_template_utils as chat_template_utils


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 3, 9, 5, 1)


chat_template_utils.datetime = Clock

USER = {"role": "user", "content": " Hi  there \n"}
BOT = {"role": "assistant", "content": "  Hello, é 🦀!\n"}
SYSTEM = {"role": "system", "content": "Be <brief> & \"kind\"."}
LATER = {"role": "user", "content": "Bye"}
SHORT, LONG, FULL = [USER], [USER, BOT, LATER], [SYSTEM, USER, BOT]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "a < b & c's \"sum\" é", "parameters": {
    "b": 1.5, "a": [1, True, None, 1e-5, 1e16, -0.0, 12345678901234567890], "empty": {}, "none": []}}}]

TEMPLATES = {
    # headers, trimmed content, bos from a variable
    "header": """{% set loop_messages = messages %}
{% for message in loop_messages %}
    {% set content = '<|head|>' + message['role'] + '<|/head|>\\n\\n' + message['content'] | trim + '<|eot|>' %}
    {% if loop.index0 == 0 %}
        {% set content = bos_token + content %}
    {% endif %}
    {{ content }}{# the newline of this line stays #}
{% endfor %}
{%- if add_generation_prompt %}
{{ '<|head|>assistant<|/head|>\\n\\n' }}
{%- endif %}
""",
    # a system header with the date, tools as JSON, defaults by `is defined`
    "dated": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|s|>Today: " + date_string + "\\n" }}{{ strftime_now("%A %-d %B %H:%M") }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n" }}
        {{- t.function.parameters | tojson }}
        {{- t.function | tojson(ensure_ascii=True, sort_keys=true, separators=(',', ':')) }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|' + message['role'] + '|>' + message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {{- raise_exception("no tools") }}
    {%- endif %}
{%- endfor %}
""",
    # strict alternation, the system turn inside the first user turn, namespaces
    "instructions": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set ns = namespace(index=0) %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (ns.index % 2 == 0) %}
        {{- raise_exception('Roles must alternate: user/assistant/user/...') }}
    {%- endif %}
    {%- set ns.index = ns.index + 1 %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- endif %}
{%- endfor %}
""",
    # a renamed role, no system turn, a trailing newline that is dropped
    "turns": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start>' + role + '
' + message['content'] | trim + '<end>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start>model
'}}{% endif %}
""",
    # a default system turn, reversed lists, loop controls, Python's string methods
    "chatml": """{%- set ns = namespace(last=-1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and not message.content.startswith('<tool') %}
        {%- set ns.last = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if loop.first and messages[0]['role'] != 'system' %}
        {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
    {%- endif %}
    {%- if message.content is string and not message.content.strip() %}
        {%- continue %}
    {%- endif %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
    {{- '<|im_start|>' + message.role.upper()|lower + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- for key, value in message.items() %}{{ key }}{{ ', ' if not loop.last }}{% endfor %}
{%- endfor %}
{{- ns.last }}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    # the model's words marked, in every whitespace form
    "generation": """{%- for message in messages %}
    {%- set ns = namespace(seen=0) %}{% set inner = 'outer' %}
    {% if message.role == 'assistant' %}
    <a>{% generation %}{% set ns.seen = loop.index %}{% set inner = 'inner' %}

    {{ message.content }}{{ inner }}<|end|>{% endgeneration %}
    {{- ns.seen }}{{ inner }}

    {%- generation -%}
        {{ loop.index }}
    {%- endgeneration %}

    {% else %}
    <u>{{ message['content'] | trim }}<|end|>
    {% endif %}
{% endfor %}
{{ '{% generation %}' }}{% raw %}{% generation %}{% endraw %}
""",
    # how Python prints values, macros, blocks of whitespace
    "values": """{%- macro show(x, y='d') %}
  [{{ x }}|{{ y }}]
{%- endmacro %}
{{ none }} {{ true }} {{ 1 == 2 }} {{ 1.0 }} {{ 1e20 }} {{ 0.00001 }} {{ 7 // 2 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ -7 % 3 }}
{{ [1, 'a', none, true, "it's"] }} {{ {'k': [1.5]} }} {{ (1, 'b') }} {{ undefined_name }} {{ bos_token }}
{{ show(true) }}{{ show(x='z', y=3) }}
   {% set text -%}
     captured {{ messages[0].content | trim }}
   {%- endset %}
	{%+ if text %}kept{% endif +%}
{{ text | upper }} {{ text | length }} {{ text[0:4] }} {{ text[-1] }} {{ 'a,b'.split(',') | join('-') }} {{ true | string }}
{{ messages | map(attribute='role') | list }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ 'x' in 'xyz' and 'role' in messages[0] }} {{ messages[0].get('name', 'anon') }} {{ '%s-%d' | format('a', 3) }} {{ "a\\tb\\u00e9" }}
{% for i in range(3) if i != 1 %}{{ i }}{{ loop.cycle('x', 'y') }}{% else %}none{% endfor %}
{{ 'A' if messages|length > 1 else 'B' }} {{ "q" * 3 }} {{ 'one' ~ 2 }} {{ dict(a=1)['a'] }} {{ [3,1,2]|sort|first }} {{ 'tEst'.title() }}
{{ messages[-1]['content'] | replace('e', 'E') | tojson }}
{% for x in [none, true, 1, 'a', [], {}, nothing] %}{{ x is iterable }}{{ x is sequence }}{{ x is mapping }} {% endfor %}
""",
}

CASES = []
for name in TEMPLATES:
    CASES += [(name, SHORT, True, {}), (name, LONG, False, {}), (name, LONG, True, {}), (name, FULL, False, {})]
CASES += [
    ("dated", FULL, False, {"tools": TOOLS}),
    ("dated", SHORT, False, {"date_string": "1 Jan 1970"}),
    ("instructions", [USER, USER], False, {}),
    ("chatml", SHORT, True, {"enable_thinking": False}),
    ("chatml", [USER, {"role": "assistant", "content": " \n"}, LATER], True, {}),
    ("turns", [BOT], False, {}),
]

rows = []
for name, messages, prompt, variables in CASES:
    row = dict(template=name, messages=messages, add_generation_prompt=prompt, variables=variables)
    try:
        marked = name == "generation"
        texts, spans = chat_template_utils.render_jinja_template(
            [messages], chat_template=TEMPLATES[name], add_generation_prompt=prompt,
            return_assistant_tokens_mask=marked, bos_token="<s>", eos_token="</s>", **variables)
        row["text"] = texts[0]
        if marked:
            row["generated"] = [texts[0][a:b] for a, b in spans[0]]
    except Exception as error:
        row["error"] = str(error)
    rows.append(row)

out = dict(made_with=f"transformers {transformers.__version__}", now="2024-07-03T09:05:01", templates=TEMPLATES, cases=rows)
json.dump(out, open("templates.json", "w"), indent=1, ensure_ascii=False)
