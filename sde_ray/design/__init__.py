"""Designs: axes and their options, most of them pairs of inverse functions that write a sample and parse a completion.

base.py  output_form.py       Axis, the kinds of options; what these tell one another of an answer's lines
asking.py                     the samples and prompts of an example: groups.py of its slots, after demonstrations.py
decoding.py  grammar.py  answer_grammar.py    how tokens are chosen, and the grammar that constrains them
axes.py                       AXES, the paper's axes of sample design, OPTIONAL beyond it, CURATION of data and training
data.py  training.py          which samples there are, how they are learned: declared here, carried out in `curation/`
prompt.py  answer.py  labels.py  keywords.py    options of the prompt, options of the answer
format_text.py  format_json.py  format_json_object.py    options of the format; lexer.py quotes what needs it
format_inline.py  inline_markup.py                       spans that are marked in the text
format_terse.py  format_tool_call.py  format_xml.py  format_yaml.py  format_code.py      formats beyond the paper's;
                              literals.py has what YAML and Python spell alike, rationale_block.py reasons by themselves
record_lines.py  record_paths.py  record_json.py         records: checked, written as text, written as JSON
record_schematic.py                                      their shape in the instruction
wording.py                    the prompt's sentences
designs.py  space.py          make, name and parse a design; the design space of a task
render.py                     example -> sample, completion -> answer; answer_end.py when the rest does not matter

For an axis, an option or a format of one's own, in a module of one's own:

    from sde_ray.design import Axis, AnswerOption, FormatOption, PromptOption      what to define
    from sde_ray.design import DataOption, TrainingOption, Numbers                 the same for data and training
    from sde_ray.design import collect, rows, tokenize, quote_if_needed            to parse and write a format
"""

from sde_ray.design.base import (
    AnswerOption,
    Axis,
    DataOption,
    FormatOption,
    Numbers,
    PromptOption,
    TrainingOption,
    collect,
    rows,
)
from sde_ray.design.lexer import quote_if_needed, tokenize

__all__ = [
    "AnswerOption",
    "Axis",
    "DataOption",
    "FormatOption",
    "Numbers",
    "PromptOption",
    "TrainingOption",
    "collect",
    "quote_if_needed",
    "rows",
    "tokenize",
]
