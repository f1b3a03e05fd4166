"""
Renders Jinja templates as transformers does: reads {"templates": [...], "inputs": [...]} from the standard input, and
writes for each template the list of what each input gives: {"text", "generation"} or {"error"}. Ranges are in UTF-16
code units.
"""

import copy
import datetime
import json
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox


class Generation(jinja2.ext.Extension):
    """Notes where in the output lies what `{% generation %}` encloses."""

    tags = {"generation"}
    written = None
    ranges = None

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_enclose"), [], [], body).set_lineno(line)

    @jinja2.pass_eval_context
    def _enclose(self, context, caller):
        text = caller()
        start = sum(map(units, Generation.written))
        Generation.ranges.append([start, start + units(text)])
        return text


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def make_environment(now=None):
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda format: (now or datetime.datetime.now()).strftime(format)
    return environment


def units(text):
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def render(template, values):
    Generation.written, Generation.ranges = [], []
    for piece in template.generate(**values):
        Generation.written.append(piece)
    text = "".join(Generation.written)
    return {"text": text, "generation": Generation.ranges}


def render_all(sources, inputs, now=None):
    environment = make_environment(now)
    results = []
    for source in sources:
        try:
            template = environment.from_string(source)
        except Exception as error:
            results.append([{"error": f"{type(error).__name__}: {error}"}] * len(inputs))
            continue
        row = []
        for values in inputs:
            try:
                row.append(render(template, copy.deepcopy(values)))
            except Exception as error:
                row.append({"error": f"{type(error).__name__}: {error}"})
        results.append(row)
    return results


if __name__ == "__main__":
    cases = json.load(sys.stdin)
    json.dump(render_all(cases["templates"], cases["inputs"]), sys.stdout, ensure_ascii=True)
