"""Designs: axes and their options, each a pair of inverse functions that write and read a sample.

base.py                       Axis, Line, and the three kinds of options
axes.py                       AXES, the table of all axes; how to add one
prompt.py  answer.py          options of the prompt, options of the answer
format_text.py format_json.py options of the layout; lexer.py quotes what needs it; wording.py the prompt's sentences
designs.py                    make, name and parse a design; the space of a task
render.py                     example -> sample, completion -> answer

For an axis of one's own: `from sde_ray.design import Axis, FormatOption`.
"""

from sde_ray.design.base import AnswerOption, Axis, FormatOption, PromptOption, collect, rows

__all__ = ["AnswerOption", "Axis", "FormatOption", "PromptOption", "collect", "rows"]
